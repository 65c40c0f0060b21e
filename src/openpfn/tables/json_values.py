"""Labels and names of columns as JSON holds them, and back."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

_FORMS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "timestamp": (pd.Timestamp, lambda v: v.isoformat(), pd.Timestamp),
    "datetime": (
        datetime.datetime,
        lambda v: v.isoformat(),
        datetime.datetime.fromisoformat,
    ),
    "date": (datetime.date, lambda v: v.isoformat(), datetime.date.fromisoformat),
    "time": (datetime.time, lambda v: v.isoformat(), datetime.time.fromisoformat),
    "timedelta": (pd.Timedelta, lambda v: v.isoformat(), pd.Timedelta),
    "duration": (
        datetime.timedelta,
        lambda v: [v.days, v.seconds, v.microseconds],
        lambda parts: datetime.timedelta(*parts),
    ),
    "period": (
        pd.Period,
        lambda v: [v.ordinal, v.freqstr],
        lambda parts: pd.Period(ordinal=parts[0], freq=parts[1]),
    ),
    "decimal": (decimal.Decimal, str, decimal.Decimal),
    "bytes": (bytes, lambda v: v.hex(), bytes.fromhex),
    "tuple": (
        tuple,
        lambda v: [to_json(part) for part in v],
        lambda parts: tuple(from_json(part) for part in parts),
    ),
    "interval": (
        pd.Interval,
        lambda v: [to_json(v.left), to_json(v.right), v.closed],
        lambda parts: pd.Interval(from_json(parts[0]), from_json(parts[1]), parts[2]),
    ),
}
"""Types that JSON lacks, the special ones before the general: how they are written and read."""


def to_json(value: Any) -> Any:
    """Return `value` as JSON holds it: plain values as they are, others with their type.

    Raises TypeError for a type without such a form.
    """
    if isinstance(value, np.generic) and not isinstance(value, (np.datetime64, np.timedelta64)):
        value = value.item()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    for name, (kind, write, _) in _FORMS.items():
        if isinstance(value, kind):
            return {"type": name, "value": write(value)}
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def from_json(value: Any) -> Any:
    """Return the value that `to_json` wrote."""
    if isinstance(value, dict):
        return _FORMS[value["type"]][2](value["value"])
    return value


def name_to_json(name: Any) -> Any:
    """Return the name of a column as JSON holds it; what has no form there becomes a word."""
    try:
        return to_json(name)
    except TypeError:
        return str(name)


def array_to_json(values: np.ndarray) -> dict[str, Any]:
    """Return an array of labels with its type. Raises TypeError for labels without a form."""
    if values.dtype.kind in "mM":  # as the counts that they are
        return {"dtype": values.dtype.str, "counts": values.astype(np.int64).tolist()}
    dtype = "object" if values.dtype == object else values.dtype.str
    return {"dtype": dtype, "values": [to_json(value) for value in values]}


def array_from_json(record: dict[str, Any]) -> np.ndarray:
    """Return the array that `array_to_json` wrote."""
    dtype = np.dtype(record["dtype"])
    if "counts" in record:
        return np.array(record["counts"], dtype=np.int64).astype(dtype)
    values = np.empty(len(record["values"]), dtype=dtype)
    for i, value in enumerate(record["values"]):
        values[i] = from_json(value)
    return values
