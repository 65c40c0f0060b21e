"""`Trees`: ensembles of decision trees as arrays, asked for many rows and trees at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.tables.nodes import descend, side_by_side


@dataclass(frozen=True)
class Trees:
    """V ensembles whose trees' values are added up; the M nodes of all trees side by side."""

    column: Int[np.ndarray, " M"]
    """Column that a node looks at."""
    threshold: Float[np.ndarray, " M"]
    """Largest value that goes to the left; infinite for a leaf."""
    missing_right: Bool[np.ndarray, " M"]
    """Whether missing values go to the right."""
    children: Int[np.ndarray, "M 2"]
    """Next nodes to the left and to the right; a leaf is its own."""
    value: Float[np.ndarray, " M"]
    """What a leaf adds."""
    roots: Int[np.ndarray, " T"]
    """First node of each tree."""
    starts: Int[np.ndarray, " V"]
    """First tree of each ensemble."""
    baseline: Float[np.ndarray, " V"]
    """What each ensemble starts from."""
    depth: Int[np.ndarray, ""]
    """Most steps from a root to a leaf."""

    @classmethod
    def of(cls, fitted: Sequence[Any]) -> Trees:
        """Return the trees of fitted `HistGradientBoostingRegressor`s that know no categories."""
        ensembles = [[tree.nodes for (tree,) in model._predictors] for model in fitted]
        trees = [nodes for ensemble in ensembles for nodes in ensemble]
        sizes = np.array([len(nodes) for nodes in trees])
        nodes = np.concatenate(trees)
        is_leaf = nodes["is_leaf"].astype(bool)
        roots, children = side_by_side(sizes, is_leaf, nodes["left"], nodes["right"])
        lengths = np.array([len(ensemble) for ensemble in ensembles])
        return cls(
            column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int32),
            threshold=np.where(is_leaf, np.inf, nodes["num_threshold"]),
            missing_right=~is_leaf & (nodes["missing_go_to_left"] == 0),
            children=children,
            value=np.where(is_leaf, nodes["value"], 0.0),
            roots=roots,
            starts=(lengths.cumsum() - lengths).astype(np.int64),
            baseline=np.array([float(np.ravel(m._baseline_prediction)[0]) for m in fitted]),
            depth=np.array(nodes["depth"].max(), dtype=np.int64),
        )

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return the sums of all ensembles for each of `rows`."""
        nodes = self.column, self.threshold, self.children
        leaves = descend(rows, self.roots, *nodes, int(self.depth), self.missing_right)
        sums = np.add.reduceat(self.value[leaves], self.starts, axis=1)  # (N, V)
        return self.baseline + sums

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""
        return dict(vars(self))
