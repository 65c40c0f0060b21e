"""Columns of cells: how the values of one column become sentences and numbers, decided at fit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.tables.encode import ColumnEncoder, Dates, Numbers
from openpfn.tables.json_values import from_json, name_to_json
from openpfn.tables.schema import Column
from openpfn.tables.values import ColumnValues, counted, same_name, shown
from openpfn.text.verbalize.number_scale import N_QUANTILES, NumberScale
from openpfn.text.verbalize.table import StringPool
from openpfn.text.verbalize.templates import Template

DATE_PARTS = ("year", "month", "day", "weekday", "hour", "total_seconds")
"""Numbers that a date becomes; only those that vary among the training rows."""
_SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True)
class Words:
    """Column of categories, texts or truth values: a cell says its word."""

    name: str
    """What the sentences call the column."""

    def fill(
        self, values: ColumnValues, template: Template, pool: StringPool
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n F"]]:
        """Return the places of the cells' sentences in `pool`, and zeros."""
        words = cell_words(values)
        codes, distinct = pd.factorize(np.array([*words, None], dtype=object)[:-1])
        places = [pool.place(template.cell(self.name, word)) for word in distinct]
        if (codes < 0).any():
            places.append(pool.place(template.cell(self.name, None)))
        cells = np.array([*places, 0], dtype=np.int64)[:-1][codes]  # missing is −1, the last place
        return cells, np.zeros((len(words), template.n_numbers))


@dataclass(frozen=True)
class Quantities:
    """Column of numbers, or one part of a column of dates."""

    name: str
    """What the sentences call the column."""
    part: str | None
    """Which of `DATE_PARTS`; None for numbers."""
    scale: NumberScale

    def fill(
        self, values: Float[np.ndarray, " n"], template: Template, pool: StringPool
    ) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n F"]]:
        """Return the places of the cells' sentences in `pool`, and their numbers."""
        if not template.says_bins:
            place = pool.place(template.number(self.name))
            return np.full(len(values), place, dtype=np.int64), self.scale.six(values)
        bins, texts = self.scale.bins(values)
        places = [pool.place(template.cell(self.name, text)) for text in texts]
        return np.array([*places, 0], dtype=np.int64)[bins], self.scale.standardised(values)[
            :, None
        ]


@dataclass(frozen=True)
class SourceColumn:
    """Column of the table, and the columns of cells made of it."""

    column: Column
    """How its values are read."""
    words: Words | None
    """Where its cells say words."""
    quantities: tuple[Quantities, ...] = ()
    """Where its cells say numbers."""

    @classmethod
    def fit(cls, column: Column, values: ColumnValues) -> SourceColumn:
        """Return the columns of cells of the training `values`, none where they do not vary."""
        name = str(column.name)
        if column.kind == "numeric":
            numbers = _finite(column, Numbers(column.decimal, column.thousands), values)
            return cls(column, None, _varying({None: numbers}, name))
        if column.kind == "date":
            return cls(column, None, _varying(_parts(_times(column, values)), name))
        words = cell_words(values)
        varies = len(set(words)) > 1
        return cls(column, Words(name) if varies and column.kind != "empty" else None)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns of cells."""
        words = () if self.words is None else (self.words.name,)
        return (*words, *(quantity.name for quantity in self.quantities))

    def fill(
        self, values: ColumnValues, template: Template, pool: StringPool
    ) -> list[tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n F"]]]:
        """Return places and numbers of each column of cells.

        Values that cannot be read count as missing, of which a warning tells; ValueError where that
        is all of several.
        """
        if self.words is not None:
            return [self.words.fill(values, template, pool)]
        if not self.quantities:
            return []
        reader, parts = _reader(self.column), self._parts(values)
        _tell_of_unread(self.column, reader, values, next(iter(parts.values())))
        return [one.fill(parts[one.part], template, pool) for one in self.quantities]

    def _parts(self, values: ColumnValues) -> dict[str | None, Float[np.ndarray, " n"]]:
        if self.column.kind == "date":
            return _parts(_times(self.column, values))
        return {None: _finite(self.column, _reader(self.column), values)}

    def state(self) -> dict[str, Any]:
        """Return all that was learnt, as JSON holds it."""
        described = vars(self.column) | {"name": name_to_json(self.column.name)}
        quantities = [
            {
                "name": one.name,
                "part": one.part,
                "mean": one.scale.mean,
                "deviation": one.scale.deviation,
                "quantiles": one.scale.quantiles.tolist(),
            }
            for one in self.quantities
        ]
        words = None if self.words is None else self.words.name
        return {"column": described, "words": words, "quantities": quantities}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SourceColumn:
        """Return the column whose `state()` this was."""
        column = Column(**{**state["column"], "name": from_json(state["column"]["name"])})
        quantities = []
        for one in state["quantities"]:
            quantiles = np.array(one["quantiles"], dtype=np.float64)
            if quantiles.shape != (N_QUANTILES,) or one["part"] not in (None, *DATE_PARTS):
                raise ValueError(f"column {shown(column.name)} has {len(quantiles)} quantiles")
            scale = NumberScale(float(one["mean"]), float(one["deviation"]), quantiles)
            quantities.append(Quantities(str(one["name"]), one["part"], scale))
        words = None if state["words"] is None else Words(str(state["words"]))
        return cls(column, words, tuple(quantities))


def cell_words(values: ColumnValues) -> list[str | None]:
    """Return what each cell says, None where it is missing: 1, 1.0 and "1.0" say the same."""
    said: dict[str, str] = {}
    words = values.words()
    for word in words:
        if word is not None and word not in said:
            said[word] = same_name(word)
    return [None if word is None else said[word] for word in words]


def _varying(parts: dict[str | None, Float[np.ndarray, " n"]], name: str) -> tuple[Quantities, ...]:
    kept = []
    for part, numbers in parts.items():
        present = numbers[~np.isnan(numbers)]
        # one value and gaps still tell rows apart; for the parts of a date the first does so
        gaps = len(present) < len(numbers) and part in (None, "year")
        if len(np.unique(present)) > 1 or (len(present) and gaps):
            own = name if part is None else f"{name}_{part}"
            kept.append(Quantities(own, part, NumberScale.fit(numbers)))
    return tuple(kept)


def _reader(column: Column) -> ColumnEncoder:
    if column.kind == "numeric":
        return Numbers(column.decimal, column.thousands)
    return Dates(column.date_format)


def _finite(column: Column, reader: ColumnEncoder, values: ColumnValues) -> Float[np.ndarray, " n"]:
    numbers = reader.encode(values)[:, 0]
    if np.isinf(numbers).any():
        raise ValueError(
            f"column {shown(column.name)} contains infinity, or a number too large for float64."
            " Replace such values, or make them missing (NaN)."
        )
    return numbers


def _times(column: Column, values: ColumnValues) -> np.ndarray:
    return Dates(column.date_format).times(values)


def _parts(times: np.ndarray) -> dict[str | None, Float[np.ndarray, " n"]]:
    """Return each part of the dates, NaN where one is missing."""
    missing = np.isnat(times)
    times = np.where(missing, np.datetime64(0, "us"), times)
    months = times.astype("M8[M]").astype(np.int64)
    days = times.astype("M8[D]")
    numbers = {
        "year": months // 12 + 1970,
        "month": months % 12 + 1,
        "day": (days - times.astype("M8[M]").astype("M8[D]")).astype(np.int64) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7 + 1,
        "hour": times.astype("M8[h]").astype(np.int64) % 24,
        "total_seconds": (times - np.datetime64(0, "us")) / _SECOND,
    }
    assert tuple(numbers) == DATE_PARTS
    return {part: np.where(missing, np.nan, number) for part, number in numbers.items()}


def _tell_of_unread(
    column: Column, reader: ColumnEncoder, values: ColumnValues, numbers: Float[np.ndarray, " n"]
) -> None:
    gone = reader.unread(values, numbers[:, None])
    n_gone, n_there = int(gone.sum()), int((~values.missing & ~values.blank()).sum())
    if not n_gone:
        return
    example = shown(min(str(v) for v in values.data[gone]))
    if n_gone == n_there > 1:
        raise ValueError(
            f"column {shown(column.name)} held {reader.wanted} when this was fitted, but none of"
            f" its {n_there} values is one now, as {example}. Give the same columns as before, or"
            " fit again."
        )
    warnings.warn(
        f"column {shown(column.name)}: {n_gone} of {counted(len(values), 'value')} could not be"
        f" read as {reader.wanted} and count as missing, such as {example}.",
        stacklevel=5,
    )
