"""`Trees`: ensembles of decision trees as arrays, asked for many rows and trees at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Trees:
    """V ensembles whose trees' values are added up, all nodes side by side."""

    column: Int[np.ndarray, " M"]
    """Column that a node looks at."""
    threshold: Float[np.ndarray, " M"]
    """Largest value that goes to the left."""
    missing_left: Bool[np.ndarray, " M"]
    """Whether missing values go to the left."""
    left: Int[np.ndarray, " M"]
    """Next node for what goes to the left; a leaf is its own."""
    right: Int[np.ndarray, " M"]
    """Next node for the rest."""
    value: Float[np.ndarray, " M"]
    """What a leaf adds."""
    roots: Int[np.ndarray, " T"]
    """First node of each tree."""
    ends: Int[np.ndarray, " V"]
    """Where the trees of each ensemble end."""
    baseline: Float[np.ndarray, " V"]
    """What each ensemble starts from."""

    @classmethod
    def of(cls, fitted: Sequence[Any]) -> Trees:
        """Return the trees of fitted `HistGradientBoostingRegressor`s that know no categories."""
        ensembles = [[tree.nodes for (tree,) in model._predictors] for model in fitted]
        trees = [nodes for ensemble in ensembles for nodes in ensemble]
        sizes = np.array([len(nodes) for nodes in trees], dtype=np.int64)
        starts = np.concatenate([[0], sizes.cumsum()[:-1]]).astype(np.int64)[: len(sizes)]
        nodes = np.concatenate(trees)
        start = np.repeat(starts, sizes)
        is_leaf = nodes["is_leaf"].astype(bool)
        itself = np.arange(len(nodes))
        return cls(
            column=np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int32),
            threshold=np.where(is_leaf, 0.0, nodes["num_threshold"]),
            missing_left=nodes["missing_go_to_left"].astype(bool),
            left=np.where(is_leaf, itself, nodes["left"] + start).astype(np.int32),
            right=np.where(is_leaf, itself, nodes["right"] + start).astype(np.int32),
            value=np.where(is_leaf, nodes["value"], 0.0),
            roots=starts.astype(np.int32),
            ends=np.cumsum([len(ensemble) for ensemble in ensembles], dtype=np.int64),
            baseline=np.array([float(np.ravel(m._baseline_prediction)[0]) for m in fitted]),
        )

    def __call__(self, rows: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N V"]:
        """Return the sums of all ensembles for each of `rows`."""
        numbers = np.arange(len(rows))[:, None]
        nodes = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        while True:
            values = rows[numbers, self.column[nodes]]  # (N, T)
            goes_left = (values <= self.threshold[nodes]) | (
                np.isnan(values) & self.missing_left[nodes]
            )
            following = np.where(goes_left, self.left[nodes], self.right[nodes])
            if (following == nodes).all():
                break
            nodes = following
        added = np.split(self.value[nodes], self.ends[:-1], axis=1)
        return self.baseline + np.stack([part.sum(axis=1) for part in added], axis=1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of it by name."""
        return dict(vars(self))
