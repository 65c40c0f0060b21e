"""Ensemble members: different views of one table for one network, so that its answers can be
averaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.estimators.views.targets import Plain, Power, TargetTransform
from openpfn.estimators.views.transforms import (
    NormalScores,
    PrincipalComponents,
    SoftClip,
    Standardise,
    Transform,
)

Variant = Literal["plain", "normal", "squashed", "rotated"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
"""How a member sees the columns: as they are; as normal scores of their ranks, categories coded by
frequency; softly clipped around the median; as they are plus their principal components."""
TRANSFORMS: dict[Variant, tuple[Any, ...]] = {
    "plain": (Standardise,),
    "normal": (Standardise, NormalScores),
    "squashed": (Standardise, SoftClip),
    "rotated": (Standardise, PrincipalComponents),
}
"""Transforms that each variant applies, in turn."""
TARGETS: dict[str, Any] = {"plain": Plain, "power": Power}
"""How a member may see targets that are numbers."""


@dataclass(frozen=True)
class Member:
    """One view of a table."""

    variant: Variant = "plain"
    """How the columns are transformed."""
    shift: int = 0
    """Class c is shown to the network as (c + shift) modulo the number of classes."""
    seed: int | None = None
    """Seed of the column order; None keeps the table's order."""
    target: Literal["plain", "power"] = "plain"
    """How targets that are numbers are transformed."""
    columns: tuple[int, ...] | None = None
    """Columns of the table that it sees; None for all."""
    rows: tuple[int, ...] | None = None
    """Context rows that it sees; None for all."""
    code: tuple[int, ...] | None = None
    """What each class is to it, 0, 1, …: classes of the same number are one to it, rows of classes
    with −1 are not shown. None tells all classes apart."""

    log_weights: tuple[float, ...] | None = None
    """Added to what it says of each class, to make up for rows of it that are left out."""

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Member:
        """Return the member whose fields these are, with lists, as JSON has them, for tuples."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in record.items()
        }
        return cls(**fields)

    def n_shown(self, n_classes: int) -> int:
        """Return how many of `n_classes` it tells apart."""
        return n_classes if self.code is None else max(self.code) + 1

    @property
    def is_whole(self) -> bool:
        """Whether its answer covers all classes."""
        return self.code is None or min(self.code) >= 0


def draw_members(n_members: int, n_classes: int, seed: int) -> list[Member]:
    """Return members: the first is plain, the others go through variants and class shifts in turn,
    each with its own column order."""
    for_shifts, for_orders = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    turns = -(-n_members // n_classes)
    # every shift comes equally often: the network's preference for a position then averages out
    shifts = np.concatenate(
        [np.arange(n_classes), *[for_shifts.permutation(n_classes) for _ in range(turns)]]
    )
    seeds = for_orders.integers(2**31, size=n_members)
    return [
        Member(VARIANTS[i % len(VARIANTS)], int(shifts[i]), int(seeds[i]) if i else None)
        for i in range(n_members)
    ]


def draw_members_for_numbers(n_members: int, seed: int) -> list[Member]:
    """Return the members of `draw_members`, every other one with a transformed target; which of
    each four these are alternates, so that each variant of the columns comes with both."""
    return [
        replace(member, target="power" if (i + i // len(VARIANTS)) % 2 else "plain")
        for i, member in enumerate(draw_members(n_members, 1, seed))
    ]


class View:
    """Member fitted to context rows, which turns rows of the table into what the network reads."""

    def __init__(
        self,
        member: Member,
        transforms: list[Transform],
        order: Int[np.ndarray, " V"],
        categorical: Bool[np.ndarray, " V"],
        target: TargetTransform,
    ) -> None:
        self.member, self.transforms, self.order, self.categorical = (
            member,
            transforms,
            order,
            categorical,
        )
        self.target = target

    @classmethod
    def fit(
        cls,
        member: Member,
        context: Float[np.ndarray, "n D"],
        categorical: Bool[np.ndarray, " D"],
        targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"] | None = None,
    ) -> View:
        """Return `member` fitted to context rows and their targets; `categorical` marks the columns
        of codes. Only members that transform the target, or leave rows out, need it."""
        transforms: list[Transform] = []
        chosen = context_rows(member, targets)
        if chosen is not None:
            assert targets is not None
            context, targets = context[chosen], targets[chosen]
        if member.columns is not None:
            context, categorical = context[:, member.columns], categorical[list(member.columns)]
        shown = context
        for kind in TRANSFORMS[member.variant]:
            if transforms:
                shown = transforms[-1](shown)
            transforms.append(kind.fit(shown, categorical))
        n_columns = transforms[-1](shown[:1]).shape[1]
        order = (
            np.arange(n_columns)
            if member.seed is None
            else np.random.default_rng(member.seed).permutation(n_columns)
        )
        flags = np.concatenate([categorical, np.zeros(n_columns - len(categorical), dtype=bool)])
        target = Plain() if targets is None else TARGETS[member.target].fit(targets + 0.0)
        return cls(member, transforms, order, flags[order], target)

    @property
    def width(self) -> int:
        """Number of columns that the network sees."""
        return len(self.order)

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return `rows` as the network sees them."""
        if self.member.columns is not None:
            rows = rows[:, self.member.columns]
        for transform in self.transforms:
            rows = transform(rows)
        return rows[:, self.order].astype(np.float32)

    def show_classes(self, y: Int[np.ndarray, " n"], n_classes: int) -> Int[np.ndarray, " n"]:
        """Return canonical class indices as this member shows them to the network."""
        return self.class_order(n_classes)[y]

    def class_order(self, n_classes: int) -> Int[np.ndarray, " k"]:
        """Return the place of each canonical class in the network's answer; −1 where it is not in
        there."""
        code = np.arange(n_classes) if self.member.code is None else np.array(self.member.code)
        shown = (code + self.member.shift) % self.member.n_shown(n_classes)
        return np.where(code < 0, -1, shown)

    def thinned(self, most: int) -> View:
        """Return the same view with at most `most` single values of each column of numbers."""
        return View(
            self.member,
            [transform.thinned(most) for transform in self.transforms],
            self.order,
            self.categorical,
            self.target,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by name."""
        fitted = {
            f"{i}.{name}": array
            for i, transform in enumerate(self.transforms)
            for name, array in transform.arrays().items()
        }
        fitted |= {f"target.{name}": array for name, array in self.target.arrays().items()}
        return fitted | {"order": self.order, "categorical": self.categorical}

    @classmethod
    def from_arrays(cls, member: Member, arrays: Mapping[str, np.ndarray]) -> View:
        """Return the view of `member` whose `arrays()` these were."""
        transforms = [
            kind(**_of(f"{i}.", arrays)) for i, kind in enumerate(TRANSFORMS[member.variant])
        ]
        target = TARGETS[member.target](**_of("target.", arrays))
        return cls(member, transforms, arrays["order"], arrays["categorical"], target)


def context_rows(
    member: Member, targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"] | None
) -> Int[np.ndarray, " m"] | None:
    """Return which context rows `member` sees; None for all."""
    chosen = None if member.rows is None else np.array(member.rows, dtype=np.int64)
    if member.is_whole or targets is None:
        return chosen
    chosen = np.arange(len(targets)) if chosen is None else chosen
    return chosen[np.array(member.code)[targets[chosen]] >= 0]


def _of(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays whose name begins with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
