"""`NeighbourContext`: any number of classes, told by the context rows that are near in the
network's own space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openpfn.estimators.contexts.classes import ClassContext
from openpfn.estimators.views.ensemble import Member

WIDTHS = np.geomspace(0.01, 1.0, 13)
"""Widths of the kernel, in units of 1 − cosine, to choose from."""
CHOOSING_ROWS = 2000
"""Rows that choose the width at most."""
ROWS_AT_ONCE = 256
"""Query rows that are compared with all context rows together."""
EVEN_VOTES = 1e-3
"""Votes for all classes together, so that none is impossible; the nearest row has one vote."""


class NeighbourContext(ClassContext):
    """Soft nearest neighbours: each context row votes for its class, by how near it is in the space
    that the network's head reads (of a network that shows none, in that of its answers).

    The network is shown groups of classes, by several codes, whose spaces are joined. Context rows
    are placed as query rows are, by a network that was shown the other half of the context: their
    own targets do not decide where they lie. The kernel's width is the one under which rows tell
    each other's classes best.
    """

    space: Float[np.ndarray, "n F"] | None = None
    votes: Int[np.ndarray, " n"] | None = None
    width: float = 0.0

    def read(self) -> None:
        super().read()
        assert self.rows is not None
        assert self.targets is not None
        placed: Any = None
        half = np.arange(self.n_rows) % 2 == 0
        for shown in (half, ~half):
            members = [_within(member, shown) for member in self.members]
            other = ClassContext(
                self.ready_network(),
                members,
                self.rows[shown],
                self.targets[shown],
                self.categorical,
                self.device,
                self.memory_limit,
                n_classes=self.n_classes,
            )
            seen = placed_by(other, self.rows[~shown])
            if placed is None:
                placed = np.empty((self.n_rows, seen.shape[1]), dtype=np.float32)
            placed[~shown] = seen
        self.space, self.votes = placed, self.targets
        self.width = self._best_width()

    def mean_log_probs(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q k"]:
        self.views_and_states()  # reads the context where it was not read yet
        return np.log(self._shares(placed_by(self, rows), self.width))

    def arrays(self) -> dict[str, np.ndarray]:
        self.views_and_states()
        assert self.space is not None
        assert self.votes is not None
        return {"space": self.space, "votes": self.votes, "width": np.asarray(self.width)}

    def take_up(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.space, self.votes = arrays["space"], arrays["votes"]
        self.width = float(arrays["width"])

    def _shares(
        self,
        placed: Float[np.ndarray, "Q F"],
        width: float,
        own: Int[np.ndarray, " Q"] | None = None,
    ) -> Float[np.ndarray, "Q k"]:
        """Return each class's share of the votes; rows do not count for themselves, at `own`."""
        assert self.space is not None
        assert self.votes is not None
        one_hot = np.eye(self.n_classes)[self.votes]
        shares = np.empty((len(placed), self.n_classes))
        for start in range(0, len(placed), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            # in double precision, so that no bit depends on which rows are asked together
            nearness = placed[part].astype(np.float64) @ self.space.T  # (q, n) cosines
            if own is not None:
                nearness[np.arange(len(nearness)), own[part]] = -np.inf
            weights = np.exp((nearness - nearness.max(axis=1, keepdims=True)) / width)
            votes = weights @ one_hot + EVEN_VOTES / self.n_classes
            shares[part] = votes / votes.sum(axis=1, keepdims=True)
        return shares

    def _best_width(self) -> float:
        assert self.space is not None
        assert self.votes is not None
        some = np.arange(min(self.n_rows, CHOOSING_ROWS))  # in canonical order, which is a shuffle
        losses = []
        for width in WIDTHS:
            shares = self._shares(self.space[some], float(width), some)
            losses.append(-np.log(shares[some, self.votes[some]]).mean())
        return float(WIDTHS[int(np.argmin(losses))])


def placed_by(context: ClassContext, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q F"]:
    """Return where rows lie: their unit vectors in the space of each view, side by side."""
    shows_space = hasattr(context.ready_network().model, "embedded")
    ask = "embedded" if shows_space else "read"
    parts: dict[int, list[np.ndarray]] = {}
    for group, _, _, seen in context.answers(rows, ask):
        for view, vectors in zip(group, seen.numpy(), strict=True):
            vectors = np.maximum(vectors, -30.0) if ask == "read" else vectors  # −∞: no class
            norm = np.linalg.norm(vectors, axis=1, keepdims=True)
            parts.setdefault(id(view), []).append(vectors / np.maximum(norm, 1e-12))
    joined = [np.concatenate(some) for some in parts.values()]
    return np.concatenate(joined, axis=1) / np.float32(len(joined) ** 0.5)


def _within(member: Member, shown: np.ndarray) -> Member:
    """Return `member` for the `shown` rows alone."""
    if member.rows is None:
        return member
    rows = np.array(member.rows)
    places = np.cumsum(shown) - 1
    return replace(member, rows=tuple(places[rows[shown[rows]]].tolist()))
