"""Import of published weights: nanoTabPFN's and TinyPFN's state dicts become our `PublishedPFN`."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openpfn.configs.published import PublishedConfig
from openpfn.models import PFN

DEFAULT_HEADS: dict[str, int] = {"tinypfn": 1, "nanotabpfn": 4}
"""The kinds, with the heads of their published training scripts: a plain state dict does not
say."""
CONTAINERS = ("model_state_dict", "state_dict", "model")
"""Keys under which a file may keep its state dict."""

CONTEXT_ROWS = "self_attention_between_datapoints_train"
QUERY_ROWS = "self_attention_between_datapoints_test"
"""The two attentions between rows of the networks of "Making Attention Cheaper"."""

Weights = dict[str, Tensor]


def load(path: str | Path, kind: str, *, n_heads: int | None = None) -> Any:
    """Return the `PublishedPFN` with the weights in `path`, a file that `torch.save` wrote.

    It answers the logits of the original network, `kind`, up to rounding. `n_heads` is needed where
    the file does not say and the network was not trained with the published script's number. Only
    tensors are read from the file: it cannot run code. Raises ValueError when the file is no such
    state dict, and says what is missing.
    """
    if kind not in DEFAULT_HEADS:
        raise ValueError(f"unknown kind {kind!r}. Choose one of {', '.join(DEFAULT_HEADS)}.")
    path = Path(path)
    weights, settings = read_state_dict(path)
    return convert(
        weights,
        kind,
        n_heads=n_heads or settings.get("num_attention_heads") or DEFAULT_HEADS[kind],
        source=str(path),
    )


def convert(
    weights: Mapping[str, Tensor], kind: str, *, n_heads: int, source: str = "the state dict"
) -> Any:
    """Return the `PublishedPFN` with these published `weights`.

    Raises ValueError as `load` does.
    """
    found = {
        name.removeprefix("module.").removeprefix("_orig_mod."): tensor
        for name, tensor in weights.items()
    }
    found = as_published(found, source)
    refuse_other_kind(found, kind, source)
    config = read_config(found, kind, n_heads, source)
    model = PFN(config)
    try:
        renamed = rename(found, config)
    except KeyError as error:
        raise ValueError(
            f"{source} has no {error.args[0]!r}: not a whole {kind} state dict. Save"
            " model.state_dict() again."
        ) from error
    if found:
        extra = ", ".join(sorted(found))
        raise ValueError(
            f"{source} has {extra}, which a {kind} network does not have. Give the published"
            " network's weights."
        )
    try:
        model.load_state_dict(renamed)
    except RuntimeError as error:
        raise ValueError(f"{source} does not fit {config}: {error}") from error
    return model.eval()


def read_state_dict(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Return the tensors in `path`, and the settings that the file records beside them."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}. Give the .pt file with the published weights.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
    ) as error:
        # torch's own message advises to load with weights_only=False, which would let the file run
        # code
        raise ValueError(
            f"{path} is damaged or no file of tensors. Write it with torch.save(model.state_dict(),"
            " path)."
        ) from error
    settings: dict[str, Any] = {}
    if isinstance(content, Mapping):
        settings = dict(content.get("model_kwargs") or {})
        for key in CONTAINERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(value, Tensor) for value in content.values())
    ):
        raise ValueError(
            f"{path} holds no state dict. Write it with torch.save(model.state_dict(), path)."
        )
    return {str(name): tensor.float() for name, tensor in content.items()}, settings


def as_published(weights: Weights, source: str) -> Weights:
    """Return the weights with the names that nanoTabPFN's attention has, where those of an
    attention that was written out (Wq, Wk, Wv, Wo) compute the same.

    Raises ValueError for sparse attention, whose answers depend on the order of the rows.
    """
    if any(name.endswith((".w_q.weight", ".w_k.weight")) for name in weights):
        raise ValueError(
            f"{source} holds sparse attention, which reads the rows that happen to stand next to"
            " each other. Import a network with the attention Original or Scratch, or train one"
            " here with attention_type='sparse'."
        )
    written_out = [name for name in weights if name.endswith(".Wq.weight")]
    if written_out:
        warnings.warn(
            f"{source} holds softmax attention between all rows, or between neighbours alone"
            " (Local, Einstein), which have the same names. It is read as the first (Scratch): a"
            " network that was trained with the second gives other answers here.",
            stacklevel=4,
        )
    renamed = dict(weights)
    for prefix in (name.removesuffix(".Wq.weight") for name in written_out):
        for part in ("weight", "bias"):
            parts = [renamed.pop(f"{prefix}.W{letter}.{part}", None) for letter in "qkv"]
            if any(value is None for value in parts):
                raise ValueError(
                    f"{source} has no whole {prefix!r}: not a whole state dict. Save"
                    " model.state_dict() again."
                )
            renamed[f"{prefix}.in_proj_{part}"] = torch.cat([p for p in parts if p is not None])
            if f"{prefix}.Wo.{part}" in renamed:
                renamed[f"{prefix}.out_proj.{part}"] = renamed.pop(f"{prefix}.Wo.{part}")
    return renamed


def refuse_other_kind(weights: Mapping[str, Tensor], kind: str, source: str) -> None:
    is_softmax = any(name.endswith("in_proj_weight") for name in weights)
    is_linear = any(name.endswith("q_proj.weight") for name in weights)
    if kind == "nanotabpfn" and is_linear and not is_softmax:
        raise ValueError(
            f"{source} holds linear attention, as TinyPFN has, not nanoTabPFN's. Say --kind"
            " tinypfn."
        )
    if kind == "tinypfn" and is_softmax and not is_linear:
        raise ValueError(
            f"{source} holds softmax attention, as nanoTabPFN has, not TinyPFN's. Say --kind"
            " nanotabpfn."
        )


def read_config(
    weights: Mapping[str, Tensor], kind: str, n_heads: int, source: str
) -> PublishedConfig:
    """Return the sizes of the network, from the shapes of its weights."""
    blocks = {
        int(found[1])
        for name in weights
        if (found := re.match(r"transformer_blocks\.(\d+)\.", name))
    }
    hidden, out = weights.get("decoder.linear1.weight"), weights.get("decoder.linear2.weight")
    if not blocks or hidden is None or out is None or hidden.dim() != 2 or out.dim() != 2:
        raise ValueError(
            f"{source} has no transformer_blocks or no decoder: not a {kind} state dict. Give the"
            " published weights."
        )
    if blocks != set(range(len(blocks))):
        raise ValueError(
            f"{source} has transformer_blocks {sorted(blocks)}: some are missing. Save"
            " model.state_dict() again."
        )
    return PublishedConfig(
        d_model=hidden.shape[1],
        n_heads=n_heads,
        n_layers=len(blocks),
        d_mlp=hidden.shape[0],
        max_classes=out.shape[0],
        attention_type="softmax" if kind == "nanotabpfn" else "linear",
        separate_query_weights=any(QUERY_ROWS in name for name in weights),
    )


def rename(theirs: Weights, config: PublishedConfig) -> Weights:
    """Our names for their tensors, which are taken out of `theirs`. Raises KeyError for one that is
    missing."""
    ours: Weights = {}

    def take(new: str, old: str) -> None:
        for part in ("weight", "bias"):
            ours[f"{new}.{part}"] = theirs.pop(f"{old}.{part}")

    def take_attention(new: str, old: str) -> None:
        take(f"{new}.to_out", f"{old}.out_proj")
        for part in ("weight", "bias"):
            if config.attention_type == "softmax":
                query, key_value = theirs.pop(f"{old}.in_proj_{part}").split(
                    [config.d_model, 2 * config.d_model]
                )
            else:
                query, key, value = (theirs.pop(f"{old}.{letter}_proj.{part}") for letter in "qkv")
                key_value = torch.cat([key, value])
            ours[f"{new}.to_query.{part}"], ours[f"{new}.to_key_value.{part}"] = query, key_value

    take("cell_encoder", "feature_encoder.linear_layer")
    take("target_encoder", "target_encoder.linear_layer")
    for i in range(config.n_layers):
        old, new = f"transformer_blocks.{i}", f"layers.{i}"
        take_attention(f"{new}.column_attention", f"{old}.self_attention_between_features")
        if config.separate_query_weights:
            take_attention(f"{new}.row_attention", f"{old}.{CONTEXT_ROWS}")
            take_attention(f"{new}.query_attention", f"{old}.{QUERY_ROWS}")
        else:
            take_attention(f"{new}.row_attention", f"{old}.self_attention_between_datapoints")
        names = {
            "column_norm": "norm1",
            "row_norm": "norm2",
            "mlp_norm": "norm3",
            "hidden": "linear1",
            "out": "linear2",
        }
        for ours_name, their_name in names.items():
            take(f"{new}.{ours_name}", f"{old}.{their_name}")
    take("head.hidden", "decoder.linear1")
    take("head.out", "decoder.linear2")
    return ours
