"""`Forest`: extremely randomised trees, and what they say of rows that they were not grown from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import ExtraTreesRegressor

N_TREES = 64
FEWEST_IN_LEAF = 2
"""Rows of a leaf, at least: none holds the target of a single row."""
FEATURES_SHARE = 1 / 3
"""Share of the features of which each question is the best, each with a random threshold."""
CHUNK = 2048
"""Rows that are read together."""


@dataclass(frozen=True)
class Forest:
    """Deep extremely randomised trees (Geurts et al. 2006). Nodes of all trees are numbered
    together.
    """

    roots: Int[np.ndarray, " trees"]
    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    """Features above it go to `right`, others to the next node."""
    right: Int[np.ndarray, " nodes"]
    """0 for leaves."""
    means: Float[np.ndarray, "nodes T"]
    """Means of the targets of the rows in each node."""

    @classmethod
    def fit(
        cls, features: Float[np.ndarray, "n F"], targets: Float[np.ndarray, "n T"]
    ) -> tuple[Forest, Float[np.ndarray, "n T"]]:
        """Return trees that were each grown from n rows drawn with replacement, and what those say
        of each row that did not draw it (out of bag, Breiman 1996)."""
        grown = ExtraTreesRegressor(
            N_TREES,
            min_samples_leaf=FEWEST_IN_LEAF,
            max_features=FEATURES_SHARE,
            bootstrap=True,
            oob_score=True,
            random_state=0,
        )
        seen = features if features.shape[1] else np.zeros((len(features), 1))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a row that all trees drew
            grown.fit(seen, targets if targets.shape[1] > 1 else targets[:, 0])
        trees = [one.tree_ for one in grown.estimators_]
        sizes = np.array([one.node_count for one in trees])
        roots = np.cumsum(sizes) - sizes
        feature, threshold, right = (
            np.concatenate([getattr(one, name) for one in trees])
            for name in ("feature", "threshold", "children_right")
        )
        is_leaf = right < 0
        single = threshold.astype(np.float32)
        # rounded down, the threshold parts numbers of single precision as it did
        single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
        forest = cls(
            roots,
            np.where(is_leaf, 0, feature).astype(np.int32),
            single,
            np.where(is_leaf, 0, right + np.repeat(roots, sizes)).astype(np.int32),
            np.concatenate([one.value[:, :, 0] for one in trees]).astype(np.float32),
        )
        return forest, grown.oob_prediction_.reshape(targets.shape)

    def __call__(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N T"]:
        """Return the mean of what all trees say of rows."""
        said = np.empty((len(features), self.means.shape[1]))
        for i in range(0, len(features), CHUNK):
            said[i : i + CHUNK] = self._means(features[i : i + CHUNK].astype(np.float32))
        return said

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all that was grown, by name."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Forest:
        """Return the trees whose `arrays()` these were."""
        return cls(**arrays)

    def _means(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N T"]:
        row = np.arange(len(features))[:, None]
        node = np.tile(self.roots, (len(features), 1))
        while True:
            right = self.right[node]
            if not right.any():
                return self.means[node].mean(axis=1, dtype=float)
            below = np.where(
                features[row, self.feature[node]] > self.threshold[node], right, node + 1
            )
            node = np.where(right > 0, below, node)
