"""More context rows than softmax attention can hold: members that see some of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from openpfn.batch import TaskBatch
from openpfn.estimators.network import Network, nested_bytes
from openpfn.estimators.views.ensemble import Member
from openpfn.models.modes import in_evaluation

SAMPLINGS = ("uniform", "balanced")
"""Values of the parameter `subsample`."""
MOST_ROWS = 2048
"""Context rows that a member of a network whose state grows with them sees where nothing else is
asked: the time that these take grows with their square."""
LEAST_ROWS = 256
"""Rows that a member sees at least, however little the memory limit leaves for them."""
GROWING = 16
"""Bytes per row and column from which on a state grows with the rows: ranks of columns take 4, keys
and values of the narrowest network some hundred."""
N_STRATA = 10
"""Quantiles of a target of numbers that a uniform sample holds as often as the context."""


def with_rows(
    members: list[Member],
    n_rows: int,
    targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    n_classes: int | None,
    sampling: str,
    seed: int,
) -> list[Member]:
    """Return members that see `n_rows` of the context rows each, of those that their codes leave;
    together as many different ones as they can.

    "uniform" samples hold each class, or tenth of the numbers, as often as the context does;
    "balanced" ones, of members that tell all classes apart, each class equally often, as far as
    there are rows of it, and their answers are turned back to how often classes are (Saerens,
    Latinne & Decaestecker 2002, eq. 2.4).
    """
    strata = _strata(targets) if n_classes is None else targets
    n_strata = int(strata.max()) + 1 if n_classes is None else n_classes
    random = np.random.default_rng([seed, 4])
    queues = [random.permutation(np.flatnonzero(strata == s)) for s in range(n_strata)]
    sizes = np.array([len(queue) for queue in queues])
    taken = np.zeros(n_strata, dtype=np.int64)
    drawn = []
    for member in members:
        shown = np.ones(n_strata, dtype=bool) if member.is_whole else np.array(member.code) >= 0
        available = np.where(shown, sizes, 0)
        most = round(n_rows * shown.mean() ** 0.5)  # all nodes of a level take as long as the root
        if available.sum() <= most:
            drawn.append(member)
            continue
        balance = sampling == "balanced"
        quotas = (_even_quotas if balance else _quotas)(available, most)
        # each takes up where the one before left off, so that no row is seen twice before all are
        places = [
            np.arange(start, start + quota) for start, quota in zip(taken, quotas, strict=True)
        ]
        chosen = [q.take(at, mode="wrap") for q, at in zip(queues, places, strict=True) if len(at)]
        taken += quotas
        rows = tuple(np.sort(np.concatenate(chosen)).tolist())
        weights = _log_weights(sizes, quotas) if balance else None
        drawn.append(replace(member, rows=rows, log_weights=weights))
    return drawn


def rows_per_member(
    network: Network, n_rows: int, n_columns: int, n_members: int, numbers: bool, limit: int | None
) -> int:
    """Return how many of `n_rows` rows a member should see: all where there are few, or where the
    network's state does not grow with them; else as many as `limit` bytes hold the states of, at
    most `MOST_ROWS`."""
    if n_rows <= MOST_ROWS:
        return n_rows
    per_row = state_bytes_per_row(network, n_columns, numbers)
    if per_row < GROWING * n_columns:
        return n_rows
    within = MOST_ROWS if limit is None else int(limit / (per_row * n_members))
    return min(max(within, LEAST_ROWS), MOST_ROWS)


def state_bytes_per_row(network: Network, n_columns: int, numbers: bool) -> float:
    """Return the bytes by which the state of a context grows with each row."""
    sizes = []
    for n_rows in (8, 16):
        y = torch.arange(n_rows) % 2
        batch = TaskBatch(
            x=torch.randn(1, n_rows, n_columns, generator=torch.Generator().manual_seed(0)),
            y=y[None].double() if numbers else y[None].float(),
            n_train=n_rows,
            n_classes=None if numbers else torch.tensor([2]),
        )
        with in_evaluation(network.model), torch.inference_mode():
            sizes.append(nested_bytes(network.model.summarize(batch.to(network.device))))
    return (sizes[1] - sizes[0]) / 8


def _log_weights(sizes: Int[np.ndarray, " k"], quotas: Int[np.ndarray, " k"]) -> tuple[float, ...]:
    """Return the logarithm of how often each class is over how often it is shown; 0 where it is
    not."""
    present = quotas > 0
    often = np.where(present, sizes / sizes.sum(), 1.0)
    shown = np.where(present, quotas / quotas.sum(), 1.0)
    return tuple((np.log(often) - np.log(shown)).tolist())


def _strata(targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    if targets.dtype.kind == "f":
        inner = np.unique(np.quantile(targets, np.arange(1, N_STRATA) / N_STRATA))
        targets = np.searchsorted(inner, targets, side="right")
    return np.unique(targets, return_inverse=True)[1]


def _quotas(sizes: Int[np.ndarray, " s"], n_rows: int) -> Int[np.ndarray, " s"]:
    """Return rows per stratum in proportion to their sizes, at least one of each, `n_rows` in all
    where there are no more strata."""
    exact = sizes * (n_rows / sizes.sum())
    quotas = np.minimum(np.maximum(np.floor(exact).astype(np.int64), 1), sizes)
    for place in np.argsort(-(exact - quotas), kind="stable")[: max(0, n_rows - quotas.sum())]:
        quotas[place] += 1
    return np.minimum(quotas, sizes)


def _even_quotas(sizes: Int[np.ndarray, " s"], n_rows: int) -> Int[np.ndarray, " s"]:
    """Return as many rows of each stratum as of any other, as far as it has them."""
    quotas, left = np.zeros_like(sizes), n_rows
    smallest_first = [place for place in np.argsort(sizes, kind="stable") if sizes[place]]
    for done, place in enumerate(smallest_first):
        quotas[place] = min(sizes[place], max(1, left // (len(smallest_first) - done)))
        left -= quotas[place]
    return quotas
