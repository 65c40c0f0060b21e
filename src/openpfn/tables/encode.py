"""Turn a table of any columns into numbers, the same way for every row it will ever see."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from openpfn.tables.columns.base import ColumnEncoder
from openpfn.tables.columns.texts import TEXT_ENCODERS, SentenceModel, Text, WideText, side_by_side
from openpfn.tables.json_values import from_json, name_to_json
from openpfn.tables.schema import TRUTHS, Column, Kind, read_schema, to_numbers, warn_of_odd_words
from openpfn.tables.spelling.dates import NEVER, DateReading
from openpfn.tables.spelling.numbers import PLAIN, NumberReading
from openpfn.tables.values import (
    DATES,
    MICROSECONDS,
    ColumnValues,
    counted,
    plain_values,
    same_name,
    shown,
    to_time,
)

_COUNTING = threading.Lock()


@dataclass(frozen=True)
class Unread:
    """Values of one column that could not be read since the encoder was fitted."""

    n: int
    """Number of such values."""
    example: str
    """One of them, as a message shows it."""


class TableEncoder:
    """Numbers stay, categories become codes, dates numbers, text its principal letter groups.

    What a column cannot read, such as an unseen category, is missing; a warning counts it.
    `fit_text` makes the encoder of a column of text from its values; by default, `Text.fit`.

    >>> encoder = TableEncoder().fit(pd.DataFrame({"size": [1.5, 2.0], "colour": ["red", "blue"]}))
    >>> encoder.transform(pd.DataFrame({"size": [3.0], "colour": ["red"]}))
    array([[3., 1.]])
    """

    columns: list[Column]
    encoders: list[ColumnEncoder]
    unread: Mapping[int, Unread] = {}
    """Values that could not be read since `fit`, by the number of the column."""
    tells: bool = True
    """Whether `transform` warns of values that cannot be read, and counts them."""

    def __init__(self, fit_text: Callable[[ColumnValues], ColumnEncoder] = Text.fit) -> None:
        self.fit_text = fit_text

    def fit(
        self, table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None
    ) -> TableEncoder:
        """Learn from `table` (context rows only) how to read each column.

        `kinds` settles the columns it names. Warns of values that are not of their column's kind.
        """
        self.columns = read_schema(table, kinds)
        self.unread = {}
        warn_of_odd_words(self.columns)
        self.encoders = [
            fit_column(column, plain_values(table.iloc[:, i]), self.fit_text)
            for i, column in enumerate(self.columns)
        ]
        return self

    def fit_transform(
        self, table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None
    ) -> Float[np.ndarray, "N D"]:
        """Learn from `table` how to read each column, and return its rows as numbers."""
        self.fit(table, kinds)
        return self.read(table, count=False)[0]

    def transform(self, table: pd.DataFrame) -> Float[np.ndarray, "N D"]:
        """Return the rows of `table` as numbers, NaN where a value is missing.

        Warns of values that cannot be read, and counts them in `describe()`. Raises ValueError for
        infinite values.
        """
        return self.read(table)[0]

    def read(
        self, table: pd.DataFrame, *, count: bool = True
    ) -> tuple[Float[np.ndarray, "N D"], Any]:
        """Return the rows of `table` as `transform` does, and the features (N, F) of their texts
        side by side, as a sparse matrix; None where no column of text has features.

        Without `count`, values that cannot be read are not told of.
        """
        if table.shape[1] != len(self.columns):
            raise ValueError(
                f"the table has {table.shape[1]} columns, but {len(self.columns)} were fitted. Give"
                " the same columns."
            )
        if all(isinstance(encoder, Numbers) for encoder in self.encoders) and holds_plain_numbers(
            table
        ):
            whole = np.array(table, dtype=np.float64, order="C")
            if not np.isinf(whole).any():
                return whole, None  # the same as column by column, in a fraction of the time
        columns = [plain_values(series) for _, series in table.items()]
        parts, features = [], []
        for encoder, values in zip(self.encoders, columns, strict=True):
            if isinstance(encoder, WideText):
                features.append(encoder.features(values))
                parts.append(encoder.reduce(features[-1], values))
            else:
                parts.append(encoder.encode(values))
        numbers = np.concatenate([np.empty((len(table), 0)), *parts], axis=1)
        if np.isinf(numbers).any():
            for column, part in zip(self.columns, parts, strict=True):
                _refuse_infinity(column, part)
        if count and self.tells and np.isnan(numbers).any():
            for i, (encoder, values, part) in enumerate(
                zip(self.encoders, columns, parts, strict=True)
            ):
                self._count(i, values, encoder.unread(values, part))
        return numbers, side_by_side(features) if features else None

    def _count(self, i: int, values: ColumnValues, gone: Bool[np.ndarray, " N"]) -> None:
        """Tell of the values of column `i` that could not be read."""
        n_gone = int(gone.sum())
        if not n_gone:
            return
        # the first in the alphabet, so that nothing depends on the order of the rows
        example = shown(min((_plain_object(v) for v in values.data[gone]), key=str))
        with _COUNTING:
            before = self.unread.get(i)
            total = n_gone + (before.n if before else 0)
            told = Unread(total, before.example if before else example)
            self.unread = {**self.unread, i: told}  # never changed in place: others may read it
        warnings.warn(
            f"column {shown(self.columns[i].name)}: {n_gone} of {counted(len(values), 'value')}"
            f" could not be read as {self.encoders[i].wanted} and count as missing, such as"
            f" {example}. {self._advice(i)}",
            stacklevel=4,
        )

    def _advice(self, i: int) -> str:
        column = self.columns[i]
        if column.kind == "date":
            return f"Write dates as in the context, {column.date_format or '%Y-%m-%d'}."
        if column.kind == "numeric":
            spelled = str(column.number_reading) or "a decimal point"
            return f"Write numbers as in the context, with {spelled}."
        return "The context has no such value."

    @property
    def categorical(self) -> Bool[np.ndarray, " D"]:
        """Mask of the encoded columns that hold category codes."""
        return np.array(
            [encoder.is_categorical for encoder in self.encoders for _ in range(encoder.n_out)],
            dtype=bool,
        )

    def describe(self) -> list[str]:
        """Return a line per column, which says how it is read and what could not be read since."""
        lines = [str(column) for column in self.columns]
        for i, unread in sorted(self.unread.items()):
            lines[i] += (
                f"; since then {counted(unread.n, 'value')} not readable, as {unread.example}"
            )
        return lines

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return all that was learnt: what fits into JSON, and arrays by name."""
        plain, arrays = [], {}
        for i, (column, encoder) in enumerate(zip(self.columns, self.encoders, strict=True)):
            values = asdict(encoder)  # type: ignore[call-overload]
            for name in [n for n, v in values.items() if isinstance(v, np.ndarray)]:
                arrays[f"{i}.{name}"] = values.pop(name)
            described = asdict(column) | {"name": name_to_json(column.name)}
            entry: dict[str, Any] = {"column": described, "values": values}
            if column.kind == "text":
                entry["encoder"] = type(encoder).__name__
            plain.append(entry)
        return {"columns": plain}, arrays

    @classmethod
    def from_state(
        cls,
        plain: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray],
        sentence_model: Callable[..., SentenceModel] | None = None,
    ) -> TableEncoder:
        """Return the encoder whose `state()` this was; `sentence_model` makes an encoder of
        sentences of what it recorded of itself."""
        encoder = cls()
        encoder.columns = [
            Column(**{**entry["column"], "name": from_json(entry["column"]["name"])})
            for entry in plain["columns"]
        ]
        encoder.encoders = []
        for i, entry in enumerate(plain["columns"]):
            own = {
                name.partition(".")[2]: array
                for name, array in arrays.items()
                if name.startswith(f"{i}.")
            }
            values = dict(entry["values"])
            if "model" in values:
                assert sentence_model is not None, "estimators know how to find one"
                values["model"] = sentence_model(**values["model"])
            kind = _ENCODERS[entry["column"]["kind"]]
            if "encoder" in entry:  # before there were several for texts, the kind alone said it
                kind = TEXT_ENCODERS[entry["encoder"]]
            encoder.encoders.append(kind(**values, **own))
        return encoder


def holds_plain_numbers(table: pd.DataFrame) -> bool:
    """Return whether every column has a numeric dtype of NumPy's own."""
    return all(isinstance(dtype, np.dtype) and dtype.kind in "fiu" for dtype in table.dtypes)


def fit_column(
    column: Column,
    values: ColumnValues,
    fit_text: Callable[[ColumnValues], ColumnEncoder] = Text.fit,
) -> ColumnEncoder:
    """Return the encoder of `column`, fitted to `values`; by `fit_text` where it holds texts."""
    match column.kind:
        case "numeric":
            return Numbers(column.decimal, column.thousands)
        case "categorical":
            return Codes(_categories(values))
        case "boolean":
            return Truth()
        case "date":
            return Dates(column.date_format).fit(values)
        case "text":
            return fit_text(values)
        case _:
            return Nothing()


@dataclass
class Numbers(ColumnEncoder):
    """Encoder of numbers, which stay what they are."""

    kind: ClassVar[Kind] = "numeric"
    wanted: ClassVar[str] = "numbers"

    decimal: str = "."
    """Sign before the decimals of numbers written as words."""
    thousands: str = ""
    """Sign between their thousands."""

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N 1"]:
        return to_numbers(values, NumberReading(self.decimal, self.thousands))[:, None]


@dataclass
class Nothing(ColumnEncoder):
    """Encoder of a column without values, which gives no columns."""

    kind: ClassVar[Kind] = "empty"

    @property
    def n_out(self) -> int:
        return 0

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N 0"]:
        return np.empty((len(values), 0))


@dataclass
class Truth(ColumnEncoder):
    """Encoder of truth values: false is 0, true is 1."""

    kind: ClassVar[Kind] = "boolean"
    is_categorical: ClassVar[bool] = True
    wanted: ClassVar[str] = "true or false"

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N 1"]:
        return _by_word(values, lambda word: TRUTHS.get(same_name(word), np.nan))


@dataclass
class Codes(ColumnEncoder):
    """Encoder of categories: a category is its place in `categories`."""

    kind: ClassVar[Kind] = "categorical"
    is_categorical: ClassVar[bool] = True
    wanted: ClassVar[str] = "known categories"

    categories: list[str]
    """Known categories, in the order of their dtype or else of the alphabet (numbers by size)."""

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N 1"]:
        place, alike = self._places
        return _by_word(values, lambda word: place.get(word, alike.get(same_name(word), np.nan)))

    @cached_property
    def _places(self) -> tuple[dict[str, float], dict[str, float]]:
        """The code of each category, and of each spelling that means one."""
        place = {word: float(i) for i, word in enumerate(self.categories)}
        alike: dict[str, float] = {}
        for word, code in place.items():
            alike.setdefault(same_name(word), code)
        return place, alike


@dataclass
class Dates(ColumnEncoder):
    """Encoder of dates: days since 1970, and month, weekday and hour where these vary."""

    kind: ClassVar[Kind] = "date"
    wanted: ClassVar[str] = "dates"

    format: str | None = None
    """Spelling of dates that are words; None where they were typed."""
    parts: list[str] = field(default_factory=list)
    """Names of the parts that are given besides the day."""

    @property
    def n_out(self) -> int:
        return 1 + len(self.parts)

    def fit(self, values: ColumnValues) -> Dates:
        times = self.times(values)
        times = times[~np.isnat(times)]
        parts = [name for name, part in _PARTS.items() if len(np.unique(part(times))) > 1]
        return Dates(self.format, parts)

    def encode(self, values: ColumnValues) -> Float[np.ndarray, "N P"]:
        times = self.times(values)
        missing = np.isnat(times)
        times = np.where(missing, np.datetime64(0, "us"), times)
        columns = [_days(times), *(_PARTS[name](times) for name in self.parts)]
        return np.stack([np.where(missing, np.nan, column) for column in columns], axis=1)

    def times(self, values: ColumnValues) -> np.ndarray:
        """Return the values as times in UTC; NaT where one cannot be read."""
        if values.form == "times":
            return np.where(values.missing, NEVER, values.data)
        read = DateReading(self.format or "%Y-%m-%d")
        if values.form == "objects":
            known: dict[str, np.datetime64] = {}
            times = [_time_of(v, read, known) for v in values.data]
            times = np.array(times, dtype=MICROSECONDS) if times else np.empty(0, MICROSECONDS)
            return np.where(values.missing, NEVER, times)
        times_of_words = {w: read(w) if w else NEVER for w in set(values.words())}
        return np.array([times_of_words[w] for w in values.words()], dtype=MICROSECONDS)


_ENCODERS: dict[str, Any] = {
    encoder.kind: encoder for encoder in (Numbers, Nothing, Truth, Codes, Dates, Text)
}


def _refuse_infinity(column: Column, part: Float[np.ndarray, "N P"]) -> None:
    if np.isinf(part).any():
        raise ValueError(
            f"column {column.name!r} contains infinity, or a number too large for float64. Replace"
            " such values, or make them missing (NaN)."
        )


def _days(times: np.ndarray) -> Float[np.ndarray, " N"]:
    """Days since 1970, with fractions."""
    count = times.astype(np.int64)
    whole, rest = np.divmod(count, _DAY)
    # beyond 2^53 microseconds a float does not hold the count itself
    return np.where(np.abs(count) < 2**53, count / _DAY, whole + rest / _DAY)


_DAY = 86_400_000_000
"""Microseconds of a day."""
_PARTS: dict[str, Any] = {
    "month": lambda times: times.astype("M8[M]").astype(np.int64) % 12 + 1.0,
    "weekday": lambda times: (times.astype("M8[D]").astype(np.int64) + 3) % 7 + 0.0,
    "hour": lambda times: times.astype("M8[h]").astype(np.int64) % 24 + 0.0,
}
"""Parts of a date besides its day."""


def _time_of(value: Any, read: DateReading, known: dict[str, np.datetime64]) -> np.datetime64:
    """Return the time that a Python object stands for; words that were read before are `known`."""
    if isinstance(value, DATES):
        try:
            return to_time(value)
        except (ValueError, OverflowError):
            return NEVER
    word = value.strip() if isinstance(value, str) else str(value)
    if word not in known:
        known[word] = read(word)
    return known[word]


def _by_word(values: ColumnValues, code: Callable[[str], float]) -> Float[np.ndarray, "N 1"]:
    words = values.words()
    codes = {word: np.nan if word is None else code(word) for word in set(words)}
    return np.array([codes[word] for word in words], dtype=np.float64).reshape(-1, 1)


def _categories(values: ColumnValues) -> list[str]:
    words = {word for word in values.words() if word is not None}
    if values.categories:
        return [word for word in dict.fromkeys(values.category_words()) if word in words]
    numbers = {word: PLAIN(word) for word in words}
    return sorted(
        words, key=lambda word: (np.isnan(numbers[word]), np.nan_to_num(numbers[word]), word)
    )


def _plain_object(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
