"""`Forest`: extremely randomised trees, and what they say of rows that they were not grown from."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.ensemble import ExtraTreesRegressor

from openpfn.tables.nodes import descend, side_by_side
from openpfn.tables.stacking.arrays import Arrays

N_TREES = 64
FEWEST_IN_LEAF = 2
"""Rows of a leaf, at least: none holds the target of a single row."""
FEATURES_SHARE = 1 / 3
"""Share of the features of which each question is the best, each with a random threshold."""


@dataclass(frozen=True)
class Forest(Arrays):
    """Deep extremely randomised trees (Geurts et al. 2006). Nodes of all trees are numbered
    together.
    """

    roots: Int[np.ndarray, " trees"]
    """First node of each tree."""
    feature: Int[np.ndarray, " nodes"]
    threshold: Float[np.ndarray, " nodes"]
    """Largest feature that goes to the left."""
    children: Int[np.ndarray, "nodes 2"]
    """Next nodes to the left and to the right; a leaf is its own."""
    means: Float[np.ndarray, "nodes T"]
    """Means of the targets of the rows in each node."""
    depth: Int[np.ndarray, ""]
    """Most steps from a root to a leaf."""

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
        feature, threshold, left, right = (
            np.concatenate([getattr(one, name) for one in trees])
            for name in ("feature", "threshold", "children_left", "children_right")
        )
        is_leaf = right < 0
        sizes = np.array([one.node_count for one in trees])
        roots, children = side_by_side(sizes, is_leaf, left, right)
        single = threshold.astype(np.float32)
        # rounded down, the threshold parts numbers of single precision as it did
        single = np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
        forest = cls(
            roots,
            np.where(is_leaf, 0, feature).astype(np.int32),
            single,
            children,
            np.concatenate([one.value[:, :, 0] for one in trees]).astype(np.float32),
            np.array(max(one.max_depth for one in trees)),
        )
        return forest, grown.oob_prediction_.reshape(targets.shape)

    def __call__(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N T"]:
        """Return the mean of what all trees say of rows."""
        rows = features.astype(np.float32)
        nodes = self.feature, self.threshold, self.children
        leaf = descend(rows, self.roots, *nodes, int(self.depth))
        return self.means[leaf].mean(axis=1, dtype=float)
