"""`read_tasks`: the tables of a corpus as tasks to pretrain on, rows held out, cells in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.configs.text import FineTuneConfig, TextTrainingConfig
from openpfn.files import sha256_of
from openpfn.models.text.network import Task
from openpfn.tables.load import INDEX, load, names_in
from openpfn.tables.schema import read_schema
from openpfn.tables.table import Table
from openpfn.text.cache import CachedEncoder
from openpfn.text.corpus.folder import Corpus
from openpfn.text.corpus.manifest import MANIFEST
from openpfn.text.data_loader import read_groups
from openpfn.text.finetune import split_rows
from openpfn.text.pretrain import TaskTable
from openpfn.text.verbalize import TabSTARPreprocessor
from openpfn.text.verbalize.table import VerbalizedTable

MOST_CLASSES = 20
"""Distinct words of a column that is predicted in place of the target, at most."""
FEWEST_NUMBERS = 20
"""Distinct numbers of a column that is predicted in place of the target, at least."""
RECORDED = ("name", "family", "licence_class", "licence", "source")
"""What of a table's entry in the index is recorded with the weights."""


def read_tasks(
    path: str | Path, template: str, config: TextTrainingConfig, seed: int = 0
) -> tuple[list[TaskTable], dict[str, Any]]:
    """Return the tasks of a corpus, and the record of its tables for the checkpoint.

    `path` is a corpus that `openpfn corpus build` made, of which the tables of the split "train"
    are taken, or a folder of tables with an index.json; rows are put into words here by `template`.
    Or it is an HDF5 file of raw strings. Raises FileNotFoundError or ValueError, naming the table,
    for one that cannot be used.
    """
    path = Path(path)
    if path.is_file():
        return _from_strings(path, template, config, seed)
    tasks, recorded = [], []
    for name, table, entry in _tables(path):
        kept = np.random.default_rng([seed, 1]).permutation(len(table.X))[: config.max_rows]
        X = table.X.iloc[kept].reset_index(drop=True)
        y = table.y.iloc[kept].reset_index(drop=True)
        try:
            for label, task, columns, target in _variants(name, table.task, X, y, config, seed):
                tasks.append(_task(label, task, columns, target, template, config, seed))
        except ValueError as error:
            raise ValueError(f"table {name} of {path} cannot be used: {error}") from error
        known = {key: entry[key] for key in RECORDED if key in entry}
        digest = sha256_of(path / entry["file"])
        recorded.append(known | {"rows": len(X), "task": table.task, "sha256": digest})
    return tasks, {"tables": recorded}


def encoder_cache(encoder: Any) -> Any:
    """Return `encoder` behind the cache of vectors, where encoding costs more than that."""
    return encoder if encoder.fingerprint.startswith("hashing") else CachedEncoder(encoder)


def _tables(path: Path) -> Iterator[tuple[str, Table, dict[str, Any]]]:
    """Yield the tables of a folder with what its manifest or index says of each."""
    if (path / MANIFEST).is_file():
        corpus = Corpus(path)
        for record in corpus:
            if record.split == "train" and record.form == "raw":
                yield record.name, corpus.table(record.name), asdict(record)
        return
    if not (path / INDEX).is_file():
        raise FileNotFoundError(
            f"{path} is no corpus: it holds neither {MANIFEST} nor {INDEX}. Make one with `openpfn"
            " corpus build`, or give an HDF5 file of raw strings."
        )
    entries = {entry["name"]: entry for entry in json.loads((path / INDEX).read_text("utf-8"))}
    for name in names_in(path):
        yield name, load(f"{path}/{name}"), entries[name]


def _task(
    name: str,
    task: str,
    X: pd.DataFrame,
    y: pd.Series,
    template: Any,
    config: TextTrainingConfig,
    seed: int,
) -> TaskTable:
    """Return one task; what the words say is learnt from the training rows alone."""
    is_class = task == "classification"
    labels = pd.factorize(y, sort=False)[0] if is_class else None
    trained, held = split_rows(labels, len(X), _split(config), seed)
    kind: Task = "classification" if is_class else "regression"
    preprocessor = TabSTARPreprocessor(template, task=kind).fit(X.iloc[trained], y.iloc[trained])
    whole = preprocessor.transform(X, y)
    return TaskTable(name, whole.rows(trained), whole.rows(held))


def _variants(
    name: str, task: str, X: pd.DataFrame, y: pd.Series, config: TextTrainingConfig, seed: int
) -> Iterator[tuple[str, str, pd.DataFrame, pd.Series]]:
    """Yield the table's own task, and those that predict one of its columns from the rest."""
    yield name, task, X, y
    candidates = []
    for column in read_schema(X):
        few = 2 <= column.n_distinct <= MOST_CLASSES
        if column.kind in ("categorical", "boolean") and few:
            candidates.append((column.name, "classification"))
        elif column.kind == "numeric" and column.n_distinct >= FEWEST_NUMBERS:
            candidates.append((column.name, "regression"))
    random = np.random.default_rng([seed, 2])
    chosen = random.permutation(len(candidates))[: config.other_targets]
    for i in chosen.tolist():
        column, kind = candidates[i]
        known = X[column].notna().to_numpy()
        if kind == "classification":
            counts = X[column].map(X[column].value_counts())
            known = known & (counts >= 5).fillna(False).to_numpy(dtype=bool)
        target = X.loc[known, column].reset_index(drop=True)
        if target.nunique() < 2:
            continue
        rest = X.drop(columns=column)
        rest[str(y.name)] = y
        rest = rest.loc[known].reset_index(drop=True)
        if kind == "classification":
            target = target.astype(str)
        yield f"{name}:{column}", kind, rest, target


def _from_strings(
    path: Path, template: str, config: TextTrainingConfig, seed: int
) -> tuple[list[TaskTable], dict[str, Any]]:
    """Return the tasks of an HDF5 corpus of raw strings, which were put into words by "v1"."""
    if template != "v1":
        raise ValueError(
            f"{path} holds strings and numbers of version v1, but the network reads {template}. Set"
            " --model.version v1, or give a folder of tables."
        )
    tasks, recorded = [], []
    for group in read_groups(path):
        is_class = group.task == "classification"
        labels = group.labels if is_class else None
        trained, held = split_rows(labels, len(group.labels), _split(config), seed)
        y = group.labels
        if not is_class:
            deviation = float(y[trained].std()) or 1.0
            y = ((y - y[trained].mean()) / deviation).astype(np.float32)
        whole = VerbalizedTable(
            group.strings,
            group.cells,
            group.numbers[:, :, None],
            group.targets,
            group.task,
            tuple(str(i) for i in range(group.cells.shape[1])),
            y,
        )
        tasks.append(TaskTable(group.name, whole.rows(trained), whole.rows(held)))
        recorded.append({"name": group.name, "rows": len(y), "task": group.task})
    return tasks, {"tables": recorded, "sha256": sha256_of(path)}


def _split(config: TextTrainingConfig) -> FineTuneConfig:
    return replace(
        FineTuneConfig(),
        validation_share=config.validation_share,
        max_validation_rows=config.max_validation_rows,
    )
