"""Tables of OpenML: suites, tasks and data sets by number, kept on disk after the first
download."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn import files
from openpfn.files import write_whole
from openpfn.tables.table import Table

API = "https://www.openml.org/api/v1/json"
SYNTAX = (
    "openml:99 or openml:suite/99 (a suite), openml:task/3,12 (tasks), openml:data/31,61 (data"
    " sets)"
)
_TASKS = {"Supervised Classification": "classification", "Supervised Regression": "regression"}


@dataclass(frozen=True)
class DataSet:
    """One data set of OpenML and the column that is to be predicted."""

    data_id: int
    """Its number."""
    name: str
    """Its name."""
    target: str
    """The column to predict."""
    task: str
    """classification or regression."""


def cache_folder() -> Path:
    """Return the folder of kept answers: $OPENPFN_CACHE/openml, or ~/.cache/openpfn/openml."""
    return files.cache_folder("openml")


@lru_cache(maxsize=8)
def listing(source: str) -> tuple[DataSet, ...]:
    """Return the data sets that `source` (see `SYNTAX`) names.

    Raises ValueError for another syntax or an unknown number.
    """
    kind, numbers = _parse(source)
    if kind == "suite":
        found = [
            _of_task(t) for n in numbers for t in answer(f"study/{n}")["study"]["tasks"]["task_id"]
        ]
    elif kind == "task":
        found = [_of_task(n) for n in numbers]
    else:
        found = [_of_data(n) for n in numbers]
    unique = {d.data_id: d for d in found if d is not None}
    if not unique:
        raise ValueError(
            f"{source} holds no classification or regression task. Give another suite."
        )
    return tuple(unique.values())


def fetch(source: str, name: str) -> Table:
    """Return the table of `source` called `name` (NAME-NUMBER), from the cache if it is there."""
    return _download(next(d for d in listing(source) if f"{d.name}-{d.data_id}" == name))


def fetch_single(source: str, target: str | None = None) -> Table:
    """Return the one table that `source` names, to predict `target` (None: what OpenML says).

    Raises ValueError if there are several, or no such column.
    """
    kind, numbers = _parse(source)
    if kind == "data" and len(numbers) == 1:
        return _download(_of_data(numbers[0], target))
    first, *others = listing(source)
    if others:
        raise ValueError(
            f"{source} holds {1 + len(others)} data sets. Choose one of them, as in"
            f" openml:data/{first.data_id}."
        )
    return _download(first if target is None else _of_data(first.data_id, target))


def _download(data: DataSet) -> Table:
    from sklearn.datasets import fetch_openml

    try:
        found: Any = fetch_openml(
            data_id=data.data_id,
            target_column=data.target,
            as_frame=True,
            parser="auto",
            data_home=str(cache_folder()),
            cache=True,
        )
    except (urllib.error.URLError, TimeoutError) as error:
        raise ConnectionError(
            f"OpenML cannot be reached for the rows of data set {data.data_id} ({error}), and"
            f" {cache_folder()} does not hold all of them. Connect once to fill the cache."
        ) from error
    except Exception as error:  # each parser raises its own kind for rows that are cut short
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"the rows of OpenML's data set {data.data_id} cannot be read ({reason}). Remove"
            f" {cache_folder()} and load it again."
        ) from error
    X = found.data.reset_index(drop=True)
    kinds = {
        c: "categorical" if isinstance(X[c].dtype, pd.CategoricalDtype) else "numeric"
        for c in X.columns
        if _settled(X[c])
    }
    y = found.target.reset_index(drop=True)
    y = y.astype(object).rename("target") if data.task == "classification" else y.astype(float)
    return Table(f"{data.name}-{data.data_id}", X, y, kinds, data.task)  # type: ignore[arg-type]


def described(number: int) -> dict[str, Any]:
    """Return what OpenML says of a data set: its name, licence, default_target_attribute and
    more."""
    return answer(f"data/{number}")["data_set_description"]


def answer(path: str) -> dict[str, Any]:
    """Return OpenML's answer to GET `path`, from the cache if it is there.

    Raises ValueError when OpenML does not know it, ConnectionError when OpenML cannot be reached.
    """
    kept, state = cache_folder() / f"{path.replace('/', '-')}.json", "is not there"
    if kept.is_file():
        try:
            return _object(kept.read_text(encoding="utf-8"))
        except ValueError:  # cut short: asked again
            state = "is damaged"
    try:
        with urllib.request.urlopen(f"{API}/{path}", timeout=60) as reply:
            text = reply.read().decode()
    except urllib.error.HTTPError as error:
        raise ValueError(
            f"OpenML does not know {path} ({error.code}: {error.reason}). Look the number up at"
            " openml.org."
        ) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise ConnectionError(
            f"OpenML cannot be reached for {path} ({error}), and {kept} {state}. Connect once"
            " to fill the cache."
        ) from error
    try:
        found = _object(text)
    except ValueError as error:
        raise ValueError(
            f"OpenML's answer about {path} cannot be read ({error}). Try again later."
        ) from error
    write_whole(kept, text)
    return found


def _object(text: str) -> dict[str, Any]:
    """The JSON object in `text`. Raises ValueError for anything else."""
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__}, not an object")
    return found


def _parse(source: str) -> tuple[str, list[int]]:
    kind, _, numbers = source.removeprefix("openml:").rpartition("/")
    words = numbers.split(",")
    if kind not in ("", "suite", "task", "data") or not all(word.isdigit() for word in words):
        raise ValueError(f"cannot read {source!r}. Write {SYNTAX}.")
    return kind or "suite", [int(word) for word in words]


def _of_task(number: int | str) -> DataSet | None:
    task = answer(f"task/{number}")["task"]
    if task["task_type"] not in _TASKS:
        return None
    source = next(i["data_set"] for i in task["input"] if i["name"] == "source_data")
    described = answer(f"data/{source['data_set_id']}")["data_set_description"]
    return DataSet(
        int(source["data_set_id"]),
        described["name"],
        source["target_feature"],
        _TASKS[task["task_type"]],
    )


def _of_data(number: int, target: str | None = None) -> DataSet:
    described = answer(f"data/{number}")["data_set_description"]
    target = target or described.get("default_target_attribute")
    if not target or "," in target:
        raise ValueError(
            f"OpenML's data set {number} has no single target ({target!r}). Name one, or a task"
            " with one: openml:task/ID."
        )
    types = {
        f["name"]: f["data_type"]
        for f in answer(f"data/features/{number}")["data_features"]["feature"]
    }
    if target not in types:
        raise ValueError(
            f"OpenML's data set {number} has no column {target!r}. Its columns are"
            f" {', '.join(types)}."
        )
    return DataSet(
        number,
        described["name"],
        target,
        "regression" if types[target] == "numeric" else "classification",
    )


def _settled(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(
        values.dtype
    )
