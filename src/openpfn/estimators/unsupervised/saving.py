"""Imputers and outlier detectors as safetensors files: the table's rows as parquet, the network's
weights or their name and hash, and a digest of all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from openpfn import __version__
from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.device import pick_device
from openpfn.estimators.network import find_network
from openpfn.estimators.saved_file import read, write
from openpfn.estimators.saving import (
    ESTIMATORS,
    KEY,
    checkpoint_bytes,
    embedded_network,
    embeds,
    recorded_network,
)
from openpfn.tables.json_values import from_json, name_to_json, to_json

FORMAT = 1


def save(estimator: Any, path: str | Path, *, embed_weights: bool | None = None) -> Path:
    """Write the fitted `estimator` to `path`, atomically."""
    how, table = estimator.conditionals_.how, estimator.conditionals_.table
    network = find_network(how.checkpoint, how.model, how.device)
    embed = embeds(network, embed_weights)
    record = {
        "format": FORMAT,
        "estimator": type(estimator).__name__,
        "version": __version__,
        "parameters": {n: to_json(getattr(estimator, n)) for n in estimator.saved_parameters},
        "checkpoint": str(estimator.checkpoint),
        "source": None if embed else network.source,
        "fingerprint": fingerprint_of(network.model),
        "seed": estimator.seed_,
        "columns": [name_to_json(name) for name in table.columns],
        "is_named": hasattr(estimator, "feature_names_in_"),
        **estimator.learnt(),
    }
    arrays = {"table": _as_parquet(table)}
    if embed:
        arrays["checkpoint"] = checkpoint_bytes(network)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    write(Path(path), KEY, tensors, record)
    return Path(path)


def load(cls: Any, path: str | Path, *, device: str = "auto") -> Any:
    """Return the estimator of class `cls` in `path`.

    Raises ValueError if the file is none, is damaged, or if its checkpoint has other weights now.
    """
    pick_device(device)
    record, tensors = read(Path(path), KEY, cls.__name__, known=ESTIMATORS, newest=FORMAT)
    try:
        estimator = cls(record["checkpoint"], device=device, **record["parameters"])
        if record["source"] is None:
            network = embedded_network(tensors["checkpoint"].numpy(), device)
            estimator.model = network.model
        else:
            network = recorded_network(record["source"], record["fingerprint"], device)
        table = pd.read_parquet(io.BytesIO(tensors["table"].numpy().tobytes()))
        table.columns = pd.Index([from_json(name) for name in record["columns"]])
        estimator.n_features_in_ = table.shape[1]
        if record["is_named"]:
            estimator.feature_names_in_ = np.array(table.columns, dtype=object)
        estimator.show(table, record["seed"], network)
        estimator.relearn(record)
        return estimator
    except (ValueError, OSError):
        raise
    except Exception as error:  # parts that do not fit together fail in any way
        raise ValueError(
            f"{path} is damaged: its parts do not fit together ({type(error).__name__}:"
            f" {' '.join(str(error).split())[:200]}). Save it anew."
        ) from error


def _as_parquet(table: pd.DataFrame) -> np.ndarray:
    """Return the bytes of a parquet file of `table`, whose columns are called by their place."""
    plain = table.set_axis([str(i) for i in range(table.shape[1])], axis=1)
    content = io.BytesIO()
    try:
        plain.to_parquet(content)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise ValueError(
            f"the table cannot be saved: {' '.join(str(error).split())}. Turn the column into"
            " numbers, words or dates."
        ) from error
    return np.frombuffer(content.getvalue(), dtype=np.uint8)
