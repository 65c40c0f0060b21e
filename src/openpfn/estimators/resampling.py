"""Estimators as believers: what predictive resampling asks of a fitted classifier's network and
views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.base import clone
from torch import Tensor

from openpfn.bayes.believers import TableBeliever
from openpfn.bayes.believers import View as NetworkView
from openpfn.estimators.ensemble import View


class ClassifierBeliever(TableBeliever):
    """A `PFNClassifier` that was fitted to the given rows.

    Its views of the columns stay those of these rows; the network reads all rows through them.
    """

    def __init__(self, fitted: Any, refit: str) -> None:
        if fitted.context_ is None:
            raise ValueError(
                f"y is constant: every row has the class {str(fitted.classes_[0])!r}. A classifier"
                " needs rows of two classes at least."
            )
        self.fitted, self.labels = fitted, fitted.classes_
        n_classes = len(fitted.classes_)
        places = np.argsort(fitted.order_)  # the place of each class in the network's order
        views = tuple(
            network_view(view, view.show_classes(places, n_classes))
            for group, _ in fitted.context_.views_and_states()
            for view in group
        )
        super().__init__(
            fitted.context_.ready_network().model,
            n_classes,
            refit,
            views,
            float(fitted.softmax_temperature),
        )

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        if isinstance(rows, Tensor):
            rows = rows.numpy()
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows)
        encoded = self.fitted.encoder_.transform(table)
        return torch.from_numpy(np.ascontiguousarray(encoded[:, self.fitted.columns_]))

    def indices(self, y: Any) -> Float[Tensor, "..."]:
        found = np.searchsorted(self.fitted.classes_, np.asarray(y))
        return torch.from_numpy(found.astype(np.float64))


def classifier_believer(estimator: Any, X: Any, y: Any, refit: str) -> ClassifierBeliever:
    """Return the believer that the classifier is after reading `X` and `y`; the estimator itself
    stays as it is."""
    return ClassifierBeliever(clone(estimator).fit(X, np.asarray(y)), refit)


def network_view(view: View, classes: Any) -> NetworkView:
    """The view of an ensemble member, for rows of several tasks at once."""

    def columns(rows: Float[Tensor, "S N D"]) -> Float[Tensor, "S N V"]:
        flat = rows.flatten(0, 1).double().cpu().numpy()
        return torch.from_numpy(view(flat)).unflatten(0, rows.shape[:2])

    return NetworkView(
        columns, torch.from_numpy(np.asarray(classes)), torch.from_numpy(view.categorical)
    )
