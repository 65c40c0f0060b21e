"""Load tables: CSV, parquet, ARFF, folders of tables with an index, OpenML's, and those that
scikit-learn bundles."""

from __future__ import annotations

import difflib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from openpfn.tables import openml
from openpfn.tables.bundled import BUNDLED
from openpfn.tables.read_file import SUFFIXES, read_table, require_columns, shortened
from openpfn.tables.schema import Kind, read_column, to_numbers, warn_of_odd_words
from openpfn.tables.table import Table

__all__ = [
    "BUNDLED",
    "INDEX",
    "SUFFIXES",
    "Table",
    "load",
    "load_file",
    "names_in",
    "read_table",
    "require_columns",
]

INDEX = "index.json"


def load(source: str | Path | int, target: str | None = None) -> Table:
    """Return the table that `source` names.

    `source` is a bundled table (`BUNDLED`), a CSV, TSV, parquet or ARFF file, FOLDER/NAME where
    FOLDER holds an index.json, openml:data/ID, openml:task/ID, or the number of an OpenML data set.
    `target` names the column to predict; all but files know theirs. The index is a list of entries
    {name, file, target, task, types: {column: numeric | categorical | text | date}}. Raises
    FileNotFoundError or ValueError, with the choices, for a name, file or column that is not there.
    """
    if isinstance(source, int) or str(source).startswith("openml:"):
        return openml.fetch_single(
            f"openml:data/{source}" if isinstance(source, int) else str(source), target
        )
    if str(source) in BUNDLED:
        X, y = BUNDLED[str(source)]()
        if target not in (None, y.name):
            raise ValueError(
                f"the target of the bundled table {source} is {y.name!r}, not {target!r}. Leave the"
                " target out."
            )
        return Table(str(source), X, y)
    path = Path(source)
    entry = _entry(path)
    if entry is not None:
        return _load_entry(path.parent, entry, target)
    if path.is_dir():
        raise ValueError(
            f"{path} is a folder. Name one of its tables, as in {path}/NAME{_listing(path)}."
        )
    words = read_table(path)
    if target is None:
        raise ValueError(
            f"say which column of {path} is the target. The columns are {', '.join(words.columns)}."
        )
    return _split(path.stem, words, target)


def load_file(
    path: str | Path,
    target: str,
    *,
    task: str = "classification",
    kinds: Mapping[Hashable, Kind] | None = None,
) -> Table:
    """Return the table in one file, of which `task` and the `kinds` of some columns are known.

    Raises FileNotFoundError or ValueError, naming the file, where it or its target is not there.
    """
    path = Path(path)
    words = read_table(path)
    require_columns(words, [target, *(kinds or {})], path)
    return _split(str(path), words, target, kinds, task)


def names_in(folder: str | Path) -> list[str]:
    """Return the names of the tables in `folder`, which holds an index.json.

    `load(f"{folder}/{name}")` loads one.
    """
    return [entry["name"] for entry in _index(Path(folder))]


def _load_entry(folder: Path, entry: Mapping[str, Any], target: str | None) -> Table:
    kinds = {name: kind for name, kind in entry.get("types", {}).items() if name != target}
    for name, kind in kinds.items():
        if kind not in get_args(Kind):
            raise ValueError(
                f"{folder / INDEX} says {kind!r} for column {name!r}. Choose one of"
                f" {', '.join(get_args(Kind))}."
            )
    return _split(
        entry["name"],
        read_table(folder / entry["file"]),
        target or entry["target"],
        kinds,
        entry.get("task", "classification"),
    )


def _split(
    name: str,
    words: pd.DataFrame,
    target: str,
    kinds: Mapping[Hashable, Kind] | None = None,
    task: str = "classification",
) -> Table:
    require_columns(words, [target], name)
    words = words.loc[words[target].notna().to_numpy()].reset_index(drop=True)
    if words.empty:
        raise ValueError(f"column {target!r} of {name} holds no values. Choose another target.")
    kinds = dict(kinds or {})
    X = pd.DataFrame(
        {
            column: _typed(words[column], kinds.get(column))
            for column in words.columns
            if column != target
        }
    )
    y = pd.Series(words[target])
    if task != "classification":
        y = _numbers_to_predict(y, name)
        known = y.notna().to_numpy()
        X, y = X.loc[known].reset_index(drop=True), y.loc[known].reset_index(drop=True)
    return Table(name, X, y, kinds, task)


def _typed(values: Any, kind: Kind | None) -> Any:
    """Return numbers where a column is one of numbers, else the values as they are."""
    column = read_column(values, kind)
    if column.kind != "numeric":
        return values
    warn_of_odd_words([column], stacklevel=5)
    return to_numbers(values, column.number_reading)


def _numbers_to_predict(y: pd.Series, name: str) -> pd.Series:
    column = read_column(y, "numeric")
    if column.n_odd:
        raise ValueError(
            f"column {y.name!r} of {name} is to be predicted as a number, but {column.n_odd} of its"
            f" values are none, such as {column.odd_word}. Correct them, or leave them empty."
        )
    return pd.Series(to_numbers(y, column.number_reading), name=y.name)


def _entry(path: Path) -> Mapping[str, Any] | None:
    """Return what the index beside `path` says about it; None if there is no index."""
    if not (path.parent / INDEX).is_file():
        return None
    entries = _index(path.parent)
    for entry in entries:
        if path.name in (entry["name"], entry["file"]):
            return entry
    if path.is_file():
        return None
    names = [entry["name"] for entry in entries]
    close = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Choose one of {shortened(names)}."
    raise ValueError(f"{path.parent} holds no table {path.name!r}. {hint}")


def _index(folder: Path) -> list[dict[str, Any]]:
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"there is no {INDEX} in {folder}: a folder of tables needs one.")
    entries = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(
        {"name", "file", "target"} <= set(entry) for entry in entries
    ):
        raise ValueError(f"{path} must be a list of entries with name, file and target.")
    return entries


def _listing(folder: Path) -> str:
    return f": {shortened(names_in(folder))}" if (folder / INDEX).is_file() else ""
