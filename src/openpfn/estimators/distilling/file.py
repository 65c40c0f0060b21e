"""Distilled models as safetensors files, read and written without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.files import replacing

KEY = "openpfn_distilled"
DIGEST = "openpfn_digest"
FORMAT = 1


def write(path: Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> Path:
    """Write `arrays` and `record` to `path`, atomically, with a digest of both."""
    from safetensors.numpy import save_file

    text = json.dumps({"format": FORMAT, **record})
    whole = {name: np.array(array, order="C") for name, array in arrays.items()}
    with replacing(path) as unfinished:
        save_file(whole, unfinished, metadata={KEY: text, DIGEST: digest(whole, text)})
    return path


def read(path: Path, estimator: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the record and the arrays of the `estimator` in `path`.

    Raises FileNotFoundError if there is no file, and ValueError if it holds something else, is
    damaged or newer.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}. Give a file written by {estimator}.save."
        )
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # the reader fails in any way at a damaged header
        raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error
    if KEY not in metadata:
        raise ValueError(
            f"{path} does not hold a distilled model. Give a file written by {estimator}.save."
        )
    if metadata.get(DIGEST) != digest(arrays, metadata[KEY]):
        raise ValueError(
            f"{path} is damaged: its content is not what was saved. Bring back a copy, or distil"
            " anew."
        )
    record = json.loads(metadata[KEY])
    if record["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {record['format']}; this version reads up to {FORMAT}. Update"
            " openpfn."
        )
    if record["estimator"] != estimator:
        held = record["estimator"]
        raise ValueError(f"{path} holds a {held}, not a {estimator}. Load it with {held}.load.")
    return record, arrays


def digest(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """Return the SHA-256 of named arrays and a text, in hexadecimal."""
    total = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        total.update(f"{name} {array.dtype.str} {array.shape};".encode())
        total.update(array.tobytes())
    return total.hexdigest()
