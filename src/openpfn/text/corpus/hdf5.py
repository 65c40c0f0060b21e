"""Corpora of raw strings in one HDF5 file, as nanoTabStar keeps them: import and export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from openpfn.files import replacing, sha256_of
from openpfn.text.corpus.build import TABLES, record_of
from openpfn.text.corpus.folder import Corpus
from openpfn.text.corpus.manifest import (
    MANIFEST,
    TASKS,
    TableRecord,
    check_choice,
    read_manifest,
    write_manifest,
)
from openpfn.text.corpus.parquet import write_verbalized
from openpfn.text.corpus.specification import NOT_STATED
from openpfn.text.verbalize.table import StringPool, VerbalizedTable
from openpfn.text.verbalize.templates import TemplateName

DATASETS = ("feature_texts", "target_texts", "feature_num_values", "labels")


def export_hdf5(
    corpus: Corpus,
    path: str | Path,
    *,
    template: TemplateName = "v1",
    names: Sequence[str] = (),
    tell: Callable[[str], None] = print,
) -> None:
    """Write the tables of `corpus` (those in `names`, or all) as raw strings, whole or not at all.

    The format knows no split of the rows, so scales and bins come from all rows: train from the
    corpus itself where validation rows must not count.
    """
    chosen = [corpus.record(name) for name in names] or list(corpus)
    with replacing(Path(path)) as unfinished, h5py.File(unfinished, "w") as file:
        for record in chosen:
            table = corpus.verbalized(record.name, template)
            group = file.create_group(record.name.replace("/", "-"))
            _write_table(group, table)
            group.attrs["task_type"] = record.task
            group.attrs["target"] = record.target
            group.attrs["licence"] = record.licence
            group.attrs["family"] = record.family
            group.attrs["source"] = record.source
            group.attrs["columns"] = list(table.columns)
            tell(f"{record.name}: {table.cells.shape[0]} rows, {table.cells.shape[1]} cells each")


def import_hdf5(
    path: str | Path,
    folder: str | Path,
    *,
    licence: str = NOT_STATED,
    tell: Callable[[str], None] = print,
) -> Corpus:
    """Add the tables of an HDF5 file of raw strings to the corpus in `folder`, and return that.

    Sentences and numbers stay as they are; `licence` is recorded where a table states none. Raises
    FileNotFoundError or ValueError, naming the file and the table, where one is not whole or
    another table has its name.
    """
    path, folder = Path(path), Path(folder)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}.")
    (folder / TABLES).mkdir(parents=True, exist_ok=True)
    records = {}
    if (folder / MANIFEST).is_file():
        records = {record.name: record for record in read_manifest(folder)}
    source = f"{path.name}:{sha256_of(path)[:16]}"
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file: {error}") from error
    with file:
        if not len(file):
            raise ValueError(f"{path} holds no tables.")
        for name in file:
            if name in records and not records[name].source.startswith(path.name + ":"):
                raise ValueError(
                    f"{folder} has a table {name!r} that did not come from {path.name}. Choose"
                    " another folder."
                )
            try:
                table = _read_table(file[name])
                attributes = file[name].attrs
            except (ValueError, TypeError, OSError, KeyError, AttributeError) as error:
                raise ValueError(f"{path}, table {name!r}: {error}") from error
            record = TableRecord(
                name=name,
                file="",
                sha256="",
                target=str(attributes.get("target", "target")),
                task=table.task,
                n_rows=len(table),
                n_columns=table.cells.shape[1],
                licence=str(attributes.get("licence", licence)),
                family=str(attributes.get("family", name.lower())),
                source=source,
                form="verbalized",
                target_texts=table.target_texts(),
            )
            records[name] = record_of(folder, name, _writer(table), record)
            write_manifest(folder, list(records.values()))
            tell(f"{name}: {record.n_rows} rows, {record.n_columns} cells each")
    return Corpus(folder)


def _writer(table: VerbalizedTable) -> Callable[[Path], None]:
    return lambda path: write_verbalized(table, path)


def _write_table(group: Any, table: VerbalizedTable) -> None:
    words = h5py.string_dtype()
    numbers = table.numbers[:, :, 0] if table.numbers.shape[2] == 1 else table.numbers
    group.create_dataset("feature_texts", data=_encodable(table.texts()), dtype=words)
    group.create_dataset("target_texts", data=_encodable(table.target_texts()), dtype=words)
    group.create_dataset("feature_num_values", data=numbers, compression="gzip")
    group.create_dataset("labels", data=table.y, compression="gzip")


def _encodable(texts: Any) -> np.ndarray:
    """Return strings as HDF5 holds them, which ends them at a null character."""
    array = np.array(texts, dtype=object)
    distinct = {text: text.replace("\0", " ").encode("utf-8", "replace") for text in array.flat}
    flat = np.array([*(distinct[text] for text in array.flat), None], dtype=object)[:-1]
    return flat.reshape(array.shape)


def _read_table(group: Any) -> VerbalizedTable:
    missing = [name for name in DATASETS if not hasattr(group, "keys") or name not in group]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}, so it is no table of raw strings.")
    texts = group["feature_texts"].asstr()[:]
    targets = group["target_texts"].asstr()[:]
    numbers = group["feature_num_values"][:].astype(np.float32)
    labels, task = group["labels"][:], str(group.attrs.get("task_type"))
    check_choice("task_type", task, TASKS)
    numbers = numbers[:, :, None] if numbers.ndim == 2 else numbers
    fits = texts.ndim == 2 and numbers.ndim == 3 and texts.shape == numbers.shape[:2]
    if not fits or labels.shape != texts.shape[:1] or targets.ndim != 1 or not len(targets):
        raise ValueError(
            f"its shapes do not fit together: feature_texts {texts.shape}, feature_num_values"
            f" {numbers.shape}, labels {labels.shape}, target_texts {targets.shape}."
        )
    is_class = task == "classification"
    if is_class and not (np.isin(labels, np.arange(len(targets)))).all():
        raise ValueError(f"some labels are none of its {len(targets)} classes.")
    if not np.isfinite(labels).all() or not np.isfinite(numbers).all():
        raise ValueError("some labels or numbers are not finite.")
    pool = StringPool()
    cells = np.array([pool.place(text) for text in texts.flat], dtype=np.int64)
    return VerbalizedTable(
        cells=cells.reshape(texts.shape),
        numbers=numbers,
        targets=np.array([pool.place(text) for text in targets], dtype=np.int64),
        strings=pool.strings(),
        task="classification" if is_class else "regression",
        columns=tuple(map(str, group.attrs.get("columns", range(texts.shape[1])))),
        y=labels.astype(np.int64 if is_class else np.float32),
    )
