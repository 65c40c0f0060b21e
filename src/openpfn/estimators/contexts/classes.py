"""`ClassContext`: the context of a task of classes, and what an ensemble says of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

from openpfn.estimators.contexts.context import Context
from openpfn.estimators.limits.classes import sharpness
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

    def two_targets(self, view: View) -> Int[np.ndarray, " 2"]:
        return np.flatnonzero(view.class_order(self.n_classes) >= 0)[[0, -1]]

    def mean_answers(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q V"]:
        return self.mean_log_probs(rows)

    def mean_log_probs(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q k"]:
        """Return log-probabilities of the classes, averaged over the views (not summing to one).

        A view of some classes adds what it says of these to what another one says of all: the
        logarithm of P(class | some) to that of P(some).
        """
        total = np.zeros((len(rows), self.n_classes))
        for view, part, log_probs in self.log_probs_of_views(rows):
            order = view.class_order(self.n_classes)
            if (order >= 0).all():
                total[part] += log_probs[:, order]
            else:
                total[part, order >= 0] += log_probs[:, order[order >= 0]]
        n_whole = sum(member.is_whole for member in self.members)
        return total / n_whole * sharpness(self.members, self.n_classes)

    def log_probs_of_views(
        self, rows: Float[np.ndarray, "Q D"]
    ) -> Iterator[tuple[View, slice, Float[np.ndarray, "q s"]]]:
        """Yield the log-probabilities of the classes that each view tells apart, some rows at a
        time: the view, which rows these are, and the answers."""
        for group, _, part, logits in self.answers(rows):
            n_shown = group[0].member.n_shown(self.n_classes)
            of_classes = logits[..., :n_shown].numpy().astype(np.float64)
            log_probs = log_softmax(of_classes, axis=-1)  # (B, q, s)
            for view, answer in zip(group, log_probs, strict=True):
                yield view, part, self._reweighted(view, answer)

    def _reweighted(
        self, view: View, log_probs: Float[np.ndarray, "q s"]
    ) -> Float[np.ndarray, "q s"]:
        if view.member.log_weights is None:
            return log_probs
        weights = np.empty(self.n_classes)
        weights[view.class_order(self.n_classes)] = view.member.log_weights
        return log_softmax(log_probs + weights, axis=-1)
