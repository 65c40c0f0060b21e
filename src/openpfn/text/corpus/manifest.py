"""Manifest of a corpus: for each table its file and hash, target, task, licence and family."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from openpfn.files import write_whole
from openpfn.tables.schema import Kind

MANIFEST = "manifest.json"
FORMAT = 1
TASKS = ("classification", "regression")
Split = Literal["train", "validation", "test"]
Form = Literal["raw", "verbalized"]


@dataclass(frozen=True)
class TableRecord:
    """What the manifest says of one table."""

    name: str
    """Name of the table, one of its own in the corpus."""
    file: str
    """Parquet file, relative to the folder."""
    sha256: str
    """Hash of the file."""
    target: str
    """Column to predict."""
    task: str
    """classification or regression."""
    n_rows: int
    """Rows, all with a target."""
    n_columns: int
    """Columns besides the target."""
    licence: str
    """Licence, as its source states it."""
    family: str
    """Name that tables of one origin share: a network that read one of them has seen them all."""
    source: str
    """Where it came from: openml:data/ID, or the name of a file."""
    split: str = "train"
    """train, validation or test."""
    licence_class: str = ""
    """Kind of licence, where the specification names one."""
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    """Columns whose kind is known, not guessed."""
    recipe: str = ""
    """Hash of what the table was made from: it is not made again while that is the same."""
    form: str = "raw"
    """raw: values as they were; verbalized: sentences and numbers, from a corpus of raw strings."""
    target_texts: Sequence[str] = ()
    """Of a verbalized table: the sentences of its target tokens."""


def read_manifest(folder: Path) -> list[TableRecord]:
    """Return the records of the corpus in `folder`.

    Raises FileNotFoundError where there is no manifest, ValueError, naming it, where it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {MANIFEST} in {folder}, so it is no corpus. Make one with `openpfn corpus"
            " build`."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"it is not of format {FORMAT}")
        records = [_record(entry) for entry in content["tables"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no manifest of a corpus: {error}. Build the corpus again."
        ) from error
    return records


def write_manifest(folder: Path, records: Sequence[TableRecord]) -> None:
    """Write the manifest of `folder`, whole or not at all, the tables in alphabetical order."""
    entries = [asdict(record) for record in sorted(records, key=lambda record: record.name)]
    text = json.dumps({"format": FORMAT, "tables": entries}, indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, text + "\n")


def check_choice(what: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{what} is {value!r}. Choose one of {', '.join(choices)}.")


def check_kinds(kinds: Any) -> None:
    """Raise ValueError unless `kinds` maps columns to kinds."""
    if not isinstance(kinds, Mapping):
        raise ValueError(f"kinds is {kinds!r}; expected a mapping from columns to kinds.")
    for column, kind in kinds.items():
        check_choice(f"the kind of column {column!r}", kind, get_args(Kind))


def _record(entry: Any) -> TableRecord:
    known = {one.name for one in fields(TableRecord)}
    record = TableRecord(**{name: value for name, value in entry.items() if name in known})
    check_choice(f"the task of {record.name!r}", record.task, TASKS)
    check_choice(f"the split of {record.name!r}", record.split, get_args(Split))
    check_choice(f"the form of {record.name!r}", record.form, get_args(Form))
    check_kinds(record.kinds)
    path = Path(record.file)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"the file of {record.name!r} is {record.file!r}, outside the corpus")
    return record
