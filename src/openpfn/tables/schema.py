"""Kinds of columns: numbers, categories, truth values, dates or text."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from openpfn.tables.spelling.dates import DateReading, find_date_reading
from openpfn.tables.spelling.numbers import (
    MISSING_WORDS,
    PLAIN,
    NumberReading,
    find_number_reading,
)
from openpfn.tables.values import (
    ColumnValues,
    as_word,
    counted,
    plain_values,
    same_name,
    shown,
    to_number,
)

__all__ = [
    "MISSING_WORDS",
    "Column",
    "Kind",
    "as_word",
    "read_column",
    "read_schema",
    "to_numbers",
    "warn_of_odd_words",
]

Kind = Literal["numeric", "categorical", "boolean", "date", "text", "empty"]

MOST_CATEGORIES = 40
"""A column of words with more distinct values than this is read as text."""
FEW_CATEGORIES = 10
"""A column of words with no more distinct values than this is read as categories, even if they
hardly repeat."""
MOST_ODD_ROWS = 0.05
"""Share of rows that may hold something else in a column of many numbers or dates."""
TRUTHS = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
"""Words that are true or false."""


@dataclass(frozen=True)
class Column:
    """Kind of one column, and the spelling of its values."""

    name: Hashable
    """Its name in the table."""
    kind: Kind
    """Kind of its values."""
    n_distinct: int
    """Distinct values, missing ones not counted."""
    n_missing: int
    """Missing values."""
    date_format: str | None = None
    """Spelling of dates that are words, as in `datetime.strptime`."""
    decimal: str = "."
    """Sign before the decimals of numbers written as words."""
    thousands: str = ""
    """Sign between the thousands of numbers written as words; empty where there is none."""
    is_guess: bool = False
    """Whether the spelling of its dates or numbers could as well mean other ones."""
    n_odd: int = 0
    """Values that are not of this kind and count as missing."""
    odd_word: str | None = None
    """One of those."""
    n_numbers: int = 0
    """Distinct values that are numbers, in a column of words."""

    def __str__(self) -> str:
        details = [_SENTENCES[self.kind].format(n=self.n_distinct), *self._spelling()]
        if self.n_numbers and self.kind in ("categorical", "text"):
            details[0] = details[0].replace(" distinct", f" distinct, {self.n_numbers} numbers")
        if self.n_missing:
            details.append(f"{self.n_missing} missing")
        if self.n_odd:
            details.append(f"{self.n_odd} not readable, as {self.odd_word}")
        return f"{self.name}: {', '.join(details)}"

    @property
    def number_reading(self) -> NumberReading:
        """Spelling of numbers that are words."""
        return NumberReading(self.decimal, self.thousands)

    def _spelling(self) -> list[str]:
        """Return how words are spelled, where that is not plain."""
        if self.kind == "numeric" and self.number_reading != PLAIN:
            guess = " (a guess: the signs could mean decimals or thousands)"
            return [f"with {self.number_reading}{guess if self.is_guess else ''}"]
        if self.kind == "date" and self.date_format is not None:
            order = DateReading(self.date_format).order
            guess = f" ({order}, a guess: no day is above 12)"
            return [f"written {self.date_format}{guess if self.is_guess else ''}"]
        return []


_SENTENCES: dict[Kind, str] = {
    "numeric": "numbers ({n} distinct)",
    "categorical": "categories ({n} distinct)",
    "boolean": "true or false",
    "date": "dates ({n} distinct)",
    "text": "text ({n} distinct)",
    "empty": "no values, left out",
}


def read_schema(table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None) -> list[Column]:
    """Return how each column of `table` is read, in order. `kinds` settles the columns it names.

    Raises ValueError for a column that cannot be used, and for kinds of columns that are not there.
    """
    kinds = kinds or {}
    unknown = [name for name in kinds if name not in table.columns]
    if unknown:
        raise ValueError(
            f"kinds names {unknown[0]!r}, which is not a column. The columns are"
            f" {', '.join(map(str, table.columns))}."
        )
    return [read_column(table.iloc[:, i], kinds.get(name)) for i, name in enumerate(table.columns)]


def read_column(values: pd.Series | ColumnValues, kind: Kind | None = None) -> Column:
    """Return how `values` are read; as `kind` where given."""
    plain = values if isinstance(values, ColumnValues) else plain_values(values)
    n_missing = int((plain.missing | plain.blank()).sum())
    if plain.form == "objects":
        return _column_of_words(plain, kind, n_missing)
    found = plain.present()
    if not len(found):
        guess: Kind = "empty"
    elif plain.categories is not None:
        guess = "categorical"
    else:
        guess = _KINDS_OF_FORMS[plain.form]
    kind = kind or guess
    if kind == "date" and plain.form != "times":
        return _column_of_words(plain, kind, n_missing)
    return Column(plain.name, kind, len(np.unique(found)), n_missing)


_KINDS_OF_FORMS: dict[str, Kind] = {"numbers": "numeric", "truths": "boolean", "times": "date"}


def warn_of_odd_words(columns: Iterable[Column], stacklevel: int = 3) -> None:
    """Warn of values that are not of the kind of their column."""
    for column in columns:
        if column.n_odd:
            what = {"date": "a date", "numeric": "a number"}.get(column.kind, "true or false")
            warnings.warn(
                f"column {shown(column.name)}: {counted(column.n_odd, 'value')} cannot be read as"
                f" {what} and will count as missing, such as {column.odd_word}.",
                stacklevel=stacklevel,
            )
        elif column.n_distinct > FEW_CATEGORIES and 2 * column.n_numbers > column.n_distinct:
            if column.kind not in ("categorical", "text"):
                continue
            kind = "text" if column.kind == "text" else "categories"
            warnings.warn(
                f"column {shown(column.name)} is read as {kind}, although {column.n_numbers} of its"
                f" {column.n_distinct} distinct values are numbers. Write all of them alike, or"
                " leave the others empty.",
                stacklevel=stacklevel,
            )


def to_numbers(values: pd.Series | ColumnValues, reading: NumberReading = PLAIN) -> np.ndarray:
    """Return each value as a float; NaN where it is missing or not a number."""
    plain = values if isinstance(values, ColumnValues) else plain_values(values)
    if plain.form == "times":
        return np.full(len(plain), np.nan)
    if plain.form != "objects":
        return np.where(plain.missing, np.nan, plain.data.astype(np.float64))
    return np.array(
        [
            np.nan if missing else to_number(value, reading)
            for value, missing in zip(plain.data, plain.missing.tolist(), strict=True)
        ],
        dtype=np.float64,
    )


def _column_of_words(plain: ColumnValues, kind: Kind | None, n_missing: int) -> Column:
    """Return how a column of Python objects is read."""
    words = Counter(word for word in plain.words() if word is not None)
    column = Column(plain.name, kind or "empty", len(words), n_missing)
    if kind is None and not words:
        return column
    if kind is None and plain.categories is not None:
        return replace(column, kind="categorical")
    if kind is None and {word.lower() for word in words} <= {"true", "false"}:
        return replace(column, kind="boolean")
    if kind == "boolean":
        odd = {word: n for word, n in words.items() if same_name(word) not in TRUTHS}
        return replace(column, n_odd=sum(odd.values()), odd_word=shown(min(odd)) if odd else None)
    if kind in (None, "numeric"):
        numeric = _as_numbers(column, plain, words)
        if kind == "numeric" or numeric.n_odd == 0 or _is_few(numeric, words):
            return numeric
        if numeric.n_numbers:
            column = replace(column, n_numbers=numeric.n_numbers)
    if kind in (None, "date"):
        dates = _as_dates(column, words, told=kind == "date")
        if dates is not None and (kind == "date" or dates.n_odd == 0 or _is_few(dates, words)):
            return dates
        if kind == "date" and words:
            raise ValueError(
                f"kinds says that column {shown(column.name)} holds dates, but it holds"
                f" {shown(min(words))}. Give another kind, or write its dates as 2020-12-31."
            )
    if kind is not None:
        return column
    n_rows = sum(words.values())
    few = len(words) <= FEW_CATEGORIES or len(words) <= min(MOST_CATEGORIES, n_rows / 2)
    return replace(column, kind="categorical" if few else "text")


def _is_few(column: Column, words: Counter[str]) -> bool:
    """Return whether a column has many values of its kind, and hardly any others."""
    return column.n_distinct > FEW_CATEGORIES and column.n_odd <= MOST_ODD_ROWS * words.total()


def _as_numbers(column: Column, plain: ColumnValues, words: Counter[str]) -> Column:
    """Return `column` as one of numbers, whatever share of its values is none."""
    written = Counter(
        {
            as_word(v): 0
            for v, missing in zip(plain.data, plain.missing.tolist(), strict=True)
            if not missing and (isinstance(v, (str, bytes, bool, np.bool_)) or _is_odd(v))
        }
    )
    found = find_number_reading(Counter({w: words[w] for w in written if w in words}))
    n_gone = sum(n for w, n in words.items() if w in written and w.lower() in MISSING_WORDS)
    n_distinct = sum(w not in found.odd_words and w.lower() not in MISSING_WORDS for w in words)
    return replace(
        column,
        kind="numeric",
        n_distinct=n_distinct,
        n_missing=column.n_missing + n_gone,
        decimal=found.reading.decimal,
        thousands=found.reading.thousands,
        is_guess=found.is_guess,
        n_odd=found.n_odd,
        odd_word=shown(min(found.odd_words)) if found.odd_words else None,
        n_numbers=n_distinct,
    )


def _is_odd(value: object) -> bool:
    """Return whether an object is no number."""
    return bool(np.isnan(to_number(value, PLAIN)))


def _as_dates(column: Column, words: Counter[str], *, told: bool) -> Column | None:
    """Return `column` as one of dates; None where its words are none."""
    found = find_date_reading(words, told=told)
    if found is None:
        return None
    n_gone = sum(n for w, n in words.items() if w.lower() in MISSING_WORDS)
    return replace(
        column,
        kind="date",
        n_distinct=sum(w not in found.odd_words and w.lower() not in MISSING_WORDS for w in words),
        n_missing=column.n_missing + n_gone,
        date_format=found.reading.format,
        is_guess=found.is_guess,
        n_odd=found.n_odd,
        odd_word=shown(min(found.odd_words)) if found.odd_words else None,
        n_numbers=0,
    )
