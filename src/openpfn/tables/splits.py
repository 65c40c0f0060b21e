"""Split the rows of a table into context and query rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int


def stratified_split(
    y: Any, n_context: int, *, n_query: int | None = None, seed: int = 0
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " q"]]:
    """Return row numbers of `n_context` context rows and of `n_query` (None: all) other rows.

    Every class has its share of the context rows, and at least one of them where `n_context`
    allows, the most frequent first.
    Raises ValueError when there are not enough rows.
    """
    y = np.asarray(y)
    wanted = n_context + (1 if n_query is None else n_query)
    if n_context < 1 or (n_query is not None and n_query < 1) or wanted > len(y):
        raise ValueError(
            f"cannot take {n_context} context rows and {n_query or 'some'} query rows from {len(y)}"
            " rows. Ask for fewer."
        )
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(y))
    _, labels = np.unique(y, return_inverse=True)
    shares = _shares(np.bincount(labels), n_context)
    # place of each row among the shuffled rows of its class: the first `share` of them are context
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.bincount(labels).cumsum()[:-1]])
    place = np.empty(len(y), dtype=int)
    place[by_class] = np.arange(len(y)) - starts[labels[by_class]]
    is_context = (place < shares[labels])[shuffled]
    return shuffled[is_context], shuffled[~is_context][:n_query]


def context_size(n_rows: int, most: int = 150) -> int:
    """Return the number of context rows by which tables of all sizes are compared: half the rows,
    but at most `most`."""
    return min(most, n_rows // 2)


def _shares(counts: Int[np.ndarray, " k"], n: int) -> Int[np.ndarray, " k"]:
    """Return whole numbers near n·counts/Σcounts that sum to n: one for each class first, then by
    largest remainders."""
    if n < len(counts):
        shares = np.zeros_like(counts)
        shares[np.argsort(-counts, kind="stable")[:n]] = 1
        return shares
    ideal = counts * (n / counts.sum())
    shares = np.maximum(np.floor(ideal).astype(int), 1)
    while shares.sum() < n:
        shares[np.where(shares < counts, ideal - shares, -np.inf).argmax()] += 1
    while shares.sum() > n:
        shares[np.where(shares > 1, shares - ideal, -np.inf).argmax()] -= 1
    return shares
