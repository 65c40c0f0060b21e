"""Suites of real tables: scikit-learn's, a folder with an index, or OpenML's; filtered, halved, and
loaded by name."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.tables import openml
from openpfn.tables.load import BUNDLED, INDEX, Table, load
from openpfn.tables.schema import Kind

BUNDLED_FAMILIES = {"digits_3_8_9": "digits"}
"""Families of bundled tables that are not called like the table."""
BUNDLED_ELSEWHERE = frozenset(
    {"iris", "wine", "wdbc", "breast_cancer", "digits", "optdigits-sklearn", "sklearn-diabetes"}
)
"""Names or families under which a folder may hold tables that scikit-learn bundles too: everybody
tunes on these."""


@dataclass(frozen=True)
class Entry:
    """Facts of a table that need no loading."""

    name: str
    """Name of the table."""
    family: str
    """Tables that are variants of each other share it: they fall into the same half."""
    task: str
    """classification or regression."""
    tags: frozenset[str] = frozenset()
    """Tags that `only` can ask for."""
    group: str | None = None
    """Column whose equal values must stay on one side of a split; not shown to methods."""
    counted: bool = True
    """True if it counts in means."""

    @property
    def half(self) -> str:
        """A or B, by a hash of the family."""
        return "AB"[hashlib.sha256(self.family.encode()).digest()[0] % 2]


@dataclass(frozen=True)
class LoadedTable:
    """A table ready to be split."""

    X: pd.DataFrame
    """Columns in the dtype of their kind: float, category, string or datetime."""
    y: np.ndarray
    """Class indices of the sorted labels, or floats; (N,)."""
    kinds: Mapping[Hashable, Kind]
    """Columns whose kind the suite knows."""
    groups: np.ndarray | None
    """Group of each row (N,), where the suite says so."""
    n_classes: int
    """0 for regression."""
    sha256: str
    """Hash of all values."""
    name: str = field(default="")
    """Name of the table."""


def entries(source: str) -> list[Entry]:
    """The tables of the suite `source`, in order. Raises ValueError or FileNotFoundError where
    there is no such suite."""
    if source == "bundled":
        found = [
            Entry(name, BUNDLED_FAMILIES.get(name, name), "classification", frozenset({"bundled"}))
            for name in BUNDLED
        ]
        return [*found, Entry("diabetes", "sklearn-diabetes", "regression", frozenset({"bundled"}))]
    if source.startswith("openml:"):
        return [
            Entry(f"{d.name}-{d.data_id}", d.name.lower(), d.task, frozenset({"openml"}))
            for d in openml.listing(source)
        ]
    folder = Path(source)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no suite {source!r}. Give bundled, a folder with an {INDEX}, or openml:ID."
        )
    return [_entry_of_folder(entry) for entry in _index(folder)]


def choose(source: str, config: TablesConfig) -> list[Entry]:
    """The tables of `source` that `config` asks for. Raises ValueError when a name is unknown or
    none is left."""
    known = entries(source)
    _require_names([e.name for e in known], config.tables)
    left = [e for e in known if not config.tables or e.name in config.tables]
    for tag in config.only:
        if not any(tag in e.tags for e in known):
            tags = sorted(set().union(*(e.tags for e in known)))
            raise ValueError(
                f"no table of {source} has the tag {tag!r}. Its tags are"
                f" {', '.join(tags) or 'none'}."
            )
        left = [e for e in left if tag in e.tags]
    left = [e for e in left if config.task in ("all", e.task) and config.half in ("all", e.half)]
    named = set() if config.without is None else families_in(config.without)
    left = [e for e in left if e.family not in named]
    if not left:
        raise ValueError(
            f"no table of {source} is left after choosing. Ask for fewer restrictions (tables,"
            " only, task, half,"
            " without)."
        )
    return left


@lru_cache(maxsize=4)
def load_table(source: str, name: str) -> LoadedTable:
    """The table `name` of the suite `source`."""
    entry = next(e for e in entries(source) if e.name == name)
    table = _raw(source, entry)
    known = table.y.notna().to_numpy()
    X, y = table.X[known].reset_index(drop=True), table.y[known].reset_index(drop=True)
    groups = None
    if entry.group is not None:
        if entry.group not in X.columns:
            raise ValueError(
                f"the index groups {name} by {entry.group!r}, which is not a column. Correct its"
                " group."
            )
        groups = pd.factorize(X[entry.group].astype(str))[0]
        X = X.drop(columns=entry.group)
    kinds: dict[Hashable, Any] = {c: k for c, k in table.kinds.items() if c in X.columns}
    X = X.copy()
    for column, kind in kinds.items():
        X[column] = _typed(X[column], kind)
    sha256 = _hash(X, y)
    if entry.task == "regression":
        return LoadedTable(X, y.to_numpy(dtype=float), kinds, groups, 0, sha256, name)
    labels, y = np.unique(y.astype(str).to_numpy(dtype=object), return_inverse=True)
    return LoadedTable(X, y, kinds, groups, len(labels), sha256, name)


def families_in(path: Path) -> set[str]:
    """Return every value of a key `family` in a JSON file, at whatever depth. Raises ValueError
    where there is none."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, Mapping):
            if isinstance(value.get("family"), str):
                found.add(value["family"])
            value = list(value.values())
        if isinstance(value, list):
            for part in value:
                look(part)

    look(json.loads(path.read_text(encoding="utf-8")))
    if not found:
        raise ValueError(
            f"{path} names no family. Give a JSON file of tables, each with its family."
        )
    return found


def _raw(source: str, entry: Entry) -> Table:
    if source == "bundled":
        return _diabetes() if entry.name == "diabetes" else load(entry.name)
    if source.startswith("openml:"):
        return openml.fetch(source, entry.name)
    return load(Path(source) / entry.name)


def _diabetes() -> Table:
    from sklearn.datasets import load_diabetes

    found: Any = load_diabetes(as_frame=True)
    return Table("diabetes", found.data, found.target.astype(float), {}, "regression")


def _index(folder: Path) -> list[dict[str, Any]]:
    path = folder / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"there is no {INDEX} in {folder}: a suite of tables needs one.")
    return json.loads(path.read_text(encoding="utf-8"))


def _entry_of_folder(entry: Mapping[str, Any]) -> Entry:
    family = entry.get("family", entry["name"])
    tags = {key for key, value in entry.items() if value is True} | {
        str(t) for t in entry.get("tags", ())
    }
    return Entry(
        name=entry["name"],
        family=family,
        task=entry.get("task", "classification"),
        tags=frozenset(tags),
        group=entry.get("group"),
        counted=not {entry["name"], family} & BUNDLED_ELSEWHERE,
    )


def _require_names(known: list[str], wanted: tuple[str, ...]) -> None:
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Choose from {', '.join(known)}."
            raise ValueError(f"the suite has no table {name!r}. {hint}")


def _typed(values: pd.Series, kind: Kind) -> pd.Series:
    """The values in the dtype that tells everybody what they are."""
    if kind == "categorical":
        return values.astype("category")
    if kind == "date":
        return pd.to_datetime(values, errors="coerce", format="mixed")
    return values


def _hash(X: pd.DataFrame, y: pd.Series) -> str:
    digest = hashlib.sha256()
    for column in (*(X.iloc[:, i] for i in range(X.shape[1])), y):
        digest.update(str(column.name).encode())
        digest.update(
            pd.util.hash_pandas_object(column, index=False, categorize=False).to_numpy().tobytes()
        )
    return digest.hexdigest()
