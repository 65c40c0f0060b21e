"""Nodes of decision trees as arrays, all trees side by side: numbering them, and going down."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


def side_by_side(
    sizes: Int[np.ndarray, " T"],
    is_leaf: Bool[np.ndarray, " M"],
    left: Shaped[np.ndarray, " M"],
    right: Shaped[np.ndarray, " M"],
) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, "M 2"]]:
    """Return the roots, and each node's children, of trees of `sizes` nodes whose own numbers of
    left and right children, integers of any kind, are given. A leaf is its own child."""
    roots = sizes.cumsum() - sizes
    first = np.repeat(roots, sizes)
    children = np.stack([left + first, right + first], axis=1)
    itself = np.arange(len(first))[:, None]
    children = np.where(is_leaf[:, None], itself, children)
    return roots.astype(np.int32), children.astype(np.int32)


def descend(
    rows: Float[np.ndarray, "N D"],
    roots: Int[np.ndarray, " T"],
    column: Int[np.ndarray, " M"],
    threshold: Float[np.ndarray, " M"],
    children: Int[np.ndarray, "M 2"],
    depth: int,
    missing_right: Bool[np.ndarray, " M"] | None = None,
) -> Int[np.ndarray, "N T"]:
    """Return the leaf of each row in each tree, at most `depth` steps below its root. Values above
    the threshold go right, missing ones where `missing_right` says so."""
    first = np.arange(len(rows))[:, None] * rows.shape[1]
    cells, below = rows.ravel(), children.ravel()
    if not np.isnan(cells).any():
        missing_right = None
    nodes = np.repeat(roots[None], len(rows), axis=0)
    for _ in range(depth):
        values = cells[first + column[nodes]]
        goes_right = values > threshold[nodes]
        if missing_right is not None:
            goes_right |= np.isnan(values) & missing_right[nodes]
        nodes = below[2 * nodes + goes_right]
    return nodes
