"""Test vectors: context rows and queries for an exported library, from a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openpfn.export.tables import as_float32, context_table, labelled_table
from openpfn.export.values import check_sizes, check_values
from openpfn.tables.encode import TableEncoder


@dataclass(frozen=True)
class Vectors:
    """Rows that the library is shown and rows that it is asked."""

    x: Float[np.ndarray, "n D"]
    """Context rows, float32; NaN is missing."""
    y: Int[np.ndarray, " n"]
    """Their labels, 0 … n_classes − 1."""
    queries: Float[np.ndarray, "Q D"]
    """Rows to predict, float32."""
    n_classes: int
    cached_rows: int = 0
    """Context rows whose cells fit into the row cache."""

    def header(self) -> str:
        """Return pfn_vectors.h."""
        sizes = {
            "N_ROWS": len(self.x),
            "N_FEATURES": self.x.shape[1],
            "N_CLASSES": self.n_classes,
            "N_QUERIES": len(self.queries),
            "CACHED_ROWS": self.cached_rows,
        }
        lines = [f"#define {name} {value}" for name, value in sizes.items()]
        named = {"context_x": self.x, "query_x": self.queries}
        tables = [
            f"static const float {name}[] = {{{_floats(array)}}};" for name, array in named.items()
        ]
        labels = f"static const int32_t context_y[] = {{{', '.join(map(str, self.y))}}};"
        return "\n".join([*lines, "#include <math.h>", *tables, labels]) + "\n"


def table_vectors(
    source: str,
    target: str | None,
    record: dict[str, Any],
    n_rows: int,
    n_queries: int,
    cached_rows: int = 0,
) -> Vectors:
    """Return shuffled context rows and queries from the table `source`, within the maxima of the
    export that `record` describes. Raises ValueError for a table without rows or values that the
    library takes."""
    table = labelled_table(source, target)
    encoder = TableEncoder().fit(table.X)
    x = as_float32(encoder.transform(table.X)[:, : record["max_features"]])
    labels = np.unique(table.y.to_numpy(), return_inverse=True)[1].astype(np.int32)
    x, labels = x[labels < record["max_classes"]], labels[labels < record["max_classes"]]
    if len(x) < 2 or x.shape[1] == 0:
        raise ValueError(
            f"{source} has {len(x)} rows and {x.shape[1]} columns with values. Give a table of at"
            " least two rows and one such column."
        )
    order = np.random.default_rng(0).permutation(len(labels))
    n_rows = min(n_rows, len(labels) - 1)
    context, queries = order[:n_rows], order[n_rows : n_rows + n_queries]
    read = zip(encoder.columns, encoder.encoders, strict=True)
    names = [str(column.name) for column, encode in read for _ in range(encode.n_out)]
    check_values(x[context], names, source)
    check_sizes(x[queries], names, source)
    return Vectors(x[context], labels[context], x[queries], int(labels.max()) + 1, cached_rows)


def frozen_vectors(
    folder: Path, record: dict[str, Any], source: str | None, target: str | None, n_queries: int
) -> Vectors:
    """Return the rows behind pfn_fitted.h in `folder`, and queries from the table `source` (the
    same one, if absent). Raises ValueError where no context was frozen."""
    if "context" not in record:
        raise ValueError(
            f"{folder} holds no frozen context. Write one with openpfn export c --context TABLE."
        )
    shown = context_table(record["context"], record["target"])
    asked = shown if source is None else context_table(source, target)
    if asked.features != shown.features:
        columns = [", ".join(names) for names in (asked.features, shown.features)]
        raise ValueError(
            f"{asked.source} has the columns {columns[0]}, not {columns[1]}. Give the same ones."
        )
    queries = asked.x[:n_queries]
    check_sizes(queries, asked.features, asked.source)
    return Vectors(shown.x, shown.y, queries, len(shown.classes))


def _floats(array: Float[np.ndarray, "n D"]) -> str:
    return ", ".join(
        "NAN" if np.isnan(value) else f"{value:.9e}f"
        for value in np.asarray(array, dtype=np.float32).ravel()
    )
