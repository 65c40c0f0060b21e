"""Build a corpus out of a specification, table by table, and continue where one was stopped."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from openpfn.files import sha256_of, sweep
from openpfn.tables import openml
from openpfn.tables.load import load, load_file
from openpfn.tables.schema import Kind
from openpfn.tables.table import Table
from openpfn.tables.target import read_target
from openpfn.text.corpus.folder import Corpus
from openpfn.text.corpus.manifest import MANIFEST, TableRecord, read_manifest, write_manifest
from openpfn.text.corpus.parquet import write_parquet
from openpfn.text.corpus.specification import NOT_STATED, Entry, read_specification

TABLES = "tables"


def build_corpus(
    specification: str | Path | None,
    folder: str | Path,
    *,
    licence_classes: Sequence[str] = (),
    exclude_families: Sequence[str] = (),
    tell: Callable[[str], None] = print,
) -> Corpus:
    """Make the tables that `specification` lists (None: the shipped list of OpenML) in `folder`.

    `licence_classes` and `exclude_families` choose among them. A table that is there and was made
    from the same is not made again; tables of other specifications stay. Each table is whole in the
    manifest, or not at all, whenever the process dies. A table that cannot be made does not keep
    the others: ValueError names all of them at the end.
    """
    folder = Path(folder)
    entries = [
        entry
        for entry in read_specification(specification)
        if (not licence_classes or entry.licence_class in licence_classes)
        and entry.family not in exclude_families
    ]
    if not entries:
        raise ValueError(f"{specification} lists no table of these licences and families.")
    (folder / TABLES).mkdir(parents=True, exist_ok=True)
    sweep(folder)
    sweep(folder / TABLES)
    records = {one.name: one for one in read_manifest(folder)} if _has_manifest(folder) else {}
    failures: list[str] = []
    for i, entry in enumerate(entries):
        place = f"[{i + 1}/{len(entries)}] {entry.name}"
        try:
            recipe = _recipe(entry)
            if _is_made(folder, records.get(entry.name), recipe):
                tell(f"{place}: is there")
                continue
            record = _made(folder, entry, recipe)
        except (ValueError, OSError) as error:
            failures.append(f"{entry.name}: {' '.join(str(error).split())}")
            tell(f"{place}: failed, {failures[-1]}")
            continue
        records[entry.name] = record
        write_manifest(folder, list(records.values()))
        tell(f"{place}: {record.n_rows} rows, {record.n_columns} columns, {record.licence}")
    if failures:
        raise ValueError(
            f"{len(failures)} of {len(entries)} tables could not be made: {'; '.join(failures)}."
            f" The others are in {folder}; build again to make those that are missing."
        )
    return Corpus(folder)


def record_of(
    folder: Path, name: str, write: Callable[[Path], None], record: TableRecord
) -> TableRecord:
    """Return `record` with the file that `write` wrote for it."""
    file = Path(TABLES) / _file_name(name)
    write(folder / file)
    return replace(record, file=file.as_posix(), sha256=sha256_of(folder / file))


def _made(folder: Path, entry: Entry, recipe: str) -> TableRecord:
    if isinstance(entry.source, Path):
        (table, target, licence), source = _from_file(entry), entry.source.name
    else:
        (table, target, licence), source = _from_openml(entry), f"openml:data/{entry.source}"
    if target in table.X.columns:
        raise ValueError(f"more than one column is called {target!r}. Rename one.")
    frame = pd.concat([table.X, table.y.rename(target)], axis=1)
    record = TableRecord(
        name=entry.name,
        file="",
        sha256="",
        target=target,
        task=table.task,
        n_rows=len(frame),
        n_columns=table.X.shape[1],
        licence=licence,
        family=entry.family,
        source=source,
        split=entry.split,
        licence_class=entry.licence_class,
        kinds={str(column): kind for column, kind in table.kinds.items()},
        recipe=recipe,
    )
    return record_of(folder, entry.name, lambda path: write_parquet(frame, path), record)


def _from_file(entry: Entry) -> tuple[Table, str, str]:
    assert isinstance(entry.source, Path)
    assert entry.target is not None  # the specification saw to it
    kinds: dict[Hashable, Kind] = {**entry.kinds}
    table = load_file(entry.source, entry.target, task=entry.task or "classification", kinds=kinds)
    if entry.task is None and read_target(table.y).task == "regression":
        table = load_file(entry.source, entry.target, task="regression", kinds=kinds)
    return table, entry.target, entry.licence or NOT_STATED


def _from_openml(entry: Entry) -> tuple[Table, str, str]:
    assert isinstance(entry.source, int)
    described = openml.described(entry.source)
    if described["name"].lower() != entry.name.lower():
        raise ValueError(
            f"OpenML's data set {entry.source} is called {described['name']!r}, not"
            f" {entry.name!r}. Correct the number or the name."
        )
    table = load(f"openml:data/{entry.source}", entry.target)
    if entry.task is not None and entry.task != table.task:
        table = _with_task(table, entry.task)
    target = entry.target or described["default_target_attribute"]
    kinds = {**table.kinds, **entry.kinds}
    licence = described.get("licence") or entry.licence or NOT_STATED
    return replace(table, kinds=kinds), target, licence


def _with_task(table: Table, task: str) -> Table:
    """Return the table with the task that its specification says."""
    if task == "classification":
        return replace(table, y=table.y.astype(object), task=task)
    numbers = pd.to_numeric(table.y, errors="coerce")
    if numbers.isna().any():
        raise ValueError("the target holds words, so it sets no task of regression.")
    return replace(table, y=numbers.astype(float), task=task)


def _recipe(entry: Entry) -> str:
    """Return the hash of all that the table is made from."""
    said = {**vars(entry), "kinds": dict(entry.kinds)}
    if isinstance(entry.source, Path):
        if not entry.source.is_file():
            raise FileNotFoundError(f"there is no file {entry.source}.")
        said["source"] = [entry.source.name, sha256_of(entry.source)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _is_made(folder: Path, record: TableRecord | None, recipe: str) -> bool:
    if record is None or record.recipe != recipe:
        return False
    path = folder / record.file
    return path.is_file() and sha256_of(path) == record.sha256


def _has_manifest(folder: Path) -> bool:
    return (folder / MANIFEST).is_file()


def _file_name(name: str) -> str:
    """Return a file name for a table, one of its own."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:60]
    if plain == name and name.lower() == name:
        return f"{name}.parquet"
    return f"{plain or 'table'}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.parquet"
