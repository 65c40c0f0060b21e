"""Fitted estimators as safetensors files: a JSON record in the metadata, and a digest of it and of
the tensors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from openpfn.checkpoint.fingerprint import content_digest
from openpfn.files import flush_to_disk, replacing

DIGEST = "openpfn_digest"


def write(path: Path, key: str, tensors: dict[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write `tensors`, and `record` under the metadata key `key`, to `path`, atomically."""
    text = json.dumps(record)
    metadata = {key: text, DIGEST: content_digest(tensors, text)}
    with telling(path), replacing(path) as unfinished:
        save_file(tensors, unfinished, metadata=metadata)
        flush_to_disk(unfinished)


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Say in one line why `path` cannot be written, such as a full disk."""
    try:
        yield
    except IsADirectoryError:
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"cannot write {path}: {reason}. Nothing was left behind; make room, or choose another"
            " folder."
        ) from error


def read(
    path: Path,
    key: str,
    estimator: str,
    *,
    known: Set[str],
    newest: int,
    first_with_digest: int = 1,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the record and the tensors of the `estimator` in `path`. `known` are the names of all
    estimators that are saved under `key`, `newest` is the format that this version writes.

    Raises FileNotFoundError if there is no file, and ValueError if it is none of these, is damaged
    or newer.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}. Give a file written by {estimator}.save."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # the reader fails in any way at a damaged header
        raise ValueError(f"{path} is not a whole safetensors file ({error}).") from error
    text = metadata.get(key, "{}")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged: its record is no JSON ({error}). Save it anew."
        ) from error
    if isinstance(record, dict) and (held := record.get("estimator")) in known - {estimator}:
        raise ValueError(
            f"{path} holds a {held} and does not hold a {estimator}. Load it with {held}.load."
        )
    if not isinstance(record, dict) or record.get("estimator") != estimator:
        raise ValueError(
            f"{path} does not hold a {estimator}. Give a file written by {estimator}.save."
        )
    written = record.get("format")
    if not isinstance(written, int) or written < 1:
        raise ValueError(f"{path} is damaged: its format is {written!r}. Save it anew.")
    if written > newest:
        raise ValueError(
            f"{path} has format {written}; this version reads up to {newest}. Update openpfn."
        )
    has_digest = DIGEST in metadata or written >= first_with_digest
    if has_digest and metadata.get(DIGEST) != content_digest(tensors, text):
        raise ValueError(
            f"{path} is damaged: its content is not what was saved. Bring back a copy, or save it"
            " anew."
        )
    return record, tensors
