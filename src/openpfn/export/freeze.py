"""A context fitted on this machine, as a C constant: the firmware predicts from flash and needs no
memory for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openpfn.export.c_code import RECORD, braced
from openpfn.export.host import HostLibrary
from openpfn.files import write_whole
from openpfn.tables.load import SUFFIXES, Table, load, read_table
from openpfn.tables.schema import read_column, to_numbers

FITTED = "pfn_fitted.h"


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
    """The table that `source` names, as in `tables.load`; the target of a file is by default its
    last column."""
    if target is None and Path(source).suffix.lower() in SUFFIXES:
        target = str(read_table(source).columns[-1])
    return load(source, target)


def context_table(
    source: str, target: str | None = None, max_features: int = 254, max_classes: int = 254
) -> ContextTable:
    """The rows of the table that `source` names, all of whose columns must be numbers.

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
    if len(classes) > max_classes:
        raise ValueError(
            f"{name} holds {len(classes)} classes; the library carries {max_classes}. Raise"
            " max_classes."
        )
    x = np.stack([to_numbers(table.X[column]) for column in table.X.columns], axis=1)
    with np.errstate(
        over="ignore"
    ):  # what float32 does not hold becomes infinite, which fit refuses
        x = x.astype(np.float32)
    return ContextTable(
        source,
        str(table.y.name),
        x,
        y.astype(np.int32),
        tuple(map(str, table.X.columns)),
        tuple(map(str, classes)),
    )


def write_fitted(folder: str | Path, table: ContextTable) -> Path:
    """Fit the library in `folder` on `table`, with this machine's compiler, and write pfn_fitted.h
    beside it; its path.

    Raises ValueError where the library refuses the rows.
    """
    library = HostLibrary(folder)
    status = library.fit(table.x, table.y, len(table.classes))
    if status == "value":
        raise ValueError(
            f"{table.source} holds an infinite value, or one larger than 1e25. Scale its column, or"
            " leave the value empty."
        )
    if status != "ok":
        raise ValueError(
            f"the library refused the rows of {table.source} with PFN_ERROR_{status.upper()}: pfn.h"
            " tells what that means."
        )
    record = Path(folder) / RECORD
    shown = {"context": table.source, "target": table.target}
    write_whole(
        record, json.dumps(json.loads(record.read_text(encoding="utf-8")) | shown, indent=2) + "\n"
    )
    path = Path(folder) / FITTED
    write_whole(path, fitted_header(library.fields(), table))
    return path


def fitted_header(context: np.void, table: ContextTable) -> str:
    """pfn_fitted.h: the context as an initialiser that is C99 and C++ alike."""
    assert context.dtype.names is not None
    fields = ",\n".join(
        f"    /* {name} */ {constant(context[name])}" for name in context.dtype.names
    )
    return (
        f"/* A context fitted on {len(table.x)} rows of {named(table.source)}, to predict"
        f" {named(table.target)}. It stays in flash:\n *     pfn_predict_proba(&pfn_fitted, row,"
        f" proba, &scratch);\n * A row holds {listing(table.features)}. The classes are"
        f" {listing(table.classes)}. */\n#ifndef PFN_FITTED_H\n#define PFN_FITTED_H\n\n#include"
        f' "pfn.h"\n\n#define PFN_FITTED_FEATURES {len(table.features)}\n#define PFN_FITTED_CLASSES'
        f" {len(table.classes)}\n#if PFN_MAX_FEATURES < PFN_FITTED_FEATURES || PFN_MAX_CLASSES <"
        ' PFN_FITTED_CLASSES\n#error "the context has more features or classes than the library is'
        ' compiled for"\n#endif\n\nstatic const pfn_context pfn_fitted ='
        f" {{\n{fields}\n}};\n#endif\n"
    )


def constant(value: Any) -> str:
    """`value`, a field of a C struct, as a C initialiser; what stands at the end of an array and is
    zero is left out, since C fills it."""
    if value.dtype.names is not None and value.ndim == 0:
        return "{" + ", ".join(constant(value[name]) for name in value.dtype.names) + "}"
    if value.ndim == 0:
        return braced(value[None])[1:-1]
    last = max((i for i, part in enumerate(value) if any(part.tobytes())), default=0)
    if value.dtype.names is None:
        return braced(value[: last + 1])
    return "{" + ",\n".join(constant(part) for part in value[: last + 1]) + "}"


def listing(names: Sequence[str]) -> str:
    """Names with their numbers."""
    return ", ".join(f"{number}: {named(name)}" for number, name in enumerate(names))


def named(name: str) -> str:
    """`name` as a comment in C may hold it."""
    return " ".join(name.split()).replace("*/", "* /").replace("/*", "/ *")
