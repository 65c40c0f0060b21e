"""Turn a table of any columns into numbers, the same way for every row it will ever see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from openpfn.tables.schema import MISSING_WORDS, Column, Kind, as_word, read_schema, to_numbers

MOST_TEXT_COMPONENTS = 8
"""Numbers that a column of text becomes at most."""
N_GRAM_BUCKETS = 1024
"""Buckets into which the letter groups of a text are hashed."""


class ColumnEncoder(ABC):
    """Turns one column into `n_out` columns of numbers."""

    kind: ClassVar[Kind]
    is_categorical: ClassVar[bool] = False

    @property
    def n_out(self) -> int:
        """How many columns of numbers it gives."""
        return 1

    @abstractmethod
    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N P"]:
        """The numbers, NaN where a value is missing."""


class TableEncoder:
    """Numbers stay, categories become codes, dates numbers, text its principal letter groups;
    unseen categories are missing.

    >>> encoder = TableEncoder().fit(pd.DataFrame({"size": [1.5, 2.0], "colour": ["red", "blue"]}))
    >>> encoder.transform(pd.DataFrame({"size": [3.0], "colour": ["green"]}))
    array([[ 3., nan]])
    """

    columns: list[Column]
    encoders: list[ColumnEncoder]

    def fit(
        self, table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None
    ) -> TableEncoder:
        """Learn from `table` (context rows only) how to read each column; `kinds` settles the
        columns it names."""
        self.columns = read_schema(table, kinds)
        self.encoders = [
            fit_column(column, table.iloc[:, i]) for i, column in enumerate(self.columns)
        ]
        return self

    def transform(self, table: pd.DataFrame) -> Float[np.ndarray, "N D"]:
        """The rows of `table` as numbers, NaN where a value is missing. Raises ValueError for
        infinite values."""
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
                return whole  # the same as column by column, in a fraction of the time
        parts = [encode(table.iloc[:, i]) for i, encode in enumerate(self.encoders)]
        for column, part in zip(self.columns, parts, strict=True):
            if np.isinf(part).any():
                raise ValueError(
                    f"column {column.name!r} contains infinity. Replace infinite values, or make"
                    " them missing (NaN)."
                )
        return np.concatenate([np.empty((len(table), 0)), *parts], axis=1)

    @property
    def categorical(self) -> Bool[np.ndarray, " D"]:
        """Which of the encoded columns hold category codes."""
        return np.array(
            [encoder.is_categorical for encoder in self.encoders for _ in range(encoder.n_out)],
            dtype=bool,
        )

    def describe(self) -> list[str]:
        """A line per column, saying how it is read."""
        return [str(column) for column in self.columns]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """All that was learnt: what fits into JSON, and arrays by name."""
        plain, arrays = [], {}
        for i, (column, encoder) in enumerate(zip(self.columns, self.encoders, strict=True)):
            values = asdict(encoder)  # type: ignore[call-overload]
            for name in [n for n, v in values.items() if isinstance(v, np.ndarray)]:
                arrays[f"{i}.{name}"] = values.pop(name)
            plain.append({"column": asdict(column), "values": values})
        return {"columns": plain}, arrays

    @classmethod
    def from_state(cls, plain: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> TableEncoder:
        """The encoder whose `state()` this was."""
        encoder = cls()
        encoder.columns = [Column(**entry["column"]) for entry in plain["columns"]]
        encoder.encoders = []
        for i, entry in enumerate(plain["columns"]):
            own = {
                name.partition(".")[2]: array
                for name, array in arrays.items()
                if name.startswith(f"{i}.")
            }
            encoder.encoders.append(_ENCODERS[entry["column"]["kind"]](**entry["values"], **own))
        return encoder


def holds_plain_numbers(table: pd.DataFrame) -> bool:
    """Whether every column is of one of numpy's own kinds of numbers."""
    return all(isinstance(dtype, np.dtype) and dtype.kind in "fiu" for dtype in table.dtypes)


def fit_column(column: Column, values: pd.Series) -> ColumnEncoder:
    """The encoder of `column`, fitted to `values`."""
    match column.kind:
        case "numeric":
            return Numbers()
        case "categorical":
            return Codes(_categories(values))
        case "boolean":
            return Truth()
        case "date":
            return Dates(column.date_format).fit(values)
        case "text":
            return Text.fit(values)
        case _:
            return Nothing()


@dataclass
class Numbers(ColumnEncoder):
    """A number stays what it is."""

    kind: ClassVar[Kind] = "numeric"

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N 1"]:
        return to_numbers(values)[:, None]


@dataclass
class Nothing(ColumnEncoder):
    """A column without values says nothing."""

    kind: ClassVar[Kind] = "empty"

    @property
    def n_out(self) -> int:
        return 0

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N 0"]:
        return np.empty((len(values), 0))


@dataclass
class Truth(ColumnEncoder):
    """False is 0, true is 1."""

    kind: ClassVar[Kind] = "boolean"
    is_categorical: ClassVar[bool] = True

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N 1"]:
        codes = {"true": 1.0, "1": 1.0, "false": 0.0, "0": 0.0}
        return _by_word(values, lambda word: codes.get(word.lower(), np.nan))[:, None]


@dataclass
class Codes(ColumnEncoder):
    """A category is its place in `categories`."""

    kind: ClassVar[Kind] = "categorical"
    is_categorical: ClassVar[bool] = True

    categories: list[str]
    """Known categories, in the order of their dtype or else of the alphabet (numbers by size)."""

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N 1"]:
        place = {word: float(i) for i, word in enumerate(self.categories)}
        return _by_word(values, lambda word: place.get(word, np.nan))[:, None]


@dataclass
class Dates(ColumnEncoder):
    """A date becomes days since 1970, and its month, weekday and hour where these vary."""

    kind: ClassVar[Kind] = "date"

    format: str | None = None
    """How dates written as words are spelled."""
    parts: list[str] = field(default_factory=list)
    """Which parts are told besides the day."""

    @property
    def n_out(self) -> int:
        return 1 + len(self.parts)

    def fit(self, values: pd.Series) -> Dates:
        times = self.times(values)
        parts = [
            part
            for part in ("month", "weekday", "hour")
            if len(getattr(times.dt, part).dropna().unique()) > 1
        ]
        return Dates(self.format, parts)

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N P"]:
        times = self.times(values)
        days = (times - pd.Timestamp(0)) / pd.Timedelta(days=1)
        return np.stack(
            [to_numbers(days), *(to_numbers(getattr(times.dt, part)) for part in self.parts)],
            axis=1,
        )

    def times(self, values: pd.Series) -> pd.Series:
        """The values as times without a zone; NaT where one cannot be read."""
        if isinstance(values.dtype, pd.PeriodDtype):
            values = values.dt.to_timestamp()
        if not pd.api.types.is_datetime64_any_dtype(values.dtype):
            words = values.map(
                lambda v: None if str(v).strip().lower() in MISSING_WORDS else v, na_action="ignore"
            )
            values = pd.to_datetime(words, format=self.format, errors="coerce", utc=True)
        return values.dt.tz_convert(None) if values.dt.tz is not None else values


@dataclass
class Text(ColumnEncoder):
    """A text becomes the principal components of its letter groups, weighted by how rare each is
    (tf-idf)."""

    kind: ClassVar[Kind] = "text"

    rarity: Float[np.ndarray, " buckets"]
    """Inverse document frequency of each bucket."""
    components: Float[np.ndarray, "buckets k"]
    """Directions of largest variance."""

    @property
    def n_out(self) -> int:
        return self.components.shape[1]

    @classmethod
    def fit(cls, values: pd.Series) -> Text:
        from sklearn.utils.extmath import randomized_svd

        # sorted, so that sums round alike in whatever order the rows come
        counts = _letter_groups(
            values.iloc[np.argsort(values.astype(str).to_numpy(dtype=str), kind="stable")]
        )
        n_texts_with = np.bincount(counts.indices, minlength=N_GRAM_BUCKETS)
        rarity = np.log((1 + counts.shape[0]) / (1 + n_texts_with)) + 1
        weighted = _unit_rows(counts.multiply(rarity).tocsr())
        n_components = min(MOST_TEXT_COMPONENTS, *weighted.shape)
        directions = randomized_svd(weighted, n_components, random_state=0)[2].T
        largest = np.abs(directions).argmax(axis=0)
        return cls(rarity, directions * np.sign(directions[largest, np.arange(n_components)]))

    def __call__(self, values: pd.Series) -> Float[np.ndarray, "N k"]:
        encoded = _unit_rows(_letter_groups(values).multiply(self.rarity).tocsr()) @ self.components
        return np.where(values.isna().to_numpy()[:, None], np.nan, encoded)


_ENCODERS: dict[str, Any] = {
    encoder.kind: encoder for encoder in (Numbers, Nothing, Truth, Codes, Dates, Text)
}


def _by_word(values: pd.Series, code: Any) -> Float[np.ndarray, " N"]:
    known = values.notna().to_numpy(dtype=bool)
    codes = np.full(len(values), np.nan)
    codes[known] = [code(as_word(v)) for v in values[known]]
    return codes


def _categories(values: pd.Series) -> list[str]:
    words = {as_word(v) for v in values[values.notna()]} - {""}
    if isinstance(values.dtype, pd.CategoricalDtype):
        return [word for word in (as_word(c) for c in values.cat.categories) if word in words]
    numbers = {word: to_numbers(pd.Series([word]))[0] for word in words}
    return sorted(
        words, key=lambda word: (np.isnan(numbers[word]), np.nan_to_num(numbers[word]), word)
    )


def _letter_groups(values: pd.Series) -> Any:
    """Counts (N, buckets) of the groups of 2 to 4 letters in each text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing: Any = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=N_GRAM_BUCKETS, alternate_sign=False
    )
    hashing.set_params(norm=None)
    return hashing.transform(
        ["" if missing else str(v) for v, missing in zip(values, values.isna(), strict=True)]
    )


def _unit_rows(rows: Any) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(rows)
