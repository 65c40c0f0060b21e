"""Load tables: CSV, parquet, folders of tables with an index, OpenML's, and those that scikit-learn
bundles."""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd

from openpfn.tables.schema import Kind, read_column, to_numbers

SUFFIXES = (".csv", ".tsv", ".parquet")
INDEX = "index.json"


@dataclass(frozen=True)
class Table:
    """A table whose `target` is to be predicted from its other columns."""

    name: str
    """What to call it."""
    X: pd.DataFrame
    """The columns, one row per example; numbers where all of a column's words are numbers."""
    y: pd.Series
    """The target. Rows without it are left out."""
    kinds: Mapping[Hashable, Kind] = field(default_factory=dict)
    """Columns whose kind is known, not guessed."""
    task: str = "classification"
    """classification or regression."""


def load(source: str | Path | int, target: str | None = None) -> Table:
    """The table that `source` names.

    `source` is a bundled table (`BUNDLED`), a CSV, TSV or parquet file, FOLDER/NAME where FOLDER
    holds an index.json, openml:data/ID, openml:task/ID, or the number of a data set of OpenML.
    `target` names the column to predict; all but files know theirs. The index is a list of entries
    {name, file, target, task, types: {column: numeric | categorical | text | date}}. Raises
    FileNotFoundError or ValueError, with the choices, for a name, file or column that is not there.
    """
    if isinstance(source, int) or str(source).startswith("openml:"):
        from openpfn.tables import openml  # which builds on this file

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


def names_in(folder: str | Path) -> list[str]:
    """The names of the tables in `folder`, which holds an index.json: `load(f"{folder}/{name}")`
    loads one."""
    return [entry["name"] for entry in _index(Path(folder))]


def read_table(path: str | Path) -> pd.DataFrame:
    """The file as it is: every value of a CSV or TSV is a word, empty fields are missing.

    Raises FileNotFoundError (with close matches) if there is no such file and ValueError if it
    cannot be read or holds no rows.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"{path} is none of {', '.join(SUFFIXES)}. Convert it, or name one of the bundled"
            f" tables: {', '.join(BUNDLED)}."
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.{_close_files(path)}")
    table = pd.read_parquet(path) if path.suffix.lower() == ".parquet" else _read_words(path)
    if table.empty:
        raise ValueError(f"{path} holds no rows.")
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"{path} has more than one column {repeated[0]!r}. Rename one of them.")
    return table


def require_columns(table: pd.DataFrame, wanted: Iterable[str], where: str | Path) -> None:
    """Raise ValueError, with close matches, unless `table` has all `wanted` columns."""
    missing = [name for name in wanted if name not in table.columns]
    if not missing:
        return
    known = [str(name) for name in table.columns]
    close = difflib.get_close_matches(missing[0], known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Its columns are {_shortened(known)}."
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    raise ValueError(f"{where} has no column {missing[0]!r}{more}. {hint}")


def _read_words(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator = "\t" if path.suffix.lower() == ".tsv" else _separator(file.readline())
        # "NA" or "none" may be a category: only the empty field is missing here, the column's kind
        # decides about the rest
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            na_values=[""],
            encoding="utf-8-sig",
        )
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty.") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of UTF-8 text: {error}".strip()) from None
    return table


def _separator(header: str) -> str:
    try:
        return csv.Sniffer().sniff(header, delimiters=",;\t|").delimiter
    except csv.Error:  # a single column
        return ","


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
    return Table(
        name,
        X,
        y if task == "classification" else pd.Series(to_numbers(y), name=target),
        kinds,
        task,
    )


def _typed(values: Any, kind: Kind | None) -> Any:
    """Numbers where all of a column's words are numbers."""
    return to_numbers(values) if (kind or read_column(values).kind) == "numeric" else values


def _entry(path: Path) -> Mapping[str, Any] | None:
    """What the index beside `path` says about it; None if there is no index."""
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
    hint = f"Did you mean {close[0]!r}?" if close else f"Choose one of {_shortened(names)}."
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
    return f": {_shortened(names_in(folder))}" if (folder / INDEX).is_file() else ""


def _close_files(path: Path) -> str:
    folder = path.parent
    known = (
        sorted(p.name for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
        if folder.is_dir()
        else []
    )
    close = difflib.get_close_matches(path.name, known, n=1)
    if close:
        return f" Did you mean {folder / close[0]}?"
    bundled = difflib.get_close_matches(path.stem, BUNDLED, n=1)
    return f" Did you mean the bundled table {bundled[0]}?" if bundled else ""


def _shortened(names: list[str], most: int = 30) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _from_sklearn(loader: str) -> Callable[[], tuple[pd.DataFrame, pd.Series]]:
    def read() -> tuple[pd.DataFrame, pd.Series]:
        import sklearn.datasets

        found = getattr(sklearn.datasets, loader)(as_frame=True)
        return found.data, pd.Series(
            np.asarray(found.target_names)[found.target.to_numpy()], name="target"
        )

    return read


def _digits_3_8_9() -> tuple[pd.DataFrame, pd.Series]:
    X, y = _from_sklearn("load_digits")()
    chosen = y.isin([3, 8, 9]).to_numpy()
    return X.loc[chosen].reset_index(drop=True), y.loc[chosen].reset_index(drop=True)


BUNDLED: dict[str, Callable[[], tuple[pd.DataFrame, pd.Series]]] = {
    "iris": _from_sklearn("load_iris"),
    "wine": _from_sklearn("load_wine"),
    "breast_cancer": _from_sklearn("load_breast_cancer"),
    "digits": _from_sklearn("load_digits"),
    "digits_3_8_9": _digits_3_8_9,
}
"""Real tables inside scikit-learn; digits_3_8_9 keeps the images of 3, 8 and 9, which are easily
confused."""
