"""`Context`: the rows that resampling starts from, as the model and as the functional see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.believers.base import Believer, as_rows


@dataclass(frozen=True)
class Context:
    """B contexts of n rows each."""

    features: Float[Tensor, "B n V"] | None
    """Inputs as the model reads them; None for models without."""
    x: Float[Tensor, "B n D"] | None
    """Inputs as functionals read them: numbers, or places of rows in `table`."""
    y: Float[Tensor, "B n"]
    """Targets, or class indices."""
    columns: list[str]
    """Names of the columns of x."""
    batched: bool
    """Whether the user gave a batch of contexts."""
    table: Any = None
    """The DataFrame that `x` names rows of; None where `x` holds the inputs."""
    is_table: bool = False
    """Whether the user gave a DataFrame."""

    @property
    def n_rows(self) -> int:
        return self.y.shape[1]

    @property
    def n_columns(self) -> int:
        """Columns of x as functionals read them; 0 where there are none."""
        return len(self.columns)


def context_of(believer: Believer, x: Any, y: Any, *, as_numbers: bool) -> Context:
    """Return the context of `believer`; `as_numbers` where the functional reads columns as numbers.

    Raises ValueError for shapes that do not go together, missing or constant targets, and what the
    model cannot read.
    """
    n_given = 0 if y is None else len(y)
    if n_given == 0 and believer.least_rows:
        raise ValueError(
            "the context is empty, but a table network needs at least one row. Give x and y."
        )
    if not believer.reads_x:
        if x is not None:
            raise ValueError("x is given, but this model has no inputs. Leave x out.")
        return _without_x(believer, y)
    if (x is None) != (y is None):
        raise ValueError("x and y belong together: give both, or neither for an empty context.")
    if y is None:
        return Context(None, None, torch.zeros(1, 0, dtype=torch.float64), [], False)
    if not hasattr(x, "iloc") and np.asarray(x).dtype.kind not in "fiub":
        import pandas as pd

        x = pd.DataFrame(np.asarray(x))
    if hasattr(x, "iloc"):
        return _of_table(believer, x, y, as_numbers)
    rows = as_rows(x)
    if rows.dim() not in (2, 3) or tuple(np.shape(y)) != tuple(rows.shape[:-1]):
        raise ValueError(
            f"x has shape {tuple(rows.shape)} and y {tuple(np.shape(y))}; expected (n, D) and (n,),"
            " or a batch of contexts (B, n, D) and (B, n)."
        )
    batched = rows.dim() == 3
    targets = believer.indices(y)
    features = believer.features(x)
    if not batched:
        rows, targets, features = rows.unsqueeze(0), targets.unsqueeze(0), features.unsqueeze(0)
    if as_numbers:
        _check_columns(rows)
    _check_targets(believer, targets)
    return Context(features, rows, targets, _names(rows.shape[-1]), batched)


def _without_x(believer: Believer, y: Any) -> Context:
    targets = believer.indices(torch.zeros(0) if y is None else y)
    if targets.dim() not in (1, 2):
        raise ValueError(f"y has shape {tuple(targets.shape)}; expected (n,) or (B, n).")
    batched = targets.dim() == 2
    targets = targets if batched else targets.unsqueeze(0)
    _check_targets(believer, targets)
    return Context(None, None, targets, [], batched)


def _of_table(believer: Believer, x: Any, y: Any, as_numbers: bool) -> Context:
    if len(x) != len(y) or np.ndim(y) != 1:
        raise ValueError(
            f"x has {len(x)} rows and y shape {np.shape(y)}; expected one target per row."
        )
    x = x.reset_index(drop=True)
    targets = believer.indices(y).unsqueeze(0)
    _check_targets(believer, targets)
    features = believer.features(x).unsqueeze(0)
    columns = [str(name) for name in x.columns]
    if as_numbers:
        rows = as_rows(x).unsqueeze(0)
        _check_columns(rows)
        return Context(features, rows, targets, columns, False, is_table=True)
    places = torch.arange(len(x), dtype=torch.float64).view(1, -1, 1)
    return Context(features, places, targets, columns, False, x, True)


def _check_targets(believer: Believer, y: Float[Tensor, "B n"]) -> None:
    if believer.n_classes is not None or y.shape[1] < 2:
        return
    constant = (y == y[:, :1]).all(dim=1)
    if bool(constant.any()):
        value = float(y[constant][0, 0])
        raise ValueError(
            f"y is constant: every given row has the target {value:g}, so it tells nothing of its"
            " spread. Give rows that differ, or ask a single row or an empty context."
        )


def _check_columns(rows: Tensor) -> None:
    if not bool(rows.isfinite().all()):
        raise ValueError(
            "x holds NaN or infinite values, of which there are no least squares. Fill them in, or"
            " give an estimator that reads them as functional."
        )


def _names(n_columns: int) -> list[str]:
    return [f"x{i}" for i in range(n_columns)]
