"""Encode strings with a pretrained transformer that lies in a folder on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openpfn.device import pick_device
from openpfn.files import sha256_of
from openpfn.text.encoders.base import BatchEncoder, encodable
from openpfn.text.encoders.folder import (
    EXTRA,
    TOKENS,
    WEIGHTS,
    Backend,
    Pooling,
    file_of,
    require_files,
    require_transformers,
)
from openpfn.text.encoders.onnx_session import OnnxSession, find_session

LETTERS_PER_TOKEN = 20
"""Letters that a token takes at most, as far as cutting long strings goes."""


class PooledTransformer(nn.Module):
    """Transformer whose answer to a string is one vector: what networks train further."""

    def __init__(self, backbone: nn.Module, pooling: Pooling, *, unit_length: bool) -> None:
        super().__init__()
        self.backbone = backbone
        """The transformer, a model of the package transformers."""
        self.pooling: Pooling = pooling
        self.unit_length = unit_length

    def forward(
        self, input_ids: Int[Tensor, "n length"], attention_mask: Int[Tensor, "n length"]
    ) -> Float[Tensor, "n width"]:
        """Return the vector of each row of tokens."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return pooled(states.last_hidden_state, attention_mask, self.pooling, self.unit_length)


class TransformerEncoder(BatchEncoder):
    """Frozen transformer in `folder`, as transformers or sentence-transformers save one.

    `pooling` says what stands for the whole string: the state of its first token ("cls") or the
    mean over its tokens. Strings longer than `max_length` tokens are cut. `backend` "auto" computes
    with onnxruntime where that is installed and the network is there in its format, on the CPU;
    both backends give the same vectors, to rounding. Nothing is ever downloaded here.

    Raises FileNotFoundError for a folder without configuration, weights or tokens, ImportError
    where the package transformers is missing.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        name: str,
        pooling: Pooling = "cls",
        unit_length: bool = False,
        max_length: int = 128,
        device: str = "cpu",
        backend: Backend = "auto",
    ) -> None:
        if max_length < 4:
            raise ValueError(f"max_length is {max_length}; expected at least 4 tokens.")
        if backend not in ("auto", "torch", "onnx"):
            raise ValueError(f"backend is {backend!r}. Choose 'auto', 'torch' or 'onnx'.")
        self.folder = Path(folder)
        self.name, self.unit_length = name, unit_length
        self.pooling: Pooling = pooling
        self.max_length, self.device, self.backend = max_length, device, backend
        require_transformers(name)
        require_files(self.folder)
        self.fingerprint = f"{name}-{self._digest()}"
        self.width = int(self._config.hidden_size)

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the package transformers."""
        from transformers import AutoTokenizer

        with _quiet(), _told(self.folder, "tokenizer"):
            return AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)

    def tokenize(self, texts: list[str]) -> dict[str, Int[Tensor, "n length"]]:
        """Return `input_ids` and `attention_mask`, as long as the longest text has tokens."""
        most = self.max_length * LETTERS_PER_TOKEN
        tokens = self.tokenizer(
            [encodable(text[:most]) for text in texts],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        return {name: tokens[name] for name in ("input_ids", "attention_mask")}

    def torch_module(self) -> PooledTransformer:
        """Return a fresh copy of the network, to be trained further."""
        from transformers import AutoModel

        with _quiet(), _told(self.folder, "weights"):
            backbone = AutoModel.from_pretrained(
                str(self.folder), local_files_only=True, dtype=torch.float32
            )
        return PooledTransformer(backbone, self.pooling, unit_length=self.unit_length)

    def embed(self, texts: list[str]) -> Float[np.ndarray, "n width"]:
        tokens = self.tokenize(texts)
        mask = tokens["attention_mask"]
        if self._session is not None:
            states = torch.from_numpy(self._session(tokens["input_ids"].numpy(), mask.numpy()))
            return pooled(states, mask, self.pooling, self.unit_length).numpy()
        device = pick_device(self.device)
        with torch.inference_mode():
            vectors = self._frozen(tokens["input_ids"].to(device), mask.to(device))
        return vectors.cpu().numpy()

    def __getstate__(self) -> dict[str, Any]:
        loaded = ("tokenizer", "_frozen", "_session")
        return {name: value for name, value in vars(self).items() if name not in loaded}

    @cached_property
    def _config(self) -> Any:
        from transformers import AutoConfig

        with _quiet(), _told(self.folder, "configuration"):
            return AutoConfig.from_pretrained(str(self.folder), local_files_only=True)

    @cached_property
    def _frozen(self) -> PooledTransformer:
        return self.torch_module().to(pick_device(self.device)).eval()

    @cached_property
    def _session(self) -> OnnxSession | None:
        if self.backend == "torch" or (self.backend == "auto" and self.device != "cpu"):
            return None
        session = find_session(self.folder, self.fingerprint, lambda: self.torch_module().backbone)
        if session is None and self.backend == "onnx":
            raise ImportError(
                f"{self.name} cannot run in onnxruntime: install the packages onnxruntime and onnx"
                f" ({EXTRA} does), or choose backend='torch'."
            )
        return session

    def _digest(self) -> str:
        """Return the hash of all that a vector depends on."""
        digest = hashlib.sha256()
        for names in (WEIGHTS, TOKENS):
            file = file_of(self.folder, names)
            assert file is not None  # `require_files` saw it
            digest.update(sha256_of(file).encode())
        settings = (self.pooling, self.unit_length, self.max_length)
        digest.update(repr(settings).encode())
        return digest.hexdigest()[:16]


def pooled(
    states: Float[Tensor, "n length width"],
    mask: Int[Tensor, "n length"],
    pooling: Pooling,
    unit_length: bool,
) -> Float[Tensor, "n width"]:
    """Return one vector per string out of those of its tokens."""
    if pooling == "cls":
        vectors = states[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(states.dtype)  # (n, length, 1)
        vectors = (states * weights).sum(dim=1) / weights.sum(dim=1)
    return nn.functional.normalize(vectors, dim=-1) if unit_length else vectors


@contextmanager
def _told(folder: Path, what: str) -> Iterator[None]:
    """Turn the many errors of a damaged file into one that names the folder."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the {what} in {folder} cannot be read ({reason}). Get the text encoder anew."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and advice of the package transformers off the screen."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
