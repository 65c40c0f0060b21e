"""Specification of a corpus: a YAML file that lists tables, each a file or a data set of OpenML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_args

from openpfn.tables.schema import Kind
from openpfn.text.corpus.manifest import TASKS, Split, check_choice, check_kinds

DEFAULT = "openml.yaml"
NOT_STATED = "not stated"
_FIELDS = (
    "name",
    "file",
    "openml",
    "target",
    "task",
    "licence",
    "licence_class",
    "family",
    "split",
    "kinds",
)


@dataclass(frozen=True)
class Entry:
    """One table that a corpus shall hold."""

    name: str
    """Name of the table; of a data set of OpenML, its name there."""
    source: Path | int
    """File, or number of a data set of OpenML."""
    target: str | None
    """Column to predict; None for the one that OpenML names."""
    task: str | None
    """classification or regression; None to read it off the target."""
    licence: str | None
    """Licence; what OpenML states comes before it."""
    licence_class: str
    family: str
    split: str
    kinds: Mapping[str, Kind] = field(default_factory=dict)


def read_specification(path: str | Path | None) -> list[Entry]:
    """Return the tables that the file `path` lists (None: the list of OpenML that ships).

    A YAML or JSON file holds `tables`: a list of entries with `file` (relative to the
    specification) or `openml` (a number), and `name`, `target`, `task`, `licence`, `family`,
    `split`, `kinds`. A JSON file that is a list is read as the index.json of a folder of tables.
    Raises FileNotFoundError or ValueError, naming the file and the entry.
    """
    if path is None:
        place = resources.files("openpfn.text.corpus") / DEFAULT
        return _entries(DEFAULT, Path("."), _parsed(DEFAULT, place.read_text(encoding="utf-8")))
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no specification {path} of a corpus.")
    return _entries(str(path), path.parent, _parsed(str(path), path.read_text(encoding="utf-8")))


def _parsed(name: str, text: str) -> Any:
    if name.endswith(".json"):
        try:
            return json.loads(text)
        except ValueError as error:
            raise ValueError(f"{name} is not JSON: {error}.") from error
    try:
        import yaml
    except ImportError as error:
        raise ValueError(
            f'reading {name} needs the package pyyaml: pip install "openpfn[text]", or write the'
            " specification as JSON."
        ) from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not YAML: {error}.") from error


def _entries(name: str, folder: Path, content: Any) -> list[Entry]:
    is_index = isinstance(content, list)
    listed = content if is_index else content.get("tables") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise ValueError(f"{name} lists no tables. Write `tables:` and an entry for each.")
    entries = []
    for i, fields in enumerate(listed):
        try:
            entries.append(_entry(folder, fields, is_index))
        except ValueError as error:
            named = fields.get("name") if isinstance(fields, dict) else None
            raise ValueError(f"{name}, table {named or i + 1}: {error}") from None
    seen: set[str] = set()
    for entry in entries:
        if entry.name in seen:
            raise ValueError(f"{name} lists more than one table {entry.name!r}. Rename one.")
        seen.add(entry.name)
    return entries


def _entry(folder: Path, fields: Any, is_index: bool) -> Entry:
    if not isinstance(fields, dict):
        raise ValueError(f"it is {fields!r}; expected fields such as file and target.")
    fields = {name: value for name, value in fields.items() if value is not None}
    if is_index:
        fields = {"kinds": fields.get("types", {})} | fields
    unknown = [name for name in fields if name not in _FIELDS and not is_index]
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r}. The fields are {', '.join(_FIELDS)}.")
    if ("file" in fields) == ("openml" in fields):
        raise ValueError("give either file or openml.")
    if "openml" in fields and not isinstance(fields["openml"], int):
        raise ValueError(f"openml is {fields['openml']!r}; expected the number of a data set.")
    if "file" in fields and "target" not in fields:
        raise ValueError("a file needs its target, the column to predict.")
    source = fields["openml"] if "openml" in fields else folder / str(fields["file"])
    name = fields.get("name") or (source.stem if isinstance(source, Path) else None)
    if name is None:
        raise ValueError("a data set of OpenML needs its name there.")
    task, split, kinds = fields.get("task"), fields.get("split", "train"), fields.get("kinds", {})
    if task is not None:
        check_choice("task", task, TASKS)
    check_choice("split", split, get_args(Split))
    check_kinds(kinds)
    return Entry(
        name=str(name),
        source=source,
        target=None if fields.get("target") is None else str(fields["target"]),
        task=task,
        licence=fields.get("licence"),
        licence_class=str(fields.get("licence_class", "")),
        family=str(fields.get("family", str(name).lower())),
        split=split,
        kinds=kinds,
    )
