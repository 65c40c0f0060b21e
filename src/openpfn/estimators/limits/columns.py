"""More columns than a network was trained on: members that see some of them, so that each column is
seen equally often and informative ones more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.estimators.views.ensemble import Member

UNKNOWN_WIDTH = 100
"""Columns that a network is shown at most where it is not known how many it was trained on."""
MOST_MEMBERS = 32
"""Members at most; of more columns than these can see, the least informative are left out."""
SLOTS_PER_COLUMN = 1.25
"""Places in all members together for each column, at least: a fifth of them is for seeing the
informative ones again."""
EVENLY = 0.5
"""Share of the places that are spread evenly over all columns."""
MOST_BINS = 8
"""Quantiles that a column of numbers is cut at, or most frequent codes, to see what it tells."""
TARGET_BINS = 5
"""Quantiles that a target of numbers is cut at."""


def with_columns(
    members: list[Member],
    width: int,
    rows: Float[np.ndarray, "n D"],
    targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    categorical: Bool[np.ndarray, " D"],
    seed: int,
) -> list[Member]:
    """Return members that see `width` of the D columns each; more of them where these would not
    hold all columns, up to `MOST_MEMBERS`.

    What a column tells of the target, by these context rows alone, decides how often it is seen.
    """
    n_columns = rows.shape[1]
    n_members = min(int(np.ceil(SLOTS_PER_COLUMN * n_columns / width)), MOST_MEMBERS)
    n_members = max(n_members, len(members))
    told = information(rows, targets, categorical)
    times = times_seen(told, n_members, width)
    subsets = _deal(times, n_members, width, np.random.default_rng([seed, 2]))
    return [
        replace(_repeated(members, i, seed), columns=tuple(subset.tolist()))
        for i, subset in enumerate(subsets)
    ]


def information(
    rows: Float[np.ndarray, "n D"],
    targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    categorical: Bool[np.ndarray, " D"],
) -> Float[np.ndarray, " D"]:
    """Return the mutual information of each column, cut at quantiles or into codes, with the
    target, in nats, less what chance would give (Miller 1955), at least 0."""
    if targets.dtype.kind == "f":
        inner = np.quantile(targets, np.arange(1, TARGET_BINS) / TARGET_BINS)
        targets = np.searchsorted(inner, targets, side="right")
    classes = np.unique(targets, return_inverse=True)[1]
    n_classes = int(classes.max()) + 1
    return np.array(
        [
            _mutual_information(_binned(values, bool(is_code)), classes, n_classes)
            for values, is_code in zip(rows.T, categorical, strict=True)
        ]
    )


def times_seen(told: Float[np.ndarray, " D"], n_members: int, width: int) -> Int[np.ndarray, " D"]:
    """Return how many members see each column: half of their n_members · width places go to all
    columns evenly, the other half in proportion to what is `told`."""
    n_places = n_members * min(width, len(told))
    if n_places <= len(told):  # no column twice: those that tell most
        times = np.zeros(len(told), dtype=np.int64)
        times[np.argsort(-told, kind="stable")[:n_places]] = 1
        return times
    times = np.full(len(told), max(1, int(EVENLY * n_places / len(told))))
    times = np.minimum(times, n_members)
    total = told.sum()
    wanted = told / total if total > 0 else np.full(len(told), 1 / len(told))
    for _ in range(n_places):  # what a column that all members see cannot take goes to the others
        left = n_places - times.sum()
        open_ = times < n_members
        if left <= 0 or not open_.any():
            break
        share = np.where(open_, wanted + 1e-12, 0.0)
        more = np.floor(left * share / share.sum()).astype(np.int64)
        if not more.any():  # the rest, one each, to those that wait longest
            first = np.argsort(-(share / (times + 1)), kind="stable")[: min(left, open_.sum())]
            more[first] = 1
        times = np.minimum(times + more, n_members)
    return times


def _deal(
    times: Int[np.ndarray, " D"], n_members: int, width: int, random: np.random.Generator
) -> list[Int[np.ndarray, " w"]]:
    """Return the columns of each member, in the table's order: each column goes to as many members
    as `times` says, those with most room first."""
    room = np.full(n_members, min(width, len(times)))
    sees = np.zeros((n_members, len(times)), dtype=bool)
    shuffled = random.permutation(len(times))
    for column in shuffled[np.argsort(-times[shuffled], kind="stable")]:
        by_room = np.lexsort([random.random(n_members), -room])
        chosen = by_room[: times[column]]
        chosen = chosen[room[chosen] > 0]
        sees[chosen, column] = True
        room[chosen] -= 1
    return [np.flatnonzero(row) for row in sees]


def _repeated(members: list[Member], i: int, seed: int) -> Member:
    """Return member i; of those beyond the list, one like an earlier one in an order of its own."""
    if i < len(members):
        return members[i]
    order = int(np.random.default_rng([seed, 3, i]).integers(2**31))
    return replace(members[i % len(members)], seed=order)


def _binned(values: Float[np.ndarray, " n"], is_code: bool) -> Int[np.ndarray, " n"]:
    """Return the bin of each value: missing ones are together in one."""
    missing = np.isnan(values)
    present = values[~missing]
    if not len(present):
        return np.zeros(len(values), dtype=np.int64)
    if is_code:
        codes, counts = np.unique(present, return_counts=True)
        kept = np.sort(codes[np.argsort(-counts, kind="stable")[:MOST_BINS]])
        place = np.minimum(np.searchsorted(kept, values), len(kept) - 1)
        bins = np.where(kept[place] == values, place, len(kept))
    else:
        inner = np.unique(np.quantile(present, np.arange(1, MOST_BINS) / MOST_BINS))
        bins = np.searchsorted(inner, values, side="left")
    return np.where(missing, MOST_BINS + 1, bins)


def _mutual_information(
    bins: Int[np.ndarray, " n"], classes: Int[np.ndarray, " n"], n_classes: int
) -> float:
    n_bins = int(bins.max()) + 1
    counts = np.bincount(bins * n_classes + classes, minlength=n_bins * n_classes)
    joint = counts.reshape(n_bins, n_classes) / len(bins)
    of_bin, of_class = joint.sum(axis=1, keepdims=True), joint.sum(axis=0, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / (of_bin * of_class)), 0.0)
    by_chance = ((of_bin > 0).sum() - 1) * ((of_class > 0).sum() - 1) / (2 * len(bins))
    return max(float(terms.sum() - by_chance), 0.0)
