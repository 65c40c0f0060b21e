"""`read_header`: what a checkpoint says about itself, checked before anything is made of it."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from openpfn.checkpoint.location import locate, previous_of
from openpfn.configs.training import TrainingConfig

FORMAT = 1
RECORD, RECORD_DIGEST = "openpfn", "openpfn_sha256"
"""Keys of the metadata: the record, a JSON object, and the SHA-256 of its text."""
TRAINING, TASKS = "@training/", "@tasks/"
"""How the names of tensors begin that are no weights: a run's state, and pools of tasks."""
FIELDS: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "model": (str,),
    "model_config": (dict,),
    "training_config": (dict, type(None)),
    "provenance": (dict,),
    "training": (dict, type(None)),
}
"""What a record must hold, and of which types."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says about itself, read without its weights."""

    path: Path
    model: str
    model_config: dict[str, Any]
    training_config: dict[str, Any] | None
    provenance: dict[str, Any]
    training: dict[str, Any] | None
    """Counters of a training checkpoint; None where the run cannot be continued from this file."""
    shapes: dict[str, tuple[int, ...]]
    """Shape of each weight."""
    digests: Mapping[str, str]
    """SHA-256 of the weights (under ""), of a run's state and of the pools of tasks; empty in
    files of releases that recorded none."""

    @property
    def config(self) -> Any:
        """The model's configuration as an object."""
        return from_json(_config_class(self), self.model_config, self.path)


def read_header(source: str | Path) -> Header:
    """Return what the checkpoint `source` says about itself. Raises as `load` does."""
    path = locate(source)
    with opened(path) as file:
        record = _checked_record(path, file.metadata() or {})
        shapes = {
            name: tuple(file.get_slice(name).get_shape())
            for name in names_in(file)
            if not name.startswith("@")
        }
    described = {name: record[name] for name in FIELDS if name != "format"}
    digests = record.get("sha256")
    return Header(path, **described, shapes=shapes, digests=digests or {})


def record_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata of a file that holds `record`."""
    text = json.dumps(record, default=plain)
    return {RECORD: text, RECORD_DIGEST: hashlib.sha256(text.encode()).hexdigest()}


def training_config_of(header: Header) -> TrainingConfig | None:
    """Return the recorded training configuration, without the fields that this version lacks."""
    if header.training_config is None:
        return None
    known = {f.name for f in fields(TrainingConfig)}
    values = {name: value for name, value in header.training_config.items() if name in known}
    return _made(TrainingConfig, values, header.path)


def names_in(file: Any) -> list[str]:
    """Return the names of the tensors in an opened file."""
    return list(file.keys())


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file. Raises ValueError when it is not a whole one."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, UnicodeError, OverflowError, MemoryError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}).{_hint(path)}"
        ) from error


def damaged(path: Path, what: str) -> ValueError:
    """Return the error that tells what is wrong with a file, and what to do."""
    return ValueError(f"{path} is damaged: {what}. Copy or make it again.{_hint(path)}")


def kind_of(config: Any) -> str:
    """Return the record's name for the class of `config`: its module in `openpfn.configs`, with
    the class where there are several."""
    kind = type(config)
    name = getattr(kind, "model", None)
    own = (
        [] if name is None else _configurations(importlib.import_module(f"openpfn.configs.{name}"))
    )
    if kind not in own:
        return f"{kind.__module__}:{kind.__qualname__}"
    return str(name) if len(own) == 1 else f"{name}.{kind.__name__}"


def as_json(config: Any) -> dict[str, Any]:
    """Return a configuration as a checkpoint records it."""
    return json.loads(json.dumps(asdict(config), default=plain))


def from_json(kind: Any, values: Mapping[str, Any], path: Path) -> Any:
    """Return the configuration of class `kind` that `path` records as `values`; fields that it
    does not set keep their defaults.

    Raises ValueError if it sets a field that this version does not have.
    """
    unknown = sorted(values.keys() - {f.name for f in fields(kind)})
    if unknown:
        names = ", ".join(unknown)
        raise ValueError(
            f"{path} sets {names} of {kind.__name__}, unknown to this version. Use the version that"
            " wrote it."
        )
    return _made(kind, values, path)


def plain(value: Any) -> Any:
    """Return what JSON writes for a value that it does not know."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    as_list = getattr(value, "tolist", None)  # a number or an array of NumPy's or torch's
    return str(value) if as_list is None else as_list()


def _checked_record(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the record in a file's metadata.

    Raises ValueError where it is not what was written.
    """
    text = metadata.get(RECORD)
    if text is None:
        raise ValueError(
            f"{path} is a safetensors file without OpenPFN's record. Give a file written by"
            " openpfn.checkpoint.save."
        )
    digest = metadata.get(RECORD_DIGEST)
    if digest not in (None, hashlib.sha256(text.encode()).hexdigest()):
        raise damaged(path, "its record is not the one that was written (another SHA-256)")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"its record is no JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise damaged(path, "its record tells no format")
    if record["format"] > FORMAT:
        raise ValueError(
            f"{path} has checkpoint format {record['format']}; this version reads up to"
            f" {FORMAT}. Update openpfn."
        )
    wrong = [name for name, kinds in FIELDS.items() if not isinstance(record.get(name, ...), kinds)]
    if wrong or not isinstance(record.get("sha256", {}), dict):
        raise damaged(path, f"its record has no usable {', '.join(wrong) or 'sha256'}")
    return record


def _made(kind: Any, values: Mapping[str, Any], path: Path) -> Any:
    settled = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return kind(**settled)
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} records a {kind.__name__} that cannot be: {error} Make the file again, or use"
            " the version that wrote it."
        ) from error


def _config_class(header: Header) -> Any:
    name, _, class_name = header.model.partition(".")
    if not header.model.replace(".", "", 1).isidentifier():
        raise ValueError(
            f"{header.path} holds a model of your own, {header.model}: build it and pass it as"
            " model=."
        )
    unknown = ValueError(
        f"{header.path} holds a {header.model!r} model, which this version does not know."
        " Update openpfn."
    )
    try:
        module = importlib.import_module(f"openpfn.configs.{name}")
    except ModuleNotFoundError:
        raise unknown from None
    kinds = [kind for kind in _configurations(module) if class_name in ("", kind.__name__)]
    if len(kinds) != 1:
        raise unknown
    return kinds[0]


def _configurations(module: Any) -> list[Any]:
    """Return the model configurations that a module of `openpfn.configs` defines."""
    return [
        kind
        for kind in vars(module).values()
        if is_dataclass(kind) and getattr(kind, "model", None)
    ]


def _hint(path: Path) -> str:
    """Return what to do about a file that cannot be read, where something can be done."""
    with path.open("rb") as file:
        begins = file.read(4)
    if begins == b"PK\x03\x04" or begins[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        return (
            " It looks like a file of torch.save: make published weights a checkpoint with"
            f" `openpfn import {path} --kind nanotabpfn --out NEW.safetensors` (or --kind tinypfn)."
        )
    previous = previous_of(path)
    return f" An older one is kept in {previous}." if previous.is_file() else ""
