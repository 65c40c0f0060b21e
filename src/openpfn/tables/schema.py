"""How each column of a table is read: as numbers, categories, truth values, dates or text."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "categorical", "boolean", "date", "text", "empty"]

MISSING_WORDS = frozenset(
    {
        "",
        "?",
        "-",
        ".",
        "na",
        "n/a",
        "#n/a",
        "nan",
        "null",
        "none",
        "<na>",
        "nat",
        "missing",
        "unknown",
    }
)
"""Words that stand for a missing number or date (in lower case). In a column of categories only the
empty word is missing."""
MOST_CATEGORIES = 40
"""A column of words with more distinct values than this is read as text."""
FEW_CATEGORIES = 10
"""A column of words with no more distinct values than this is read as categories, even if they
hardly repeat."""
_TRUTHS = ({"true"}, {"false"}, {"true", "false"})
_LOOKS_LIKE_DATE = re.compile(r"^\s*\w{1,9}[-/., ]+\w{1,9}[-/., ]+\d{2,4}")


@dataclass(frozen=True)
class Column:
    """How one column is read."""

    name: Hashable
    """Its name in the table."""
    kind: Kind
    """What its values are."""
    n_distinct: int
    """Distinct values, missing ones not counted."""
    n_missing: int
    """Missing values."""
    date_format: str | None = None
    """How dates written as words are spelled, as in `datetime.strptime`."""

    def __str__(self) -> str:
        missing = f", {self.n_missing} missing" if self.n_missing else ""
        return f"{self.name}: {_SENTENCES[self.kind].format(n=self.n_distinct)}{missing}"


_SENTENCES: dict[Kind, str] = {
    "numeric": "numbers ({n} distinct)",
    "categorical": "categories ({n} distinct)",
    "boolean": "true or false",
    "date": "dates ({n} distinct)",
    "text": "text ({n} distinct)",
    "empty": "no values, left out",
}


def read_schema(table: pd.DataFrame, kinds: Mapping[Hashable, Kind] | None = None) -> list[Column]:
    """How each column of `table` is read, in order. `kinds` settles the columns it names."""
    kinds = kinds or {}
    unknown = [name for name in kinds if name not in table.columns]
    if unknown:
        raise ValueError(
            f"kinds names {unknown[0]!r}, which is not a column. The columns are"
            f" {', '.join(map(str, table.columns))}."
        )
    return [read_column(table.iloc[:, i], kinds.get(name)) for i, name in enumerate(table.columns)]


def read_column(values: pd.Series, kind: Kind | None = None) -> Column:
    """How `values` are read; as `kind` where given."""
    found = present(values)
    words = _distinct_words(found) if _holds_words(values) else []
    date_format = None
    if kind is None:
        kind, date_format = _guess(found, words)
    elif kind == "date":
        date_format = find_date_format(words)
    n_distinct = len(words) if _holds_words(values) else found.nunique()
    return Column(values.name, kind, n_distinct, len(values) - len(found), date_format)


def present(values: pd.Series) -> pd.Series:
    """The values that are not missing; a word of nothing but blanks is missing."""
    values = values.loc[values.notna().to_numpy()]
    if _holds_words(values):
        values = values.loc[[not (isinstance(v, str) and not v.strip()) for v in values]]
    return values


def to_numbers(values: pd.Series) -> np.ndarray:
    """Each value as a float; NaN where it is missing or not a number."""
    if _holds_words(values):
        values = pd.Series(values.to_numpy(dtype=object), dtype=object).map(_to_number)
    elif pd.api.types.is_timedelta64_dtype(values.dtype):
        return values.dt.total_seconds().to_numpy(dtype=np.float64)
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def find_date_format(words: list[str]) -> str | None:
    """The one format in which all `words` are dates; None if there is none."""
    words = [w for w in words if w.strip().lower() not in MISSING_WORDS]
    if not words or not all(_LOOKS_LIKE_DATE.match(w) for w in words[:: max(1, len(words) // 50)]):
        return None
    from skrub import ToDatetime

    parser = ToDatetime()
    try:
        parser.fit_transform(pd.Series(words, name="dates"))
    except ValueError:
        return None
    return parser.format_


def as_word(value: object) -> str:
    """The name of a category: 3, 3.0 and "3" are one category."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def _guess(found: pd.Series, words: list[str]) -> tuple[Kind, str | None]:
    """The kind of the present values `found`, whose distinct words are `words`, and how dates are
    spelled in them."""
    dtype = found.dtype
    if len(found) == 0:
        return "empty", None
    if isinstance(dtype, pd.CategoricalDtype):
        return "categorical", None
    if pd.api.types.is_datetime64_any_dtype(dtype) or isinstance(dtype, pd.PeriodDtype):
        return "date", None
    if pd.api.types.is_bool_dtype(dtype) or {word.lower() for word in words} in _TRUTHS:
        return "boolean", None
    if not _holds_words(found) or all(_is_number_or_missing(word) for word in words):
        return "numeric", None
    date_format = find_date_format(words)
    if date_format is not None:
        return "date", date_format
    few = len(words) <= FEW_CATEGORIES or len(words) <= min(MOST_CATEGORIES, len(found) / 2)
    return ("categorical" if few else "text"), None


def _holds_words(values: pd.Series) -> bool:
    return isinstance(values.dtype, pd.StringDtype) or pd.api.types.is_object_dtype(values.dtype)


def _distinct_words(found: pd.Series) -> list[str]:
    """Sorted, so that nothing depends on the order of the rows."""
    return sorted({as_word(value) for value in found})


def _to_number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return np.nan


def _is_number_or_missing(word: str) -> bool:
    return word.lower() in MISSING_WORDS or not np.isnan(_to_number(word))
