"""What each member sees of a table beyond what its network was trained on, and how that is told."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.estimators.limits.classes import DEFAULT, STRATEGIES, with_classes
from openpfn.estimators.limits.columns import UNKNOWN_WIDTH, with_columns
from openpfn.estimators.limits.rows import SAMPLINGS, rows_per_member, with_rows
from openpfn.estimators.network import Network
from openpfn.estimators.views.ensemble import Member


@dataclass(frozen=True)
class Plan:
    """What an estimator was asked to do at each limit."""

    rows: int | str | None = "auto"
    """`rows_per_member`."""
    subsample: str = "uniform"
    columns: int | str | None = "auto"
    """`columns_per_member`."""
    classes: str = "auto"
    """`many_classes`."""

    def __post_init__(self) -> None:
        _check_choice("subsample", self.subsample, SAMPLINGS)
        _check_choice("many_classes", self.classes, ("auto", *STRATEGIES))
        _check_number("rows_per_member", self.rows, least=2)
        _check_number("columns_per_member", self.columns, least=1)

    @property
    def strategy(self) -> str:
        """How more classes than the network's are told apart."""
        return DEFAULT if self.classes == "auto" else self.classes

    def members(
        self,
        members: list[Member],
        network: Network,
        rows: Float[np.ndarray, "n D"],
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
        categorical: Bool[np.ndarray, " D"],
        n_classes: int | None,
        limit: int | None,
        seed: int,
        n_always: int = 0,
    ) -> tuple[list[Member], dict[str, str]]:
        """Return `members`, each with what it sees of these context rows, and what was done in
        words, by the limit: nothing where all is within the network's. `n_classes` is None for
        numbers. The last `n_always` columns do not count, and are seen by all."""
        told = {}
        n_rows, n_columns = rows.shape
        n_own = n_columns - n_always
        width = self._width(network, n_own)
        if width < n_own:
            own = slice(n_own)
            members = with_columns(members, width, rows[:, own], targets, categorical[own], seed)
            always = tuple(range(n_own, n_columns))
            members = [replace(m, columns=(*(m.columns or ()), *always)) for m in members]
            told["columns"] = f"{len(members)} views see {width} of {n_own} columns each"
            n_columns = width + n_always
        if n_classes is not None and n_classes > network.max_classes:
            present = np.bincount(targets, minlength=n_classes) > 0
            members = with_classes(members, self.strategy, present, network.max_classes, seed)
            told["classes"] = (
                f"{n_classes} classes are told apart by {self.strategy}, in {len(members)} contexts"
                f" of at most {network.max_classes} classes"
            )
        most = self.rows
        if most == "auto":
            args = (n_rows, n_columns, len(members), n_classes is None, limit)
            most = rows_per_member(network, *args)
        if most is not None and int(most) < n_rows:
            # how often groups of classes are shown does not tell how often each class is
            sampling = "uniform" if "classes" in told else self.subsample
            members = with_rows(members, int(most), targets, n_classes, sampling, seed)
            told["rows"] = (
                f"each of {len(members)} views sees a {sampling} sample of at most {most} of"
                f" {n_rows} context rows"
            )
        return members, told

    def _width(self, network: Network, n_columns: int) -> int:
        if self.columns is None:
            return n_columns
        if self.columns != "auto":
            return int(self.columns)
        return min(network.max_columns or UNKNOWN_WIDTH, n_columns)


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(choices)}.")


def _check_number(name: str, value: Any, least: int) -> None:
    if value is None or value == "auto":
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(
            f"{name} is {value!r}, must be 'auto', None for all, or a whole number of at least"
            f" {least}."
        )
