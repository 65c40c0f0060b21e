"""Run a transformer in onnxruntime: twice as fast as torch on one core, to the same result."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openpfn.files import cache_folder, replacing

INPUTS = ("input_ids", "attention_mask")
MOST_DIFFERENT = 1e-4
"""Difference to torch, relative to the largest number, above which a file is not used."""
_PROBE = (
    torch.tensor([[101, 2003, 2023, 102, 0, 0], [101, 3712, 2058, 1996, 2380, 102]]),
    torch.tensor([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1]]),
)


class OnnxSession:
    """Network of the file `path`, on as many threads as torch uses."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._wanted = {one.name for one in self._session.get_inputs()}

    def __call__(
        self, input_ids: Int[np.ndarray, "n length"], attention_mask: Int[np.ndarray, "n length"]
    ) -> Float[np.ndarray, "n length width"]:
        """Return the state of each token."""
        given: dict[str, np.ndarray] = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._wanted:
            given["token_type_ids"] = np.zeros_like(input_ids)
        return self._session.run(None, given)[0]


def find_session(folder: Path, name: str, backbone: Callable[[], nn.Module]) -> OnnxSession | None:
    """Return a session for the network in `folder`; None where onnxruntime is not installed, or the
    network is not there in its format and the package onnx is missing to write it.

    The file is onnx/model.onnx in the folder, if that agrees with `backbone`, or one that is
    written once and kept in the cache as `name`.
    """
    if find_spec("onnxruntime") is None:
        return None
    own = folder / "onnx" / "model.onnx"
    if own.is_file():
        session = OnnxSession(own)
        if _agrees(session, backbone()):
            return session
        warnings.warn(
            f"{own} does not hold the network of {folder}: another one is used.", stacklevel=2
        )
    if find_spec("onnx") is None:
        return None
    return _kept_session(cache_folder("onnx") / f"{name}.onnx", backbone)


def _kept_session(path: Path, backbone: Callable[[], nn.Module]) -> OnnxSession | None:
    if path.is_file():
        try:
            return OnnxSession(path)
        except Exception as error:  # onnxruntime raises a class of its own for each kind of damage
            reason = " ".join(str(error).split())[:200]
            warnings.warn(f"{path} is damaged ({reason}) and written again.", stacklevel=2)
    network = backbone().eval()
    try:
        with replacing(path) as unfinished:
            _export(network, unfinished)
    except OSError as error:
        warnings.warn(f"torch is used: {path} cannot be written ({error}).", stacklevel=2)
        return None
    session = OnnxSession(path)
    if _agrees(session, network):
        return session
    path.unlink()
    warnings.warn("onnxruntime differs from torch on this network: torch is used.", stacklevel=2)
    return None


class _States(nn.Module):
    """The state of each token, as the only output."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def _export(backbone: nn.Module, path: Path) -> None:
    free = {0: "n", 1: "length"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing tells of every shape it takes for a constant
        torch.onnx.export(
            _States(backbone).eval(),
            _PROBE,
            os.fspath(path),
            dynamo=False,
            input_names=list(INPUTS),
            output_names=["states"],
            dynamic_axes=dict.fromkeys((*INPUTS, "states"), free),
            opset_version=17,
        )


def _agrees(session: OnnxSession, backbone: nn.Module) -> bool:
    """Return whether the session gives what torch gives, on rows of another shape than those that
    were traced."""
    ids = torch.cat([_PROBE[0], _PROBE[0].flip(0)]).repeat(1, 2)
    mask = torch.arange(ids.shape[1]) < torch.tensor([[3], [12], [7], [5]])
    mask = mask.to(torch.int64)
    with torch.inference_mode():
        states = _States(backbone).eval()(ids, mask).numpy()
    found = session(ids.numpy(), mask.numpy())
    real = mask.numpy().astype(bool)
    if found.shape != states.shape:
        return False
    difference = np.abs(found[real] - states[real]).max()
    return bool(difference <= MOST_DIFFERENT * np.abs(states[real]).max())
