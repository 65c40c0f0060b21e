"""Labelled tables as the C library reads them: numbers in float32, and which class a row has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openpfn.export.values import check_values
from openpfn.tables.file_format import is_table_file
from openpfn.tables.load import Table, load, read_table
from openpfn.tables.schema import read_column, to_numbers


@dataclass(frozen=True)
class ContextTable:
    """A table as the C library reads it."""

    source: str
    """Where it came from."""
    target: str
    """The column to predict."""
    x: Float[np.ndarray, "n D"]
    """Numbers in float32; NaN is missing."""
    y: Int[np.ndarray, " n"]
    """Which of the classes a row has."""
    features: tuple[str, ...]
    """Names of the columns."""
    classes: tuple[str, ...]
    """Names of the classes, sorted."""


def labelled_table(source: str, target: str | None = None) -> Table:
    """Return the table that `source` names, as `tables.load` does; the target of a file is by
    default its last column."""
    if target is None and is_table_file(Path(source)):
        target = str(read_table(source).columns[-1])
    return load(source, target)


def context_table(
    source: str, target: str | None = None, max_features: int = 254, max_classes: int | None = None
) -> ContextTable:
    """Return the rows of the table that `source` names, all of whose columns must be numbers.

    Raises FileNotFoundError or ValueError where the file, the target, or what the columns hold is
    not as the library needs it.
    """
    table = labelled_table(source, target)
    words = [
        found
        for name in table.X.columns
        if (found := read_column(table.X[name])).kind not in ("numeric", "empty")
    ]
    if words:
        raise ValueError(
            f"the C library reads numbers, but {source} has {words[0]}. Drop the column, or write"
            " it as numbers."
        )
    n_features, name = table.X.shape[1], f"column {table.y.name!r} of {source}"
    if not 1 <= n_features <= max_features:
        raise ValueError(
            f"{source} has {n_features} features; the library carries 1 to {max_features}. Drop"
            " some, or raise max_features."
        )
    classes, y = np.unique(table.y.astype(str).to_numpy(dtype=object), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name} holds {classes[0]!r} alone. Give rows of at least two classes.")
    if max_classes is not None and len(classes) > max_classes:
        raise ValueError(
            f"{name} holds {len(classes)} classes; the library carries {max_classes}. Raise"
            " max_classes."
        )
    x = np.stack([to_numbers(table.X[column]) for column in table.X.columns], axis=1)
    x, features = as_float32(x), tuple(map(str, table.X.columns))
    check_values(x, features, source)
    return ContextTable(
        source,
        str(table.y.name),
        x,
        y.astype(np.int32),
        features,
        tuple(map(str, classes)),
    )


def as_float32(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n D"]:
    """Return `x` in float32; what that does not hold becomes infinite, which is refused."""
    with np.errstate(over="ignore"):
        return x.astype(np.float32)
