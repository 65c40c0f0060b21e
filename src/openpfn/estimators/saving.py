"""Fitted estimators in one safetensors file: context, encoder, views, and the network's weights or
their name and hash.

The metadata key `openpfn_estimator` is a JSON object. Tensors: `rows` and `labels` (the encoded
context), `encoder/…`, `views/…` and `states/…` (what the network keeps of the context, per group of
views), and `checkpoint`, the bytes of a checkpoint file, where the weights are embedded. Format 1
had neither views nor states.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openpfn import __version__, checkpoint
from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.device import pick_device
from openpfn.estimators.context import Context
from openpfn.estimators.ensemble import Member, View
from openpfn.estimators.network import Network, find_network
from openpfn.estimators.states import (
    from_storage_order,
    in_storage_order,
    narrowed,
    put_together,
    take_apart,
)
from openpfn.files import replacing
from openpfn.tables.encode import TableEncoder

FORMAT = 2
KEY = "openpfn_estimator"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
"""How finely the layers' states can be stored."""
MOST_VALUES = 1000
"""Single values of a column that a file without rows holds at most."""


def save(
    estimator: Any,
    path: str | Path,
    *,
    embed_weights: bool | None = None,
    keep_rows: bool = True,
    states: str | None = None,
) -> Path:
    """Write the fitted classifier `estimator` to `path`, atomically. `PFNClassifier.save` tells
    what the options do."""
    if states is not None and states not in PRECISIONS:
        raise ValueError(f"states is {states!r}, must be None or one of {', '.join(PRECISIONS)}.")
    context: Context | None = estimator.context_
    plain_encoder, encoder_arrays = estimator.encoder_.state()
    record = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "version": __version__,
        "parameters": {
            name: getattr(estimator, name)
            for name in ("n_estimators", "softmax_temperature", "memory_limit")
        },
        "checkpoint": str(estimator.checkpoint),
        "classes": estimator.classes_.tolist(),
        "classes_dtype": (
            "object" if estimator.classes_.dtype == object else estimator.classes_.dtype.str
        ),
        "feature_names": (
            estimator.feature_names_in_.tolist()
            if hasattr(estimator, "feature_names_in_")
            else None
        ),
        "n_features": estimator.n_features_in_,
        "columns": estimator.columns_.tolist(),
        "order": estimator.order_.tolist(),
        "tied": estimator.tied_,
        "encoder": plain_encoder,
        "context": None,
    }
    arrays = {f"encoder/{name}": array for name, array in encoder_arrays.items()}
    tensors: dict[str, Tensor] = {}
    if context is not None:
        network = context.ready_network()
        embed = (
            embed_weights
            if embed_weights is not None
            else network.source not in checkpoint.shipped_names()
        )
        if embed:
            arrays["checkpoint"] = _checkpoint_bytes(network)
        elif network.source is None:
            raise ValueError(
                "the network is one in memory, not a checkpoint: embed_weights must be True or None"
                " to save it."
            )
        if keep_rows:
            arrays |= _rows(context)
        record["context"] = {
            "members": [asdict(member) for member in context.members],
            "categorical": context.categorical.tolist(),
            "source": None if embed else network.source,
            "fingerprint": fingerprint_of(network.model),
            "n_rows": context.n_rows,
            "groups": None,
        }
        if states is not None or not keep_rows:
            record["context"]["groups"], tensors = _groups(
                context, states or "float32", thin=not keep_rows
            )
    tensors |= {
        name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()
    }
    _write(Path(path), tensors, record)
    return Path(path)


def load(cls: Any, path: str | Path, *, device: str = "auto") -> Any:
    """The classifier of class `cls` in `path`. Raises ValueError if the file is none, or if its
    checkpoint has other weights now."""
    record, tensors = _read(Path(path), cls.__name__)
    try:
        return _restored(cls, record, tensors, device)
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged: its parts do not fit together ({type(error).__name__}: {error})."
            " Save it anew."
        ) from error


def _restored(
    cls: Any, record: Mapping[str, Any], tensors: Mapping[str, Tensor], device: str
) -> Any:
    arrays = {
        name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith("states/")
    }
    estimator = cls(record["checkpoint"], device=device, **record["parameters"])
    estimator.classes_ = np.array(record["classes"], dtype=np.dtype(record["classes_dtype"]))
    estimator.n_features_in_ = record["n_features"]
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    estimator.columns_ = np.array(record["columns"], dtype=np.int64)
    estimator.order_, estimator.tied_ = np.array(record["order"]), record["tied"]
    estimator.encoder_ = TableEncoder.from_state(record["encoder"], _below("encoder/", arrays))
    estimator.context_ = None
    if record["context"] is not None:
        estimator.context_ = context = _context(estimator, record["context"], arrays)
        if record["context"].get("groups") is not None:
            _resume(context, record["context"], arrays, tensors)
        if record["context"]["source"] is None:
            estimator.model = context.ready_network().model
    return estimator


def _context(
    estimator: Any, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> Context:
    if record["source"] is None:
        network = _embedded_network(arrays["checkpoint"], estimator.device)
    else:
        network = find_network(record["source"], None, estimator.device)
    if fingerprint_of(network.model) != record["fingerprint"]:
        raise ValueError(
            f"the classifier was saved with other weights than checkpoint {record['source']!r}"
            " holds now. Fit it again, or bring back that checkpoint; save(embed_weights=True)"
            " keeps the weights in the file."
        )
    return Context(
        network,
        [Member(**member) for member in record["members"]],
        arrays.get("rows"),
        arrays.get("labels"),
        np.array(record["categorical"], dtype=bool),
        len(estimator.classes_),
        estimator.device,
        estimator.memory_limit,
    )


def _rows(context: Context) -> dict[str, np.ndarray]:
    if context.rows is None or context.labels is None:
        raise ValueError(
            "this classifier came from a file without rows, so it has none to save. Use"
            " keep_rows=False, or fit it again."
        )
    return {"rows": context.rows, "labels": context.labels.astype(np.int64)}


def _groups(
    context: Context, precision: str, *, thin: bool
) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The groups of views that pass through the network together, with the states that the context
    left: plain values, and tensors."""
    if context.groups is None:
        context.read()
    assert context.groups is not None
    if any(state is None for state in context.states):
        raise ValueError(
            f"the states of this context take more than memory_limit = {context.memory_limit} bytes"
            " and were not kept, so they cannot be saved. Fit with a larger memory_limit or None,"
            " or save the rows alone."
        )
    records, tensors = [], {}
    for i, (views, state) in enumerate(zip(context.groups, context.states, strict=True)):
        if thin:
            views = [view.thinned(MOST_VALUES) for view in views]
            state = state.thinned(MOST_VALUES) if hasattr(state, "thinned") else state
        ends = take_apart(state)
        put_together(
            ends, context.example_state(views)
        )  # what could not be loaded must not be saved
        plain = {path: end for path, end in ends.items() if not isinstance(end, Tensor)}
        orders: dict[str, list[int]] = {}
        for path, end in narrowed(ends, PRECISIONS[precision]).items():
            if path not in plain:
                tensors[f"states/{i}/{path}"], orders[path] = in_storage_order(
                    end.detach().to("cpu", copy=True)
                )
        records.append(
            {"members": [asdict(view.member) for view in views], "plain": plain, "orders": orders}
        )
        for j, view in enumerate(views):
            tensors |= {
                f"views/{i}/{j}/{name}": torch.from_numpy(np.array(array))
                for name, array in view.arrays().items()
            }
    return records, tensors


def _resume(
    context: Context,
    record: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give `context` its views and states back."""
    groups, states = [], []
    for i, group in enumerate(record["groups"]):
        members = [Member(**member) for member in group["members"]]
        groups.append(
            [
                View.from_arrays(member, _below(f"views/{i}/{j}/", arrays))
                for j, member in enumerate(members)
            ]
        )
        ends = {
            path: from_storage_order(end, group["orders"][path])
            for path, end in _below(f"states/{i}/", tensors).items()
        }
        states.append(put_together(group["plain"] | ends, context.example_state(groups[-1])))
    context.resume(groups, states, record["n_rows"])


def _below(prefix: str, named: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)
    }


def _checkpoint_bytes(network: Network) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder) / "embedded.safetensors", network.model)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _embedded_network(content: np.ndarray, device: str) -> Network:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedded.safetensors"
        path.write_bytes(content.tobytes())
        model = checkpoint.load(path).model.requires_grad_(False)
    return find_network(None, model.to(pick_device(device)), "auto")


def _write(path: Path, tensors: dict[str, Tensor], record: Mapping[str, Any]) -> None:
    with replacing(path) as unfinished:
        save_file(tensors, unfinished, metadata={KEY: json.dumps(record)})


def _read(path: Path, estimator: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}. Give a file written by {estimator}.save."
        )
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error
    try:
        record = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is damaged: its record is no JSON ({error}). Save it anew."
        ) from error
    if record.get("estimator") != estimator:
        raise ValueError(
            f"{path} does not hold a {estimator}. Give a file written by {estimator}.save."
        )
    if record["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {record['format']}; this version reads up to {FORMAT}. Update"
            " openpfn."
        )
    return record, tensors
