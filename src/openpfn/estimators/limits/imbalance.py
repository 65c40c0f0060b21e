"""Classes of very different frequency: probabilities as if all were equally frequent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int


def balanced(
    probabilities: Float[np.ndarray, "Q k"], counts: Int[np.ndarray, " k"]
) -> Float[np.ndarray, "Q k"]:
    """Return what the probabilities would be if the context, with `counts` rows of each class, had
    as many of any class as of any other: P(class | row) / P(class), summed to 1 (Saerens, Latinne &
    Decaestecker 2002, eq. 2.4)."""
    weighted = probabilities / counts
    return weighted / weighted.sum(axis=1, keepdims=True)
