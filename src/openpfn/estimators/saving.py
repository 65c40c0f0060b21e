"""Fitted estimators in one safetensors file: context, encoder, views, and the network's weights or their name and hash.

The metadata key `openpfn_estimator` is a JSON object. Tensors: `rows` and `labels` (the encoded context), `encoder/…`,
and `checkpoint`, the bytes of a checkpoint file, where the weights are embedded.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from openpfn import __version__, checkpoint
from openpfn.estimators.context import Context
from openpfn.estimators.ensemble import Member
from openpfn.estimators.network import Network, find_device, find_network, fingerprint_of
from openpfn.tables.encode import TableEncoder

FORMAT = 1
KEY = "openpfn_estimator"


def save(estimator: Any, path: str | Path, *, embed_weights: bool | None = None) -> Path:
    """Write the fitted classifier `estimator` to `path`, atomically."""
    context: Context | None = estimator.context_
    plain_encoder, encoder_arrays = estimator.encoder_.state()
    record = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "version": __version__,
        "parameters": {name: getattr(estimator, name) for name in ("n_estimators", "softmax_temperature", "memory_limit")},
        "checkpoint": str(estimator.checkpoint),
        "classes": estimator.classes_.tolist(),
        "classes_dtype": "object" if estimator.classes_.dtype == object else estimator.classes_.dtype.str,
        "feature_names": estimator.feature_names_in_.tolist() if hasattr(estimator, "feature_names_in_") else None,
        "n_features": estimator.n_features_in_,
        "columns": estimator.columns_.tolist(),
        "order": estimator.order_.tolist(),
        "tied": estimator.tied_,
        "encoder": plain_encoder,
        "context": None,
    }
    arrays = {f"encoder/{name}": array for name, array in encoder_arrays.items()}
    if context is not None:
        network = context.ready_network()
        embed = embed_weights if embed_weights is not None else network.source not in checkpoint.shipped_names()
        if embed:
            arrays["checkpoint"] = _checkpoint_bytes(network)
        elif network.source is None:
            raise ValueError("the network is one in memory, not a checkpoint: embed_weights must be True or None to save it.")
        arrays |= {"rows": context.rows, "labels": context.labels.astype(np.int64)}
        record["context"] = {
            "members": [asdict(member) for member in context.members],
            "categorical": context.categorical.tolist(),
            "source": None if embed else network.source,
            "fingerprint": fingerprint_of(network.model),
        }
    _write(Path(path), {name: np.ascontiguousarray(array) for name, array in arrays.items()}, record)
    return Path(path)


def load(cls: Any, path: str | Path, *, device: str = "auto") -> Any:
    """The classifier of class `cls` in `path`. Raises ValueError if the file is none, or if its checkpoint has other weights now."""
    record, arrays = _read(Path(path), cls.__name__)
    estimator = cls(record["checkpoint"], device=device, **record["parameters"])
    estimator.classes_ = np.array(record["classes"], dtype=np.dtype(record["classes_dtype"]))
    estimator.n_features_in_ = record["n_features"]
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    estimator.columns_ = np.array(record["columns"], dtype=np.int64)
    estimator.order_, estimator.tied_ = np.array(record["order"]), record["tied"]
    estimator.encoder_ = TableEncoder.from_state(
        record["encoder"], {name.removeprefix("encoder/"): array for name, array in arrays.items() if name.startswith("encoder/")}
    )
    estimator.context_ = None
    if record["context"] is not None:
        estimator.context_ = context = _context(estimator, record["context"], arrays)
        if record["context"]["source"] is None:
            estimator.model = context.ready_network().model
    return estimator


def _context(estimator: Any, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Context:
    if record["source"] is None:
        network = _embedded_network(arrays["checkpoint"], estimator.device)
    else:
        network = find_network(record["source"], None, estimator.device)
    if fingerprint_of(network.model) != record["fingerprint"]:
        raise ValueError(
            f"the classifier was saved with other weights than checkpoint {record['source']!r} holds now. "
            "Fit it again, or bring back that checkpoint; save(embed_weights=True) keeps the weights in the file."
        )
    return Context(
        network,
        [Member(**member) for member in record["members"]],
        arrays["rows"],
        arrays["labels"],
        np.array(record["categorical"], dtype=bool),
        len(estimator.classes_),
        estimator.device,
        estimator.memory_limit,
    )


def _checkpoint_bytes(network: Network) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        path = checkpoint.save(Path(folder) / "embedded.safetensors", network.model)
        return np.frombuffer(path.read_bytes(), dtype=np.uint8)


def _embedded_network(content: np.ndarray, device: str) -> Network:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embedded.safetensors"
        path.write_bytes(content.tobytes())
        model = checkpoint.load(path).model.requires_grad_(False)
    return find_network(None, model.to(find_device(device)), "auto")


def _write(path: Path, arrays: dict[str, np.ndarray], record: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(arrays, temporary, metadata={KEY: json.dumps(record)})
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, estimator: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}. Give a file written by {estimator}.save.")
    try:
        with safe_open(path, framework="np") as file:
            text = (file.metadata() or {}).get(KEY)
            arrays = {name: file.get_tensor(name) for name in file.keys()}    # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error
    record = json.loads(text or "{}")
    if record.get("estimator") != estimator:
        raise ValueError(f"{path} does not hold a {estimator}. Give a file written by {estimator}.save.")
    if record["format"] > FORMAT:
        raise ValueError(f"{path} has format {record['format']}; this version reads up to {FORMAT}. Update openpfn.")
    return record, arrays
