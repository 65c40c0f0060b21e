"""The cells of a real table as tensors, for tasks that are drawn from its rows."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openpfn.tables.encode import TableEncoder
from openpfn.tables.schema import Column
from openpfn.tables.table import Table


def read_cells(
    table: Table,
) -> tuple[Float[np.ndarray, "T D"], list[str], Bool[Tensor, " D"], Bool[Tensor, " D"]]:
    """Return the columns as numbers, their names, which hold codes, and which codes are to be made
    anew for each task's context. Columns of free text (with a warning) and of a single value are
    left out. Raises ValueError where none is left, or a value lies beyond float32."""
    encoder = TableEncoder().fit(table.X, table.kinds)
    used = [i for i, column in enumerate(encoder.columns) if _is_used(column)]
    text = [str(column.name) for column in encoder.columns if column.kind == "text"]
    if text:
        warnings.warn(
            f"columns of free text in {table.name} are left out: {', '.join(text)}.", stacklevel=4
        )
    if not used:
        raise ValueError(
            f"{table.name} has no column of numbers or categories with two distinct values. Choose"
            " another table."
        )
    parts = [encoder.encoders[i](table.X.iloc[:, i]) for i in used]
    columns = [
        encoder.columns[i]
        for i, part in zip(used, parts, strict=True)
        for _ in range(part.shape[1])
    ]
    values = np.concatenate(parts, axis=1).astype(np.float32)
    if np.isinf(values).any():
        worst = columns[int(np.isinf(values).any(0).argmax())].name
        raise ValueError(
            f"column {worst!r} of {table.name} has values beyond float32. Rescale it, or make them"
            " missing."
        )
    categorical = torch.tensor([column.kind in ("categorical", "boolean") for column in columns])
    coded = torch.tensor([column.kind == "categorical" for column in columns])
    return values, [str(column.name) for column in columns], categorical, coded


def _is_used(column: Column) -> bool:
    return column.kind not in ("text", "empty") and column.n_distinct > 1


def codes_of_context(x: Float[Tensor, "B N D"], n_train: int) -> Float[Tensor, "B N D"]:
    """Return, per column, each value's place among the distinct values of the context rows; NaN
    where the context lacks it."""
    values = x.transpose(1, 2).nan_to_num(nan=torch.inf).contiguous()  # (B, D, N)
    known = values[..., :n_train].sort(-1)[0]  # missing ones last
    is_new = torch.zeros_like(known, dtype=torch.long)
    is_new[..., 1:] = known[..., 1:] != known[..., :-1]
    code = is_new.cumsum(-1)
    place = torch.searchsorted(known, values).clamp(max=n_train - 1)
    found = (known.gather(-1, place) == values) & values.isfinite()
    codes = torch.where(found, code.gather(-1, place).to(x.dtype), torch.nan)
    return codes.transpose(1, 2)
