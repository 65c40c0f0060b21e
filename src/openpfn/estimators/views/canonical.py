"""Orders of classes and rows that come from the data alone, so that neither names nor the order of
rows matter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float, Int


def canonical_order(
    context: Float[np.ndarray, "n D"], labels: Int[np.ndarray, " n"], n_classes: int
) -> tuple[Int[np.ndarray, " k"], list[list[int]]]:
    """Return the classes in canonical order, and the groups of places whose classes have the same
    rows.

    Frequent classes come first; among equally frequent ones, those with the smaller mean in the
    first column where the means differ; then those whose sorted rows come first. What still ties
    has identical rows: nothing but a name tells such classes apart, so they deserve equal
    probabilities.
    """
    keys = [_key(context[labels == c]) for c in range(n_classes)]
    order = sorted(range(n_classes), key=keys.__getitem__)
    groups = [
        list(group) for _, group in groupby(range(n_classes), key=lambda place: keys[order[place]])
    ]
    return np.array(order), [group for group in groups if len(group) > 1]


N_FOLDS = 5


def folds(
    n_rows: int, n_folds: int = N_FOLDS
) -> Iterator[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Yield masks of the rows inside and outside each fold, of rows in canonical order. No target
    decides which fold a row is in."""
    fold = np.arange(n_rows) % n_folds
    for held_out in range(min(n_folds, n_rows)):
        yield fold != held_out, fold == held_out


def row_order(
    context: Float[np.ndarray, "n D"], targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Return the order of the rows of a context that these and their targets alone decide.

    Sums over rows then round alike: the same rows give the same bits, however they come. The order
    is a fixed shuffle of the sorted rows, so that neighbours are no more alike than others. Targets
    count among equal rows only.
    """
    order = np.lexsort([targets, *context.T[::-1]])
    return order[np.random.default_rng(0).permutation(len(order))]


def _key(rows: Float[np.ndarray, "n D"]) -> tuple[int, tuple[float, ...], bytes]:
    rows = rows + 0.0  # −0 and 0 are one number
    present = ~np.isnan(rows)
    # summed in the order of size, so that the order of the rows does not touch the last bits
    totals = np.sort(np.where(present, rows, 0.0), axis=0).sum(axis=0)
    means = np.where(present.any(axis=0), totals / np.maximum(present.sum(axis=0), 1), np.inf)
    filled = np.where(present, rows, np.inf)
    return -len(rows), tuple(means.tolist()), filled[np.lexsort(filled.T[::-1])].tobytes()
