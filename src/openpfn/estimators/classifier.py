"""`PFNClassifier`: a scikit-learn classifier whose network was fitted before it saw any data."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from openpfn.batch import TaskBatch
from openpfn.estimators.ensemble import View, draw_members

QUERY_MULTIPLE = 8
"""Query rows are read in multiples of this: matrix kernels then treat every row alike, so that a row alone gets the bits it gets in a batch."""
CELLS_PER_READ = 8192
"""Cells of query rows read at once on a CPU: more fall out of its caches and are slower."""


class PFNClassifier(ClassifierMixin, BaseEstimator):
    """Predicts classes by in-context learning: `fit` shows the network the rows, nothing is trained.

    Parameters
    ----------
    checkpoint: "auto" (the shipped nano), a shipped name, or the path of a checkpoint.
    model: a network in memory, used instead of a checkpoint.
    n_estimators: views of the table whose log-probabilities are averaged; 1 shows it as it is.
    softmax_temperature: divides the averaged log-probabilities; below 1 sharpens.
    device: "auto" (cuda, then mps, then cpu) or a torch device.
    random_state: decides column orders and class shifts of the views.
    memory_limit: bytes that one pass through the network may take; None for no limit.
    """

    def __init__(
        self,
        checkpoint: Any = "auto",
        model: Any = None,
        n_estimators: int = 4,
        softmax_temperature: float = 1.0,
        device: str = "auto",
        random_state: Any = 0,
        memory_limit: int | None = 2**30,
    ) -> None:
        self.checkpoint = checkpoint
        self.model = model
        self.n_estimators = n_estimators
        self.softmax_temperature = softmax_temperature
        self.device = device
        self.random_state = random_state
        self.memory_limit = memory_limit

    def fit(self, X: Any, y: Any) -> PFNClassifier:
        """Show the network the context: rows `X` (n, D) and their labels `y` (n,)."""
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_all_finite="allow-nan")
        check_classification_targets(y)
        self.classes_, y = np.unique(y, return_inverse=True)
        self._context = X
        self._y = y
        seed = int(check_random_state(self.random_state).randint(2**31))
        network = self._network()
        n_classes = len(self.classes_)
        if n_classes > network.config.max_classes:
            raise ValueError(f"y has {n_classes} classes, but this network tells at most {network.config.max_classes} apart.")
        varies = np.array([len(np.unique(c[~np.isnan(c)])) > 1 or 0 < np.isnan(c).sum() < len(c) for c in X.T])
        self._columns = np.flatnonzero(varies) if varies.any() else np.array([0])
        context = X[:, self._columns]
        members = draw_members(self.n_estimators, n_classes, seed)
        views = [View(m, context, np.zeros(context.shape[1], dtype=bool)) for m in members]
        self._states = [(view, self._summarize(network, view, context, y, n_classes)) for view in views]
        return self

    def _summarize(self, network: Any, view: View, context: np.ndarray, y: np.ndarray, n_classes: int) -> Any:
        batch = TaskBatch(
            x=torch.from_numpy(view(context))[None],
            y=torch.from_numpy(view.show_classes(y, n_classes)).float()[None],
            n_train=len(y),
            n_classes=torch.tensor([n_classes]),
            categorical=torch.from_numpy(view.categorical)[None],
        )
        with torch.inference_mode():
            return network.summarize(batch)

    def _network(self) -> Any:
        if self.model is not None:
            return self.model.eval()
        from openpfn import checkpoint

        return checkpoint.load("nano" if self.checkpoint == "auto" else self.checkpoint).model.eval()

    def predict_proba(self, X: Any) -> Float[np.ndarray, "Q classes"]:
        """Probability of each of `classes_` for each row."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        network = self._network()
        n_classes = len(self.classes_)
        rows = X[:, self._columns]
        total = np.zeros((len(X), n_classes))
        for view, state in self._states:
            x = torch.from_numpy(view(rows))
            tile = max(QUERY_MULTIPLE, CELLS_PER_READ // (x.shape[1] + 1) // QUERY_MULTIPLE * QUERY_MULTIPLE)
            for start in range(0, len(x), tile):
                part = x[start : start + tile]
                padded = torch.cat([part, part[-1:].expand(-len(part) % QUERY_MULTIPLE, -1)])
                with torch.inference_mode():
                    logits = network.read(padded[None], state)[0, : len(part), :n_classes]
                total[start : start + tile] += log_softmax(logits.double().numpy(), axis=1)[:, view.class_order(n_classes)]
        return softmax(total / len(self._states) / self.softmax_temperature, axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
