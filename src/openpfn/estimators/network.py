"""The network behind an estimator: where it comes from, on which device it runs, what it was
trained for."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.device import pick_device
from openpfn.estimators.adapting.difference import WeightDifference

DEFAULT = "nano"
"""The shipped checkpoint that "auto" is."""


@dataclass(frozen=True)
class Network:
    """A network ready to predict."""

    model: Any
    """Has `config`, `summarize(batch)` and `read(x, state)`."""
    device: torch.device
    """Device that its weights lie on."""
    source: str | None
    """The checkpoint's shipped name or absolute path; None for a model in memory."""
    fingerprint: str | None
    """Hash of the weights of a checkpoint; None for a model in memory, whose weights may still
    change."""
    max_columns: int | None
    """Most columns of its training tasks; None if unknown."""
    max_rows: int | None
    """Most rows of its training tasks, context and query together; None if unknown."""
    knows_scores: bool = False
    """Whether some of its training tasks had stacked scores among their columns."""
    difference: WeightDifference | None = None
    """What fine-tuning changed in the weights of the checkpoint; None for nothing."""

    def predicts(self, target: Literal["classes", "numbers"]) -> bool:
        """Return whether it has a head of such targets."""
        field, default = (
            ("head", "categorical") if target == "classes" else ("regression_head", None)
        )
        return getattr(self.model.config, field, default) is not None

    def __str__(self) -> str:
        return "the model in memory" if self.source is None else f"checkpoint {self.source!r}"

    @property
    def max_classes(self) -> int:
        return self.model.config.max_classes

    def bytes_per_cell(self, n_columns: int, n_context: int) -> int:
        """Return the approximate bytes that one cell takes while it passes through a layer."""
        config = self.model.config
        width, n_heads = getattr(config, "d_model", 64), getattr(config, "n_heads", 1)
        # embeddings before and after a sublayer, its projections, the MLP or the scores of both
        # attentions
        widest = max(
            2 * getattr(config, "d_mlp", width),
            2 * n_heads * (n_columns + 1),
            n_heads * min(n_context, 512),
        )
        return 4 * (6 * width + widest)


def find_network(checkpoint: Any, model: Any, device: str) -> Network:
    """Return the network of `model` if given, else of `checkpoint`: "auto", a shipped name or a
    path."""
    if model is not None:
        return _in_memory(model, device)
    from openpfn.checkpoint import locate, shipped_name

    path = locate(DEFAULT if checkpoint == "auto" else checkpoint).resolve()
    # a path that means the same wherever the process stands that reads a pickle or a saved file
    source = shipped_name(path) or str(path)
    status = path.stat()
    return _from_file(source, path, (status.st_mtime_ns, status.st_size), str(pick_device(device)))


def advice(target: Literal["classes", "numbers"]) -> str:
    """Return where to find a checkpoint that predicts such targets, as part of a message."""
    from openpfn.checkpoint import read_header, shipped_names

    field, default = ("head", "categorical") if target == "classes" else ("regression_head", None)
    shipped = [
        name
        for name in shipped_names("tabular")
        if read_header(name).model_config.get(field, default) is not None
    ]
    if shipped:
        return f"a shipped checkpoint that does: {', '.join(shipped)}"
    return f"a checkpoint of your own whose configuration sets {field} (no shipped one does)"


def nested_bytes(state: Any) -> int:
    """Return the bytes of all tensors inside `state`."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, Mapping):
        return sum(nested_bytes(value) for value in state.values())
    if isinstance(state, (list, tuple)):
        return sum(nested_bytes(value) for value in state)
    return (
        sum(nested_bytes(value) for value in vars(state).values())
        if hasattr(state, "__dict__")
        else 0
    )


def with_difference(network: Network, difference: WeightDifference | None) -> Network:
    """Return `network` with the changes that fine-tuning made to its weights, if any."""
    if difference is None:
        return network
    return replace(network, model=difference.added_to(network.model), difference=difference)


@lru_cache(maxsize=8)
def _from_file(name: str, path: Path, version: tuple[int, int], device: str) -> Network:
    """Load a network once per file version and device: estimators share the weights, which nobody
    changes."""
    from openpfn import checkpoint

    loaded = checkpoint.load(path)
    if not hasattr(loaded.model, "summarize"):
        kind = type(loaded.model.config).__name__
        is_text = kind == "TextConfig"
        way = "TextTableClassifier or TextTableRegressor" if is_text else "checkpoint.load"
        raise ValueError(
            f"checkpoint {name!r} holds a network of another kind ({kind}), which takes no table of"
            f" numbers as a context. Use {way} for it; here give one of"
            f" {', '.join(checkpoint.shipped_names('tabular'))}, or a checkpoint of such a network."
        )
    limits = _training_limits(loaded.provenance)
    fingerprint = fingerprint_of(loaded.model)
    model = loaded.model.to(device).eval().requires_grad_(False)
    return Network(
        model,
        torch.device(device),
        name,
        fingerprint,
        limits.get("max_features"),
        limits.get("max_seq_len"),
        bool(limits.get("stacking_share")),
    )


def _training_limits(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of a checkpoint's prior, as far as it is recorded."""
    data = provenance.get("data")
    found = data.get("config") if isinstance(data, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _in_memory(model: Any, device: str) -> Network:
    here = (
        next((p.device for p in model.parameters()), torch.device("cpu"))
        if isinstance(model, nn.Module)
        else torch.device("cpu")
    )
    wanted = here if device == "auto" else pick_device(device)
    if wanted.type != here.type or (wanted.index is not None and wanted.index != here.index):
        model, here = (
            copy.deepcopy(model).to(wanted),
            wanted,
        )  # the caller's model stays where it is
    return Network(model, here, None, None, None, None)
