"""`StackedScores`: what five simple models say of each row's target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from openpfn.files import below
from openpfn.tables.stacking.arrays import Arrays
from openpfn.tables.stacking.boosting import BoostedTrees
from openpfn.tables.stacking.features import RowFeatures
from openpfn.tables.stacking.forest import Forest
from openpfn.tables.stacking.ridge import Linear, Quadratic, solve
from openpfn.tables.stacking.trees import RandomTrees

FEWEST_ROWS = 10
"""Rows below which nobody should ask for scores: each row weighs too much in what others are
told."""
FEWEST_ROWS_FOR_TREES = 100
"""Rows below which trees whose questions the targets choose say too little."""
MOST_ROWS = 2000
"""Rows from which the scores are learnt, at most: the first ones."""
CHUNK = 512
"""Rows that are scored together."""
MOST_FEATURES_IN_PAIRS = 300
"""Features whose products are learnt from; of more, single ones alone are."""


@dataclass(frozen=True)
class StackedScores:
    """Ridge regressions of T target columns on single features of D columns, on products of pairs,
    and on the leaves of random trees; boosted trees, and a forest of deep ones. Each sees structure
    that the others miss.

    The rows that they were fitted to must not be shown their own scores, but those that `fit`
    returns beside.
    """

    features: RowFeatures
    trees: RandomTrees
    linear: Linear
    quadratic: Quadratic | None
    """None where there are too many features."""
    of_leaves: Linear
    boosted: BoostedTrees | None
    """None of few rows, and in files of versions whose scores had none."""
    forest: Forest | None
    """None where `boosted` is."""

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "n D"],
        is_code: Bool[np.ndarray, " D"],
        targets: Float[np.ndarray, "n T"],
    ) -> tuple[StackedScores, Float[np.ndarray, "n S"]]:
        """Return the scores, and those of the rows themselves: each from the rows of other folds,
        as far as they were learnt from. `is_code` marks columns of codes; NaN is a missing value.
        """
        learnt, told = rows[:MOST_ROWS], targets[:MOST_ROWS]
        features, trees = RowFeatures.fit(learnt, is_code), RandomTrees.fit(learnt, is_code)
        x, values = features(learnt), trees.values(learnt)
        leaves = trees(values)
        single = solve(x @ x.T, told)
        in_trees = solve((leaves @ leaves.T).toarray(), told)
        solutions, quadratic = [single, in_trees], None
        if x.shape[1] <= MOST_FEATURES_IN_PAIRS:
            width = Quadratic.width(x)
            in_pairs = solve(Quadratic.gram(x, width), told)
            quadratic = Quadratic.of(x, width, in_pairs)
            solutions.insert(1, in_pairs)
        own = [one.out_of_fold for one in solutions]
        boosted = forest = None
        if len(learnt) >= FEWEST_ROWS_FOR_TREES:
            boosted, left_out = BoostedTrees.fit(values, trees.weight, told)
            forest, out_of_bag = Forest.fit(x, told)
            own += [left_out, out_of_bag]
        by_ridge = Linear.of(x, single), quadratic, Linear.of(leaves, in_trees)
        scores = cls(features, trees, *by_ridge, boosted, forest)
        return scores, np.concatenate([np.concatenate(own, axis=1), scores(rows[MOST_ROWS:])])

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N S"]:
        """Return the scores of other rows than those that were fitted: all targets by one model,
        then by the next."""
        chunks = [self._of_chunk(rows[i : i + CHUNK]) for i in range(0, max(len(rows), 1), CHUNK)]
        return np.concatenate(chunks)

    def _of_chunk(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N S"]:
        x, values = self.features(rows), self.trees.values(rows)
        said = [self.linear(x)]
        if self.quadratic is not None:
            said.append(self.quadratic(x))
        said.append(self.of_leaves(self.trees(values)))
        if self.boosted is not None:
            said.append(self.boosted(values))
        if self.forest is not None:
            said.append(self.forest(x))
        return np.concatenate(said, axis=1)

    @property
    def n_columns(self) -> int:
        """Number of columns that they add."""
        models = self.linear, self.quadratic, self.of_leaves, self.boosted, self.forest
        return sum(one is not None for one in models) * len(self.linear.offset)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was fitted, by name."""
        parts = {name: part.arrays() for name, part in vars(self).items() if part is not None}
        return {f"{part}/{name}": a for part, arrays in parts.items() for name, a in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> StackedScores:
        """Return the scores whose `arrays()` these were."""
        saved = {name: below(f"{name}/", arrays) for name in PARTS}
        parts: dict[str, Any] = {
            name: PARTS[name].from_arrays(found) if found else None for name, found in saved.items()
        }
        return cls(**parts)


PARTS: dict[str, type[Arrays]] = {
    "features": RowFeatures,
    "trees": RandomTrees,
    "linear": Linear,
    "quadratic": Quadratic,
    "of_leaves": Linear,
    "boosted": BoostedTrees,
    "forest": Forest,
}
"""What each field of `StackedScores` is, where there is one."""
