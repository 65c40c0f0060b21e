"""`TaskBatch`: everything a prior tells a model, in one immutable type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class TaskBatch:
    """B supervised tasks of N rows and at most D columns; the first `n_train` rows of each are its
    context.

    Columns at and beyond a task's `n_features` are padding. NaN in `x` is a missing value. In
    classification `y` holds the class indices 0 … `n_classes` − 1 as floats. A model never reads
    `y` of the query rows.
    """

    x: Float[Tensor, "B N D"] | None
    """Column values; None where a task has no inputs."""
    y: Float[Tensor, "B N"]
    """Targets of context and query rows."""
    n_train: int
    """How many leading rows are context; the rest are query rows."""
    n_features: Int[Tensor, " B"] | None = None
    """Columns in use per task; None when every task uses all D."""
    n_classes: Int[Tensor, " B"] | None = None
    """Classes per task; None in regression or when unknown."""
    categorical: Bool[Tensor, "B D"] | None = None
    """Which columns hold category codes; None when unknown."""
    latents: Mapping[str, Tensor] = field(default_factory=lambda: MappingProxyType({}))
    """True parameters behind the tasks, by name, each with a leading axis B."""

    def __post_init__(self) -> None:
        n_rows = self.y.shape[1]
        if not 0 <= self.n_train <= n_rows:
            raise ValueError(
                f"n_train is {self.n_train}, but the tasks have {n_rows} rows. Choose 0 ≤ n_train ≤"
                f" {n_rows}."
            )
        if self.x is not None and self.x.shape[:2] != self.y.shape:
            raise ValueError(
                f"x has shape {tuple(self.x.shape)} and y {tuple(self.y.shape)}: the tasks and rows"
                " of both must agree."
            )

    @property
    def n_tasks(self) -> int:
        return self.y.shape[0]

    @property
    def n_rows(self) -> int:
        return self.y.shape[1]

    @property
    def n_columns(self) -> int:
        """Width D of `x`, padding included."""
        return 0 if self.x is None else self.x.shape[2]

    @property
    def y_context(self) -> Float[Tensor, "B n_train"]:
        return self.y[:, : self.n_train]

    @property
    def y_query(self) -> Float[Tensor, "B Q"]:
        return self.y[:, self.n_train :]

    def to(self, device: torch.device | str) -> TaskBatch:
        """Return the same tasks on `device`."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def tasks(self, index: Any) -> TaskBatch:
        """Return the tasks selected by `index` (a slice, a boolean mask or integer indices along
        the task axis)."""
        return self.map(lambda tensor: tensor[index])

    def map(self, function: Any) -> TaskBatch:
        """Apply `function` to every tensor."""
        changes: dict[str, Any] = {
            f.name: function(value)
            for f in fields(self)
            if isinstance(value := getattr(self, f.name), Tensor)
        }
        return replace(
            self, **changes, latents={name: function(value) for name, value in self.latents.items()}
        )
