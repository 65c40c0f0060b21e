"""`pure_batches`: an epoch over many tables in batches that each hold rows of one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def pure_batches(
    n_rows: Sequence[int], batch_size: int, rows_per_epoch: int, *, seed: int, epoch: int
) -> list[tuple[int, Int[np.ndarray, " B"]]]:
    """Return the batches of one epoch, each with the number of its table and its rows.

    Of each table, of which `n_rows` tells the rows, at most `rows_per_epoch` are drawn without
    repeats, others at each epoch. The batches come in random order, which `seed` and `epoch`
    decide.

    >>> batches = pure_batches([5, 3], 2, 4, seed=0, epoch=0)
    >>> sorted((table, len(rows)) for table, rows in batches)
    [(0, 2), (0, 2), (1, 1), (1, 2)]
    """
    random = np.random.default_rng([seed, epoch])
    batches = []
    for table, n in enumerate(n_rows):
        chosen = random.permutation(n)[:rows_per_epoch]
        starts = range(0, len(chosen), batch_size)
        batches += [(table, chosen[start : start + batch_size]) for start in starts]
    return [batches[i] for i in random.permutation(len(batches))]
