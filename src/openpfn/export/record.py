"""The record that stands beside an exported library: which network it is, and which table was
frozen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openpfn import checkpoint
from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.export.options import BACKENDS
from openpfn.export.prefix import PREFIX
from openpfn.files import write_whole

RECORD = "pfn_export.json"
FIELDS = ("checkpoint", "fingerprint", "backend", "max_features", "max_classes")
"""What every export records."""
PYTORCH_MAGIC = (b"PK\x03\x04", b"\x80\x02")
"""First bytes of files that torch.save writes, today and before version 1.6."""


def write_record(folder: Path, values: Mapping[str, Any]) -> Path:
    """Write the record of the library in `folder` and return its path."""
    write_whole(folder / RECORD, json.dumps(dict(values), indent=2) + "\n")
    return folder / RECORD


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of the library in `folder`. Raises FileNotFoundError where there is none,
    ValueError for one that is damaged."""
    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {RECORD}. Give a folder that `openpfn export c` wrote."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        record = None
    if (
        not isinstance(record, dict)
        or not all(name in record for name in FIELDS)
        or record["backend"] not in BACKENDS
    ):
        raise ValueError(f"{path} is damaged. Export the network again.")
    return record


def recorded_prefix(folder: str | Path) -> str:
    """Return the prefix of the library in `folder`; that of the C code where no record, or an
    earlier one, names another. Raises ValueError for a record that is damaged."""
    if not (Path(folder) / RECORD).is_file():
        return PREFIX
    return read_record(Path(folder)).get("prefix", PREFIX)


def check_prefix_of_folder(folder: Path, prefix: str) -> None:
    """Raise ValueError where `folder` holds a library whose prefix is not `prefix`: a folder is one
    library to build systems."""
    present = recorded_prefix(folder)
    if present != prefix and (folder / RECORD).is_file():
        raise ValueError(
            f"{folder} holds a library with the prefix {present}. Give another folder for the one"
            f" with {prefix}."
        )


def exported_network(folder: Path) -> tuple[dict[str, Any], Any]:
    """Return the record of the library in `folder` and the network that it was made of. Raises
    ValueError where that has changed since."""
    record = read_record(folder)
    model = load_network(record["checkpoint"])
    if fingerprint_of(model) != record["fingerprint"]:
        raise ValueError(
            f"checkpoint {record['checkpoint']} has other weights than {folder} was exported from."
            " Export it again."
        )
    return record, model


def load_network(source: str) -> Any:
    """Return the network of a checkpoint; raises as `checkpoint.load` does."""
    refuse_pytorch_file(source)
    return checkpoint.load(source).model


def load_config(source: str) -> Any:
    """Return the configuration of a checkpoint's network; raises as `checkpoint.read_header`
    does."""
    refuse_pytorch_file(source)
    return checkpoint.read_header(source).config


def refuse_pytorch_file(source: str) -> None:
    """Raise ValueError, pointing at `openpfn import`, where torch.save wrote the file `source`."""
    path = Path(source)
    if not path.is_file():
        return
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning.startswith(PYTORCH_MAGIC):
        raise ValueError(
            f"{source} is a file of PyTorch, not a checkpoint of OpenPFN. If its weights are"
            f" published ones, openpfn import {source} --kind tinypfn --out NEW.safetensors turns"
            " it into one."
        )


def recorded_source(source: str) -> str:
    """Return how a record names `source`: a path from the root, so that it is found from any
    folder; anything that is no file here, such as a shipped name, stays as it is."""
    path = Path(source)
    is_shipped = path.name == source and source in checkpoint.shipped_names()
    return str(path.resolve()) if path.exists() and not is_shipped else source
