"""`Corpus`: the tables of a folder, raw or verbalized."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from openpfn.files import sha256_of
from openpfn.tables.read_file import shortened
from openpfn.tables.schema import Kind
from openpfn.tables.table import Table
from openpfn.text.corpus.manifest import TableRecord, read_manifest
from openpfn.text.corpus.parquet import read_parquet, read_verbalized
from openpfn.text.verbalize.table import VerbalizedTable
from openpfn.text.verbalize.templates import TemplateName, find_template


class Corpus:
    """Tables of the folder that `openpfn corpus build` made.

    Tables are read when they are asked for, and each file is compared with its hash in the
    manifest. Raises FileNotFoundError where there is no corpus, ValueError for a damaged one.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.records: tuple[TableRecord, ...] = tuple(read_manifest(self.folder))
        """What the manifest says of each table, in alphabetical order."""

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[TableRecord]:
        return iter(self.records)

    @property
    def names(self) -> list[str]:
        """Names of the tables."""
        return [record.name for record in self.records]

    @property
    def families(self) -> set[str]:
        """Families of the tables: none of them may be scored by a network trained on this."""
        return {record.family for record in self.records}

    def record(self, name: str) -> TableRecord:
        """Return what the manifest says of a table. Raises ValueError for an unknown one."""
        for record in self.records:
            if record.name == name:
                return record
        raise ValueError(
            f"{self.folder} holds no table {name!r}. It holds {shortened(self.names)}."
        )

    def table(self, name: str) -> Table:
        """Return a table with its values as they were.

        Raises ValueError for a file that is not the one that was built, or holds sentences alone.
        """
        record = self.record(name)
        if record.form != "raw":
            raise ValueError(
                f"{name} of {self.folder} came from a corpus of raw strings and holds sentences,"
                " not values. Ask for it with verbalized()."
            )
        frame = read_parquet(self._checked(record))
        if record.target not in frame.columns:
            raise ValueError(
                f"{self.folder / record.file} has no column {record.target!r}, which is the target"
                f" of {name}. Its columns are {shortened(list(map(str, frame.columns)))}."
            )
        y = frame[record.target]
        kinds: dict[Hashable, Kind] = {
            column: kind for column, kind in record.kinds.items() if column in frame.columns
        }
        return Table(name, frame.drop(columns=record.target), y, kinds, record.task)

    def verbalized(
        self,
        name: str,
        template: TemplateName = "v1",
        training_rows: Int[np.ndarray, " k"] | None = None,
    ) -> VerbalizedTable:
        """Return all rows of a table as sentences and numbers, with their targets.

        Scales, bins and the kinds of columns come from `training_rows` alone (None: all rows); the
        classes are those of the whole table. A table that came from a corpus of raw strings is as
        it was there. Raises ValueError where that has another template.
        """
        record = self.record(name)
        if record.form == "verbalized":
            table = read_verbalized(self._checked(record), record)
            n_numbers = find_template(template).n_numbers
            if table.numbers.shape[2] != n_numbers:
                raise ValueError(
                    f"{name} of {self.folder} has {table.numbers.shape[2]} numbers in a cell, but"
                    f" template {template} has {n_numbers}. Choose the other template."
                )
            return table
        from openpfn.text.verbalize import TabSTARPreprocessor

        table = self.table(name)
        rows = np.arange(len(table.y)) if training_rows is None else training_rows
        task = "regression" if table.task == "regression" else "classification"
        classes = table.y if task == "classification" else None
        return (
            TabSTARPreprocessor(template, task=task, kinds=table.kinds)
            .fit(table.X.iloc[rows], table.y.iloc[rows], target_name=record.target, classes=classes)
            .transform(table.X, table.y)
        )

    def _checked(self, record: TableRecord) -> Path:
        path = self.folder / record.file
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing, the file of the table {record.name}. Build the corpus again."
            )
        if sha256_of(path) != record.sha256:
            raise ValueError(
                f"{path} is not the file that was built for the table {record.name}: it was changed"
                " or damaged. Build the corpus again."
            )
        return path
