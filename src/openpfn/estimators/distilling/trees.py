"""`Trees`: ensembles of decision trees as arrays, asked for many rows and trees at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


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
        roots = sizes.cumsum() - sizes
        nodes = np.concatenate(trees)
        first = np.repeat(roots, sizes)
        is_leaf = nodes["is_leaf"].astype(bool)
        children = np.stack([nodes["left"] + first, nodes["right"] + first], axis=1)
        itself = np.arange(len(nodes))[:, None]
        lengths = np.array([len(ensemble) for ensemble in ensembles])
        return cls(
            column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int32),
            threshold=np.where(is_leaf, np.inf, nodes["num_threshold"]),
            missing_right=~is_leaf & (nodes["missing_go_to_left"] == 0),
            children=np.where(is_leaf[:, None], itself, children).astype(np.int32),
            value=np.where(is_leaf, nodes["value"], 0.0),
            roots=roots.astype(np.int32),
            starts=(lengths.cumsum() - lengths).astype(np.int64),
            baseline=np.array([float(np.ravel(m._baseline_prediction)[0]) for m in fitted]),
            depth=np.array(nodes["depth"].max(), dtype=np.int64),
        )

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return the sums of all ensembles for each of `rows`."""
        first = np.arange(len(rows))[:, None] * rows.shape[1]
        cells, children = rows.ravel(), self.children.ravel()
        has_gaps = bool(np.isnan(cells).any())
        nodes = np.repeat(self.roots[None], len(rows), axis=0)  # (N, T)
        for _ in range(int(self.depth)):
            values = cells[first + self.column[nodes]]
            goes_right = values > self.threshold[nodes]
            if has_gaps:
                goes_right |= np.isnan(values) & self.missing_right[nodes]
            nodes = children[2 * nodes + goes_right]
        sums = np.add.reduceat(self.value[nodes], self.starts, axis=1)  # (N, V)
        return self.baseline + sums

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""
        return dict(vars(self))
