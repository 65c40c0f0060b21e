"""`Believer`: one way to ask, and to continue, whatever says what it believes about the next
row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Predictive
from openpfn.models.inputs import check_classes, check_finite

Choose = Callable[[int, Predictive], Float[Tensor, " S"]]
"""Picks each sequence's next target from the number of the step and what is believed about it."""


class Believer(ABC):
    """A network, an exact posterior or an estimator, asked about rows one after another.

    Targets are numbers, or class indices 0 … `n_classes` − 1. Rows are tensors (S, N, D), as
    `features` makes them of what the user gave.
    """

    reads_x: ClassVar[bool] = True
    """Whether it has inputs at all."""
    reads_prefixes: ClassVar[bool] = False
    """Whether one pass answers about every row given those before it."""
    least_rows: ClassVar[int] = 0
    """Context rows that it needs at least."""
    most_rows: int | None = None
    """Rows that it can read at most, given and drawn; None for any number."""
    n_classes: int | None = None
    """Classes that it tells apart; None where targets are numbers."""
    labels: np.ndarray | None = None
    """What the classes are called by the user; None where they are called by their index."""
    approximation: str | None = None
    """In which way rollouts are approximate; None where they are exact."""
    approximation_error: float | None = None
    """How far an approximate rollout's last prediction is from the exact one, measured."""

    @property
    def device(self) -> torch.device:
        """Where beliefs are."""
        return torch.device("cpu")

    @abstractmethod
    def ask(
        self, x: Float[Tensor, "S n D"] | None, y: Float[Tensor, "S n"], x_query: Tensor | None
    ) -> Predictive:
        """The distribution (S, Q) of the targets of query rows (S, Q, D) given context rows; of
        the one next target (S, 1) where there are no inputs."""

    def roll(
        self,
        x: Float[Tensor, "S N D"] | None,
        y: Float[Tensor, "S P"],
        n_new: int,
        choose: Choose,
    ) -> Float[Tensor, "S N"]:
        """The P targets and `n_new` more, each chosen from what is believed given all rows before;
        `x` holds the inputs of all rows."""
        for step in range(n_new):
            n = y.shape[1]
            parts = (None, None) if x is None else (x[:, :n], x[:, n : n + 1])
            chosen = choose(step, self.ask(parts[0], y, parts[1]))
            y = torch.cat([y, chosen.to(y).view(-1, 1)], dim=1)
        return y

    def joint_log_prob(
        self, x: Float[Tensor, "S N D"] | None, y: Float[Tensor, "S N"], n_given: int
    ) -> Float[Tensor, " S"]:
        """Log-probability of the targets after the first `n_given` rows, one after another."""
        total = torch.zeros(len(y), dtype=torch.float64)
        for n in range(n_given, y.shape[1]):
            seen, query = (None, None) if x is None else (x[:, :n], x[:, n : n + 1])
            belief = self.ask(seen, y[:, :n], query)
            target = y[:, n].view(belief.shape).to(self.device)
            total += belief.log_prob(target).double().cpu().view(-1)
        return total

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        """The rows (an array, a tensor or a DataFrame) as numbers in the order of `ask`."""
        return as_rows(rows)

    def indices(self, y: Any) -> Float[Tensor, "..."]:
        """The targets as numbers, or as class indices. Raises ValueError where one is missing, or
        is no class."""
        found = as_numbers("y", y)
        check_finite(y=found)
        if self.n_classes is not None:
            check_classes(found, self.n_classes)
        return found

    def bytes_per_rollout(self, n_rows: int, n_columns: int) -> int:
        """Bytes that one rollout takes in memory, about."""
        return 64 * n_rows * (n_columns + 8)


def as_numbers(name: str, values: Any) -> Float[Tensor, "..."]:
    """`values` in float64. Raises ValueError where they are no numbers."""
    if isinstance(values, Tensor):
        return values.detach().double()
    array = np.asarray(values)
    if array.dtype == bool:
        array = array.astype(float)
    if array.dtype.kind not in "fiu":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"{name} holds values such as {array.flat[0]!r}, which are no numbers. Encode"
                " them, or give an estimator that reads them, such as PFNClassifier."
            ) from None
    return torch.from_numpy(np.array(array, dtype=np.float64))  # a copy: it may be read-only


def as_rows(rows: Any) -> Float[Tensor, "..."]:
    """Rows of numbers in float64. Raises ValueError where a column holds anything else."""
    return as_numbers("x", rows.to_numpy() if hasattr(rows, "to_numpy") else rows)
