"""`partings`: folds of rows whose answers may be shown beside their targets."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

N_FOLDS = 5
N_PARTINGS = 2
"""Ways in which rows are parted into folds; answers from other folds are means over them."""


def partings(targets: Float[np.ndarray, "n T"]) -> list[list[Int[np.ndarray, " m"]]]:
    """Return the folds of each parting. Rows of similar targets are dealt to different folds: were
    the means of folds unlike, an answer from other folds would tell the mean of its own."""
    random = np.random.default_rng(0)
    n_rows = len(targets)
    n_folds = min(N_FOLDS, max(2, n_rows // 2))
    found = []
    for _ in range(N_PARTINGS):
        order = np.lexsort([random.random(n_rows), *targets.T[::-1]])
        dealt = [random.permutation(n_folds) for _ in range(-(-n_rows // n_folds))]
        fold = np.empty(n_rows, dtype=np.int64)
        fold[order] = np.concatenate(dealt)[:n_rows]
        found.append([np.flatnonzero(fold == k) for k in range(n_folds)])
    return [[rows for rows in parting if len(rows)] for parting in found]
