"""Any scikit-learn classifier as a believer: fitted anew for every row of every rollout."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.believers.base import Believer, as_rows
from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical


class RefittedClassifier(Believer):
    """An estimator with `fit` and `predict_proba`, which knows nothing of sequences: each next row
    of each rollout takes a fit. Use few and short rollouts."""

    least_rows: ClassVar[int] = 1

    def __init__(self, estimator: Any, x: Any, y: Any) -> None:
        self.estimator = estimator
        self.labels = np.unique(np.asarray(y))
        self.n_classes = len(self.labels)
        if self.n_classes < 2:
            raise ValueError(
                f"y is constant: every row has the class {str(self.labels[0])!r}. A classifier"
                " needs rows of two classes at least."
            )
        self.table = x if hasattr(x, "iloc") else None

    def ask(self, x: Tensor | None, y: Tensor, x_query: Tensor | None) -> Predictive:
        from sklearn.base import clone

        assert x is not None
        assert x_query is not None
        assert self.labels is not None
        assert self.n_classes is not None
        probs = torch.zeros(*x_query.shape[:2], self.n_classes, dtype=torch.float64)
        for i in range(len(x)):
            targets = self.labels[y[i].long().numpy()]
            fitted = clone(self.estimator).fit(self._rows(x[i]), targets)
            places = torch.from_numpy(np.searchsorted(self.labels, fitted.classes_))
            answer = np.asarray(fitted.predict_proba(self._rows(x_query[i])), dtype=np.float64)
            probs[i][:, places] = torch.from_numpy(answer)
        return Categorical(probs.log())

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        if self.table is None:
            return as_rows(rows)
        return torch.arange(len(self.table), dtype=torch.float64).unsqueeze(1)  # places of rows

    def indices(self, y: Any) -> Float[Tensor, "..."]:
        assert self.labels is not None
        return torch.from_numpy(np.searchsorted(self.labels, np.asarray(y)).astype(np.float64))

    def _rows(self, x: Float[Tensor, "n D"]) -> Any:
        return x.numpy() if self.table is None else self.table.iloc[x[:, 0].long().numpy()]
