"""`Variable`: one column of a table as a random variable, read as numbers or classes and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from openpfn.tables.encode import Dates
from openpfn.tables.schema import MISSING_WORDS, Column, read_column, to_numbers
from openpfn.tables.target import read_target
from openpfn.tables.values import MICROSECONDS, ColumnValues, plain_values, same_name

DAY = 86_400_000_000
"""Microseconds of a day."""
DIGITS = 6
"""Significant digits of a number that is written among words with exponents."""


@dataclass(frozen=True)
class Variable:
    """One column: how its cells are read, and how values of it are written.

    A cell is read as a number (a date as days since 1970), or, in a column of classes, as the place
    of its class among `labels`. NaN stands for a cell that is missing or cannot be read.
    """

    column: Column
    """How the column is read."""
    kind: Literal["numbers", "classes", "empty"]
    """What a network predicts of it; "empty" where it has no values."""
    labels: tuple[Any, ...] = ()
    """The classes in order, as the column writes them."""
    words: tuple[str, ...] = ()
    """One spelling of each class."""
    is_whole: bool = False
    """Whether all of its numbers are whole, or all of its dates days without a time."""
    decimals: int | None = None
    """Most decimals of numbers that are words; None where they have exponents."""
    is_words: bool = False
    """Whether its numbers are written as words."""

    @classmethod
    def of(cls, values: pd.Series) -> Variable:
        """Return the variable that the column `values` shows."""
        plain = plain_values(values)
        column = read_column(plain)
        # what has no way back from a number, such as an interval, is one of those that are there
        is_named = plain.originals is not None and values.dtype.kind not in "mM"
        if is_named and column.kind != "empty" and plain.form == "numbers":
            column = replace(column, kind="categorical")
        if column.kind == "empty":
            return cls(column, "empty")
        if column.kind in ("numeric", "date"):
            return cls._of_numbers(column, plain, values)
        spelled: dict[str, Any] = {}
        for word, value in zip(plain.words(), values, strict=True):
            if word is not None:
                name = same_name(word)
                # the first in the alphabet, so that no order of rows decides
                spelled[name] = min(spelled.get(name, value), value, key=str)
        words = tuple(sorted(spelled))
        return cls(column, "classes", tuple(spelled[w] for w in words), words)

    @classmethod
    def _of_numbers(cls, column: Column, plain: ColumnValues, values: pd.Series) -> Variable:
        numbers = cls(column, "numbers").read(values)
        present = numbers[~np.isnan(numbers)]
        whole = bool((present == np.floor(present)).all())
        if not len(present):
            return cls(column, "empty")
        is_words = plain.form == "objects" and any(isinstance(v, str) for v in plain.present())
        decimals = _most_decimals(plain, column.decimal) if is_words else None
        found = cls(column, "numbers", (), (), whole, decimals, is_words)
        if column.kind == "date" or read_target(values).task == "regression":
            return found
        return replace(found, kind="classes", labels=tuple(np.unique(present).tolist()))

    @property
    def holds_numbers(self) -> bool:
        """Whether a cell is a number, be it one of few that are told apart as classes."""
        return self.column.kind in ("numeric", "date")

    def missing(self, values: pd.Series) -> Bool[np.ndarray, " N"]:
        """Return which cells hold no value; a word that cannot be read is one."""
        plain = plain_values(values)
        missing = plain.missing | plain.blank()
        if plain.form == "objects" and self.holds_numbers:
            gone = [isinstance(v, str) and v.strip().lower() in MISSING_WORDS for v in plain.data]
            missing = missing | np.array(gone, dtype=bool)
        return missing

    def read(self, values: pd.Series) -> Float[np.ndarray, " N"]:
        """Return the cells as numbers, or as places among the classes."""
        plain = plain_values(values)
        if self.kind == "empty":
            return np.full(len(plain), np.nan)
        if self.column.kind == "date":
            times = Dates(self.column.date_format).times(plain)
            days = times.astype(np.int64) / DAY
            return np.where(np.isnat(times), np.nan, days)
        if self.column.kind == "numeric":
            numbers = to_numbers(plain, self.column.number_reading)
            self._refuse_infinity(numbers)
            return numbers if self.kind == "numbers" else self._places_of_numbers(numbers)
        return self._places_of_words(plain)

    def unread(self, values: pd.Series, numbers: Float[np.ndarray, " N"]) -> list[Any]:
        """Return the cells that hold a value, but were read as none of the `numbers`."""
        if self.kind == "empty":
            return []
        gone = np.isnan(numbers) & ~self.missing(values)
        if self.kind == "classes" and self.column.kind == "numeric":
            gone &= np.isnan(to_numbers(values, self.column.number_reading))  # a number is read
        return values[gone].tolist()

    def write(self, numbers: Float[np.ndarray, " n"], like: pd.Series) -> pd.Series:
        """Return values, read as `numbers`, as the column `like` writes them."""
        if self.kind == "classes" and not self.holds_numbers:
            values: Sequence[Any] = [self.labels[int(place)] for place in numbers]
        elif self.column.kind == "date":
            return self._dates(numbers, like)
        elif self.is_words:
            values = [self._as_word(number) for number in numbers.tolist()]
        elif like.dtype.kind == "m":
            return pd.Series(pd.to_timedelta(numbers, unit="s")).astype(like.dtype)
        elif self.is_whole and like.dtype.kind not in "fO":
            values = np.rint(numbers).astype(np.int64).tolist()
        else:
            values = numbers.tolist()
        return pd.Series(list(values), dtype=like.dtype)

    def value(self, places: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return what is written for the classes at `places`: their numbers, or the places."""
        if self.kind == "classes" and self.holds_numbers:
            return np.array(self.labels, dtype=np.float64)[places.astype(int)]
        return places

    def _refuse_infinity(self, numbers: np.ndarray) -> None:
        if np.isinf(numbers).any():
            raise ValueError(
                f"column {self.column.name!r} contains infinity, or a number too large for"
                " float64. Replace such values, or make them missing (NaN)."
            )

    def _places_of_numbers(self, numbers: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
        labels = np.array(self.labels, dtype=np.float64)
        places = np.searchsorted(labels, numbers).clip(0, len(labels) - 1)
        return np.where(labels[places] == numbers, places.astype(np.float64), np.nan)

    def _places_of_words(self, plain: ColumnValues) -> Float[np.ndarray, " N"]:
        place = {word: float(i) for i, word in enumerate(self.words)}
        names = [None if word is None else same_name(word) for word in plain.words()]
        return np.array([np.nan if n is None else place.get(n, np.nan) for n in names])

    def _dates(self, days: Float[np.ndarray, " n"], like: pd.Series) -> pd.Series:
        times = np.rint((np.rint(days) if self.is_whole else days) * DAY)
        stamps = pd.Series(times.astype(np.int64).astype(MICROSECONDS))
        if self.column.date_format is not None:
            return stamps.dt.strftime(self.column.date_format).astype(like.dtype)
        if isinstance(like.dtype, pd.DatetimeTZDtype):
            return stamps.dt.tz_localize("UTC").astype(like.dtype)
        if isinstance(like.dtype, pd.PeriodDtype):
            return stamps.dt.to_period(like.dtype.freq)
        return stamps.astype(like.dtype)

    def _as_word(self, number: float) -> str:
        if self.is_whole:
            return f"{number:.0f}"
        text = f"{number:.{DIGITS}g}" if self.decimals is None else f"{number:.{self.decimals}f}"
        return text.replace(".", self.column.decimal)


def _most_decimals(plain: ColumnValues, sign: str) -> int | None:
    words = [word for word in plain.words() if word is not None]
    if any("e" in word.lower() for word in words if word.lower() not in MISSING_WORDS):
        return None
    return max((len(word.partition(sign)[2]) for word in words), default=0)
