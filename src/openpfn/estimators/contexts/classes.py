"""`ClassContext`: the context of a task of classes, and what an ensemble says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

from openpfn.estimators.contexts.context import Context
from openpfn.estimators.views.ensemble import View


class ClassContext(Context):
    """Context whose targets are class indices 0 … n_classes − 1."""

    def __init__(self, *parts: Any, n_classes: int) -> None:
        super().__init__(*parts)
        self._n_classes = n_classes

    @property
    def n_classes(self) -> int:
        return self._n_classes

    def shown(self, view: View, targets: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        return view.show_classes(targets, self.n_classes)

    def mean_answers(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q V"]:
        return self.mean_log_probs(rows)

    def mean_log_probs(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q k"]:
        """Return log-probabilities of the classes, averaged over the views (not summing to one)."""
        total = np.zeros((len(rows), self.n_classes))
        for group, _, part, logits in self.answers(rows):
            of_classes = logits[..., : self.n_classes].numpy().astype(np.float64)
            log_probs = log_softmax(of_classes, axis=-1)  # (B, q, k)
            for view, answer in zip(group, log_probs, strict=True):
                total[part] += answer[:, view.class_order(self.n_classes)]
        return total / len(self.members)
