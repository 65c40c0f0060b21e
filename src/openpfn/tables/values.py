"""The values of a column in one of four plain forms, whichever dtype holds them."""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool

Form = Literal["numbers", "truths", "times", "objects"]

MICROSECONDS = np.dtype("datetime64[us]")
"""The type of all times: it holds every year from 1 to 9999."""
LONGEST_SHOWN = 40
"""Letters of a value that a message shows at most."""


@dataclass(frozen=True)
class ColumnValues:
    """One column of a table, free of the dtype that held it."""

    name: Hashable
    """Name of the column."""
    form: Form
    """What `data` holds: numbers of NumPy's, truth values, times in UTC, or Python objects."""
    data: np.ndarray
    """One entry per row; arbitrary where the value is missing."""
    missing: Bool[np.ndarray, " N"]
    """Rows without a value."""
    categories: tuple[Any, ...] | None = None
    """The categories in the order of the dtype; empty where the dtype has no order of its own, None
    where the column is not declared to hold categories."""
    originals: Any = None
    """The values before they became numbers or times, where these have other names."""

    def __len__(self) -> int:
        return len(self.data)

    def present(self) -> np.ndarray:
        """Return the values that are there; words of nothing but blanks are not."""
        return self.data[~self.missing & ~self.blank()]

    def blank(self) -> Bool[np.ndarray, " N"]:
        """Return which rows hold a word of nothing but blanks."""
        if self.form != "objects":
            return np.zeros(len(self), dtype=bool)
        return np.fromiter(
            (isinstance(v, str) and (not v or v.isspace()) for v in self.data), bool, len(self)
        )

    def words(self) -> list[str | None]:
        """Return each value as a category is named; None where it is missing or blank."""
        if self.originals is not None:
            words = [as_word(v) for v in np.asarray(self.originals, dtype=object)]
        elif self.form == "objects":
            words = [as_word(v) for v in self.data]
        else:
            distinct, place = np.unique(self.data, return_inverse=True)
            if self.form == "times":
                named = [str(pd.Timestamp(v)) for v in distinct]
            else:
                named = [as_word(v) for v in distinct.tolist()]
            words = [named[i] for i in place]
        return [
            None if missing or not word else word
            for word, missing in zip(words, self.missing.tolist(), strict=True)
        ]

    def category_words(self) -> list[str]:
        """Return the names of the declared categories, in the order of the dtype."""
        return [as_word(c) for c in self.categories or ()]


def plain_values(values: pd.Series) -> ColumnValues:
    """Return what `values` hold, whichever dtype they have.

    Periods become the time when they begin, durations and times of day seconds, intervals their
    middle. Raises ValueError, naming the column, for complex numbers, arrays and nested values.
    """
    try:
        return _by_dtype(values.name, values)
    except _UnusableError as error:
        raise ValueError(
            f"column {shown(values.name)} holds {error}, which cannot be used. Turn it into"
            " columns of numbers, words or dates, or leave it out."
        ) from None
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"column {shown(values.name)} of dtype {values.dtype} cannot be read ({error}). Turn it"
            " into numbers, words or dates, or leave it out."
        ) from error


def as_word(value: object) -> str:
    """Return the name of a category: 3, 3.0 and "3" are one category."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip()
    return str(value).strip()


def same_name(word: str) -> str:
    """Return one spelling for names of the same: "1.0" is 1, a day at midnight is the day."""
    if re.fullmatch(r"[+-]?\d+\.0+", word):
        return word.partition(".")[0]
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}[T ]00:00(:00(\.0+)?)?", word):
        return word[:10]
    return word.lower() if word.lower() in ("true", "false") else word


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, as in "1 value" and "2 values"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def shown(value: object) -> str:
    """Return `value` as a message shows it: quoted, and cut where it is long."""
    if isinstance(value, (str, bytes)) and len(value) > LONGEST_SHOWN:
        return repr(value[:LONGEST_SHOWN]) + "…"
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 3 * LONGEST_SHOWN else text[: 3 * LONGEST_SHOWN] + "…"


class _UnusableError(Exception):
    """Raised for what no network can read; the message is a noun phrase."""


def _by_dtype(name: Hashable, values: pd.Series) -> ColumnValues:
    dtype: Any = values.dtype
    if isinstance(dtype, pd.StringDtype):
        return _objects(name, values.array.to_numpy(dtype=object))
    if isinstance(dtype, pd.CategoricalDtype):
        return _categorical(name, values)
    if isinstance(dtype, pd.SparseDtype):
        return _by_dtype(name, values.astype(dtype.subtype))
    if isinstance(dtype, pd.PeriodDtype):
        counts = values.dt.asfreq("s", how="start").astype("int64")
        return replace(_times(name, counts, values.isna(), "s"), originals=values)
    if isinstance(dtype, pd.DatetimeTZDtype):
        values = values.dt.tz_convert(None)
        dtype = values.dtype
    if isinstance(dtype, pd.IntervalDtype):
        return replace(_numbers(name, _middles(values.array), values.isna()), originals=values)
    if isinstance(dtype, pd.ArrowDtype):
        return _arrow(name, values, dtype)
    if isinstance(dtype, np.dtype):
        return _numpy(name, values)
    if pd.api.types.is_bool_dtype(dtype):
        return _truths(name, values)
    if pd.api.types.is_integer_dtype(dtype):
        kind = "uint64" if str(dtype).lower().startswith("u") else "int64"
        return _numbers(name, values.to_numpy(dtype=kind, na_value=0), values.isna())
    if pd.api.types.is_float_dtype(dtype):
        return _numbers(name, values.to_numpy(dtype=np.float64, na_value=np.nan), values.isna())
    return _objects(name, values.astype(object).to_numpy(dtype=object))


def _numpy(name: Hashable, values: pd.Series) -> ColumnValues:
    """Return the values of a column that has a dtype of NumPy's."""
    data = values.to_numpy()
    match data.dtype.kind:
        case "c":
            raise _UnusableError("complex numbers")
        case "b":
            return _truths(name, values)
        case "i" | "u" | "f":
            return _numbers(name, data.astype(data.dtype.newbyteorder("=")), np.isnan(data))
        case "m":
            seconds = values.dt.total_seconds().to_numpy(dtype=np.float64)
            return replace(_numbers(name, seconds), originals=values)
        case "M":
            missing = np.isnat(data)
            return ColumnValues(name, "times", data.astype(MICROSECONDS), missing)
        case _:
            return _objects(name, values.astype(object).to_numpy(dtype=object))


def _arrow(name: Hashable, values: pd.Series, dtype: Any) -> ColumnValues:
    """Return the values of a column that Arrow holds."""
    import pyarrow as pa
    from pyarrow import types

    kind: Any = dtype.pyarrow_dtype
    if types.is_dictionary(kind):
        plain = _by_dtype(name, values.astype(pd.ArrowDtype(kind.value_type)))
        return ColumnValues(name, plain.form, plain.data, plain.missing, ())
    if types.is_nested(kind) and not types.is_map(kind):
        raise _UnusableError(f"nested values ({kind})")
    if types.is_map(kind):
        raise _UnusableError(f"maps ({kind})")
    missing = values.isna().to_numpy(dtype=bool)
    if types.is_boolean(kind):
        return _truths(name, values)
    if types.is_integer(kind):
        target = "uint64" if types.is_unsigned_integer(kind) else "int64"
        return _numbers(name, values.to_numpy(dtype=target, na_value=0), missing)
    if types.is_floating(kind):
        return _numbers(name, values.to_numpy(dtype=np.float64, na_value=np.nan), missing)
    if types.is_timestamp(kind) or types.is_date(kind):
        array: Any = pa.array(values.array)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        array = array.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False)
        counted = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return _times(name, counted, missing, "us")
    if types.is_null(kind):
        return _objects(name, np.full(len(values), None, dtype=object))
    return _objects(name, values.astype(object).to_numpy(dtype=object))


def _categorical(name: Hashable, values: pd.Series) -> ColumnValues:
    """Return the values of declared categories, of which each is converted once."""
    known = values.cat.categories
    plain = _by_dtype(name, pd.Series(known, name="categories"))
    codes = values.cat.codes.to_numpy()
    missing = codes < 0
    if not len(known):
        return ColumnValues(name, "objects", np.full(len(codes), None, object), missing, ())
    codes = np.where(missing, 0, codes)
    missing |= plain.missing[codes]
    names = np.array([as_word(c) for c in known], dtype=object)[codes]
    return ColumnValues(name, plain.form, plain.data[codes], missing, tuple(known), names)


def _numbers(name: Hashable, data: Any, missing: Any = None) -> ColumnValues:
    data = np.asarray(data)
    missing = np.isnan(data) if missing is None else np.asarray(missing, dtype=bool)
    return ColumnValues(name, "numbers", data, missing)


def _truths(name: Hashable, values: pd.Series) -> ColumnValues:
    missing = values.isna().to_numpy(dtype=bool)
    return ColumnValues(name, "truths", values.to_numpy(dtype=bool, na_value=False), missing)


def _times(name: Hashable, counts: Any, missing: Any, unit: str) -> ColumnValues:
    missing = np.asarray(missing, dtype=bool)
    counts = np.where(missing, 0, np.asarray(counts, dtype=np.int64))
    return ColumnValues(name, "times", counts.astype(f"M8[{unit}]").astype(MICROSECONDS), missing)


def _objects(name: Hashable, data: np.ndarray) -> ColumnValues:
    """Return Python objects in the form of their one type, or as they come."""
    missing = np.fromiter((_is_missing(v) for v in data), bool, len(data))
    kinds = {type(v) for v, gone in zip(data, missing, strict=True) if not gone}
    for kind in kinds:
        if issubclass(kind, (complex, np.complexfloating)):
            raise _UnusableError("complex numbers")
        if issubclass(kind, np.ndarray):
            raise _UnusableError("arrays")
    for types, form, convert in _SCALARS:
        if kinds and all(issubclass(kind, types) for kind in kinds):
            blank: Any = False if form == "truths" else np.nan
            blank = np.datetime64("NaT") if form == "times" else blank
            try:
                converted = [
                    blank if gone else convert(v) for v, gone in zip(data, missing, strict=True)
                ]
                dtype = {"truths": np.bool_, "times": MICROSECONDS}.get(form, np.float64)
                array = np.array(converted, dtype=dtype)
                names = None if form == "truths" else data
                return ColumnValues(name, form, array, missing, originals=names)
            except (ValueError, OverflowError):  # beyond the years that a calendar has
                break
    return ColumnValues(name, "objects", data, missing)


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, (str, bytes, bool)):
        return False
    if isinstance(value, (float, np.floating, decimal.Decimal)):
        return value != value
    return isinstance(value, (np.datetime64, np.timedelta64)) and bool(np.isnat(value))


def to_time(value: Any) -> np.datetime64:
    """Return a date or time of any Python type as a time in UTC."""
    if isinstance(value, pd.Period):
        value = value.start_time
    if isinstance(value, pd.Timestamp):
        value = value.tz_convert(None) if value.tzinfo is not None else value
        return value.to_datetime64().astype(MICROSECONDS)
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        offset = value.utcoffset() or datetime.timedelta()
        value = value.replace(tzinfo=None) - offset
    return np.datetime64(value).astype(MICROSECONDS)


def to_seconds(value: Any) -> float:
    """Return a duration, or a time of day since midnight, in seconds."""
    if isinstance(value, datetime.time):
        return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    return float(value / np.timedelta64(1, "s"))


def _middle(interval: pd.Interval) -> float:
    """Return the middle of an interval, or its finite end."""
    left, right = _end(interval.left), _end(interval.right)
    if np.isinf(left) or np.isinf(right):
        return right if np.isinf(left) else left
    return (left + right) / 2


def _end(value: Any) -> float:
    """Return the end of an interval as a number; of dates, days since 1970."""
    if isinstance(value, pd.Timestamp):
        return float((to_time(value) - np.datetime64(0, "us")) / np.timedelta64(1, "D"))
    return to_seconds(value) if isinstance(value, datetime.timedelta) else float(value)


def _middles(intervals: Any) -> list[float]:
    return [_middle(v) if isinstance(v, pd.Interval) else np.nan for v in intervals]


DATES = (datetime.date, np.datetime64, pd.Period)
DURATIONS = (datetime.timedelta, np.timedelta64, datetime.time)
_SCALARS: tuple[tuple[tuple[type, ...], Form, Callable[[Any], Any]], ...] = (
    ((bool, np.bool_), "truths", bool),
    (DATES, "times", to_time),
    (DURATIONS, "numbers", to_seconds),
    ((pd.Interval,), "numbers", _middle),
)
"""Python types that fill a column of objects, the form they become, and how."""


def to_number(value: Any, read: Callable[[str], float]) -> float:
    """Return one Python object as a number, words as `read` reads them; NaN for what is none.

    What a float cannot hold is infinite.
    """
    if isinstance(value, str):
        return read(value)
    if isinstance(value, bytes):
        return read(value.decode("utf-8", "replace"))
    if isinstance(value, DURATIONS):
        return to_seconds(value)
    if isinstance(value, pd.Interval):
        return _middle(value)
    if isinstance(value, (numbers.Number, decimal.Decimal, np.generic)):
        return _to_float(value)
    return np.nan


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return np.inf if value > 0 else -np.inf
    except (TypeError, ValueError):
        return np.nan
