"""`TabSTARPreprocessor`: tables become sentences and numbers, as TabSTAR reads them (Arazi et al.
2025)."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from openpfn.files import replacing
from openpfn.tables.json_values import array_from_json, array_to_json
from openpfn.tables.read_file import require_columns
from openpfn.tables.schema import Column, Kind, read_column, warn_of_odd_words
from openpfn.tables.values import ColumnValues, plain_values, shown
from openpfn.text.verbalize.columns import SourceColumn
from openpfn.text.verbalize.table import StringPool, Task, VerbalizedTable
from openpfn.text.verbalize.target_tokens import TargetTokens
from openpfn.text.verbalize.templates import TemplateName, find_template

FORMAT = 1


class TabSTARPreprocessor(BaseEstimator):
    """Words of a table as sentences, its numbers standardised, its targets as tokens.

    Each column is read as `openpfn.tables` reads it: numbers (also those written as words),
    categories, truth values, dates, text; `kinds` settles the columns it names. Dates become
    numbers: year, month, day, weekday (1 is Monday), hour, seconds since 1970, those that vary.
    Columns that do not vary among the training rows are left out. `template` is "v1" (the sentence
    of a number says its tenth of the training values) or "v1.1" (it says its column alone, and six
    numbers go with it). `task` is "classification", "regression" or "auto" (by the target).

    Scales, bins and kinds come from the training rows alone, so that what a row becomes never
    depends on which other rows are asked.

    >>> X = pd.DataFrame({"colour": ["red", "blue", "red"], "size": [1.0, 2.0, 3.0]})
    >>> table = TabSTARPreprocessor().fit_transform(X, pd.Series(["no", "yes", "no"], name="sold"))
    >>> print(table.strings[table.cells[0, 0]])
    Predictive Feature: colour
    Feature Value: red
    >>> print(table.target_texts()[1])
    Target Feature: sold
    Feature Value: yes
    """

    source_columns_: list[SourceColumn]
    """Columns of the table that became cells."""
    feature_names_in_: np.ndarray
    """All columns of the training table."""
    target_: TargetTokens
    """Tokens of the target."""

    def __init__(
        self,
        template: TemplateName = "v1",
        *,
        task: Task | Literal["auto"] = "auto",
        kinds: Mapping[Hashable, Kind] | None = None,
    ) -> None:
        self.template: TemplateName = template
        self.task: Task | Literal["auto"] = task
        self.kinds = kinds

    def fit(
        self, X: pd.DataFrame, y: Any, *, target_name: str | None = None, classes: Any = None
    ) -> TabSTARPreprocessor:
        """Learn from training rows how to read each column, and which targets there are.

        `target_name` is what the target tokens call the target: the name of `y`, or "target".
        `classes` are all labels there are, where `y` may lack some.
        Raises ValueError for repeated names, infinite numbers and targets that are missing.
        """
        find_template(self.template)
        table = _as_frame(X)
        if len(table) == 0:
            raise ValueError("the table has no rows. Give at least one to fit.")
        plain = [plain_values(table.iloc[:, i]) for i in range(table.shape[1])]
        columns = _read(table, plain, self.kinds)
        warn_of_odd_words(columns)
        fitted = [
            SourceColumn.fit(column, values) for column, values in zip(columns, plain, strict=True)
        ]
        self.source_columns_ = [one for one in fitted if one.names]
        self.feature_names_in_ = np.array([*table.columns, None], dtype=object)[:-1]
        self.target_ = TargetTokens.fit(y, self.task, target_name, len(table), classes)
        return self

    def transform(self, X: pd.DataFrame, y: Any = None) -> VerbalizedTable:
        """Return the rows of `X` as sentences and numbers, with targets where `y` is given.

        Columns are found by name, in whichever order; others are ignored. Raises ValueError for a
        missing column, a column that holds another kind of values, and unknown classes.
        """
        table = _as_frame(X)
        require_columns(table, [one.column.name for one in self.source_columns_], "the table")
        template, pool = find_template(self.template), StringPool()
        parts = []
        for one in self.source_columns_:
            parts += one.fill(plain_values(table[one.column.name]), template, pool)
        n, n_numbers = len(table), template.n_numbers
        cells = np.empty((n, len(parts)), dtype=np.int64)
        numbers = np.empty((n, len(parts), n_numbers), dtype=np.float32)
        for i, (places, values) in enumerate(parts):
            cells[:, i], numbers[:, i] = places, values
        targets = [pool.place(text) for text in self.target_.texts(template)]
        return VerbalizedTable(
            strings=pool.strings(),
            cells=cells,
            numbers=numbers,
            targets=np.array(targets, dtype=np.int64),
            task=self.target_.task,
            columns=tuple(name for one in self.source_columns_ for name in one.names),
            y=None if y is None else self.target_.encode(y, n),
        )

    def fit_transform(
        self, X: pd.DataFrame, y: Any, *, target_name: str | None = None
    ) -> VerbalizedTable:
        """Learn from training rows how to read each column, and return them."""
        return self.fit(X, y, target_name=target_name).transform(X, y)

    def state(self) -> dict[str, Any]:
        """Return all that was learnt, as JSON holds it."""
        return {
            "format": FORMAT,
            "template": self.template,
            "columns": array_to_json(self.feature_names_in_),
            "source_columns": [one.state() for one in self.source_columns_],
            "target": self.target_.state(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TabSTARPreprocessor:
        """Return the preprocessor whose `state()` this was. Raises ValueError where it is
        damaged."""
        try:
            if state["format"] != FORMAT:
                raise ValueError(f"it has format {state['format']}, this version reads {FORMAT}")
            made = cls(state["template"])
            find_template(made.template)
            made.feature_names_in_ = array_from_json(state["columns"])
            made.source_columns_ = [SourceColumn.from_state(one) for one in state["source_columns"]]
            made.target_ = TargetTokens.from_state(state["target"])
            made.task = made.target_.task
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ValueError(f"the saved preprocessor cannot be read: {error}.") from error
        return made

    def save(self, path: str | Path) -> None:
        """Write all that was learnt to the JSON file `path`, whole or not at all."""
        with replacing(Path(path)) as unfinished:
            unfinished.write_text(json.dumps(self.state(), ensure_ascii=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TabSTARPreprocessor:
        """Return the preprocessor that `save` wrote. Raises ValueError, naming the file, where it
        is damaged."""
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(state, dict):
                raise ValueError(f"it is a {type(state).__name__}, not an object.")
            return cls.from_state(state)
        except ValueError as error:
            raise ValueError(f"{path} holds no preprocessor: {error}") from error


def _as_frame(X: Any) -> pd.DataFrame:
    """Return `X` as a DataFrame; the columns of an array are called x0, x1, ….

    Raises ValueError for more than one column of a name, and for what is no table.
    """
    if not isinstance(X, pd.DataFrame):
        X = np.asarray(X)
        if X.ndim != 2:
            raise ValueError(f"got an array of {X.ndim} dimensions; expected rows and columns.")
        X = pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
    repeated = X.columns[X.columns.duplicated()]
    if len(repeated):
        raise ValueError(
            f"the table has more than one column {shown(repeated[0])}. Rename one of them."
        )
    return X


def _read(
    table: pd.DataFrame, plain: list[ColumnValues], kinds: Mapping[Hashable, Kind] | None
) -> list[Column]:
    kinds = kinds or {}
    require_columns(table, kinds, "the table, whose kinds are given,")
    return [
        read_column(values, kinds.get(name))
        for name, values in zip(table.columns, plain, strict=True)
    ]
