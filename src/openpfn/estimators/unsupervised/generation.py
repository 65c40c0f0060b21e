"""New rows of a table, drawn column by column from what a network believes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state

from openpfn.estimators.unsupervised.base import UnsupervisedEstimator


class _Generator(UnsupervisedEstimator):
    """What reads the table whose rows are imitated."""

    def __init__(self, **parameters: Any) -> None:
        for name, value in parameters.items():
            setattr(self, name, value)


def sample_rows(
    X: Any,
    n_rows: int = 1,
    *,
    checkpoint: str | Path = "auto",
    model: Any = None,
    n_estimators: int = 2,
    device: str = "auto",
    random_state: Any = 0,
    memory_limit: int | None = 2**30,
) -> Any:
    """Return `n_rows` new rows like those of the table `X` (n, D): a DataFrame where `X` is one,
    with its dtypes, else an array.

    The first column is drawn from what the network believes of it in the context of the rows of
    `X`, the second given the first, and so on. Whole numbers stay whole; categories and texts are
    drawn from those of `X`. New rows have no missing cells, save in columns without any value.
    They are independent of each other, and the first of them the same however many are drawn.

    Parameters
    ----------
    X : the table, with numbers, categories, truth values, dates or words.
    n_rows : how many rows to draw.
    checkpoint, model, n_estimators, device, memory_limit : as for `PFNImputer`.
    random_state : int, RandomState or None
        Decides the rows: an integer gives the same at each call.

    Raises ValueError for an empty table, infinite numbers, and a network that cannot predict what
    a column holds.

    >>> import numpy as np
    >>> table = np.array([["a", "u"], ["b", "v"]] * 6, dtype=object)
    >>> sample_rows(table, 3).shape
    (3, 2)
    """
    if not isinstance(n_rows, (int, np.integer)) or n_rows < 1:
        raise ValueError(f"n_rows is {n_rows!r}, must be a whole number of at least 1.")
    source = _Generator(
        checkpoint=checkpoint,
        model=model,
        n_estimators=n_estimators,
        device=device,
        random_state=random_state,
        memory_limit=memory_limit,
    )
    source._check_parameters()
    table = source._table(X, reset=True)
    source.show(table, source._draw_seed())
    conditionals = source.conditionals_
    random = check_random_state(source.seed_)
    uniform = random.random_sample((int(n_rows), table.shape[1]))
    columns: dict[int, pd.Series] = {}
    for i, variable in enumerate(conditionals.variables):
        like = conditionals.table.iloc[:, i]
        if variable.kind == "empty":
            columns[i] = pd.Series([None] * int(n_rows), dtype=like.dtype)
            continue
        before = list(range(i))
        known = _side_by_side(columns, table.columns, int(n_rows))
        drawn = conditionals.of(i, before).drawn(known, uniform[:, i])
        columns[i] = variable.write(drawn, like)
    rows = _side_by_side(columns, table.columns, int(n_rows))
    is_frame = isinstance(X, pd.DataFrame) or hasattr(X, "to_pandas")
    return rows if is_frame else rows.to_numpy(dtype=np.asarray(X).dtype)


def _side_by_side(columns: dict[int, pd.Series], names: pd.Index, n_rows: int) -> pd.DataFrame:
    """Return the columns that are there as a table, named as in the whole one."""
    if not columns:
        return pd.DataFrame(index=range(n_rows))
    return pd.concat(list(columns.values()), axis=1).set_axis(names[: len(columns)], axis=1)
