"""Split a table into context and query rows: stratified, random, or by groups."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from openpfn.benchmark.tables.config import HALF, TablesConfig
from openpfn.benchmark.tables.suites import LoadedTable
from openpfn.tables.splits import stratified_split

LEAST_SHARE = 0.4
"""A table that cannot give this share of the context size asked for is not run with it."""

Split = tuple[Int[np.ndarray, " n"], Int[np.ndarray, " q"]]


def n_context(size: str, n_rows: int, max_half: int) -> int | None:
    """Context rows of the context size `size` in a table of `n_rows`, at most half of them; None if
    the table is too small for it."""
    half = n_rows // 2
    n = min(half, max_half if size == HALF else int(size))
    return n if n >= 2 and (size == HALF or n >= LEAST_SHARE * int(size)) else None


def split(table: LoadedTable, n: int, number: int, config: TablesConfig) -> Split:
    """Row numbers of `n` context rows and at most `max_query` query rows, the same for every
    method.

    Classes keep their shares, and each has a context row where `n` allows. Rows of one group stay
    on one side.
    """
    seed = split_seed(table.name, config.seed, number)
    if table.groups is not None:
        return grouped_split(
            table.groups, table.y if table.n_classes else None, n, config.max_query, seed
        )
    if table.n_classes:
        context, query = stratified_split(table.y, n, seed=seed)
        return context, query[: config.max_query]
    shuffled = np.random.default_rng(seed).permutation(len(table.y))
    return shuffled[:n], shuffled[n : n + config.max_query]


def split_seed(table: str, seed: int, number: int) -> int:
    """A seed of its own for each table and split."""
    return int(np.random.SeedSequence([seed, number, *table.encode()]).generate_state(1)[0])


def grouped_split(
    groups: Int[np.ndarray, " N"],
    y: Int[np.ndarray, " N"] | None,
    n: int,
    max_query: int,
    seed: int,
) -> Split:
    """Whole groups, in random order, become context until there are `n` rows; rows of other groups
    are the query.

    Groups that bring a class not yet present (the rarest class first) come first. Rows of the last
    context group that are too many are left out altogether. Raises ValueError if the groups needed
    leave no query row.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(np.unique(groups))
    first = [] if y is None else _groups_with_every_class(groups, y, order)
    taken = [*first, *(int(g) for g in order if g not in set(first))]
    sizes = {g: int((groups == g).sum()) for g in taken}
    n_groups = int(np.searchsorted(np.cumsum([sizes[g] for g in taken]), n)) + 1
    in_context = np.isin(groups, taken[:n_groups])
    context, query = np.flatnonzero(in_context), random.permutation(np.flatnonzero(~in_context))
    if len(query) < 1 or len(context) < n:
        raise ValueError(
            f"{len(sizes)} groups cannot give {n} context rows and a query row of another group."
            " Use a smaller context."
        )
    if y is not None and len(context) > n:
        context = context[stratified_split(y[context], n, seed=seed)[0]]
    return random.permutation(context)[:n], query[:max_query]


def _groups_with_every_class(groups: np.ndarray, y: np.ndarray, order: np.ndarray) -> list[int]:
    """Groups, in `order`, that together hold every class."""
    chosen: list[int] = []
    classes, counts = np.unique(y, return_counts=True)
    for c in classes[np.argsort(counts, kind="stable")]:
        holding = set(groups[y == c])
        if not holding & set(chosen):
            chosen.append(next(int(g) for g in order if g in holding))
    return chosen
