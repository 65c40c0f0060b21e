"""Estimators as believers: what predictive resampling asks of a fitted estimator's network and
views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.believers import TableBeliever
from openpfn.bayes.believers import View as NetworkView
from openpfn.estimators.contexts.numbers import quantiles_of
from openpfn.estimators.views.ensemble import View
from openpfn.heads.base import Predictive


class EstimatorBeliever(TableBeliever):
    """An estimator that was fitted to the given rows. Its views of columns and targets stay those
    of these rows; the network reads all rows through them."""

    def __init__(self, fitted: Any, n_classes: int | None, refit: str, temperature: float) -> None:
        if fitted.statistics_ is not None:
            raise ValueError(
                "target_statistics is True, but its columns hold targets, which would have to be"
                " drawn anew with every row. Leave it out."
            )
        if fitted.text_scores_ is not None:
            raise ValueError(
                "text_scores is True, but its columns hold targets, which would have to be drawn"
                " anew with every row. Leave it out."
            )
        if fitted.stacked_ is not None:
            raise ValueError(
                "stacking is on, but its columns hold targets, which would have to be drawn anew"
                " with every row. Use stacking=False."
            )
        if any(member.code is not None for member in fitted.context_.members):
            raise ValueError(
                f"y has {n_classes} classes, more than the network tells apart, whose contexts"
                " cannot be drawn further. Merge rare classes, or use a checkpoint with more."
            )
        self.fitted = fitted
        self.members = [view for group, _ in fitted.context_.views_and_states() for view in group]
        model = fitted.context_.ready_network().model
        views = tuple(self.view_of(member) for member in self.members)
        super().__init__(model, n_classes, refit, views, temperature)

    def view_of(self, member: View) -> NetworkView:
        """The view of a member, for rows of several tasks at once."""
        raise TypeError(f"{type(self).__name__} does not say what its views are.")

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        if isinstance(rows, Tensor):
            rows = rows.numpy()
        table = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(np.asarray(rows))
        seen = self.fitted.read_rows(table)
        return torch.from_numpy(np.ascontiguousarray(seen, dtype=np.float64))


class ClassBeliever(EstimatorBeliever):
    """A fitted `PFNClassifier`. Classes are indices into its `classes_`."""

    def __init__(self, fitted: Any, refit: str) -> None:
        if fitted.context_ is None:
            raise ValueError(
                f"y is constant: every row has the class {str(fitted.classes_[0])!r}. A classifier"
                " needs rows of two classes at least."
            )
        self.labels = fitted.classes_
        self.places = np.argsort(fitted.order_)  # the place of each class in the network's order
        temperature = float(fitted.softmax_temperature * fitted.temperature_)
        super().__init__(fitted, len(self.places), refit, temperature)

    def view_of(self, member: View) -> NetworkView:
        shown = member.show_classes(self.places, len(self.places))
        return NetworkView(
            columns_of(member),
            classes=torch.from_numpy(shown),
            categorical=torch.from_numpy(member.categorical),
        )

    def indices(self, y: Any) -> Float[Tensor, "..."]:
        found = np.searchsorted(self.fitted.classes_, np.asarray(y))
        return torch.from_numpy(found.astype(np.float64))


class NumberBeliever(EstimatorBeliever):
    """A fitted `PFNRegressor`, whose views' quantiles are averaged as it does."""

    def __init__(self, fitted: Any, refit: str) -> None:
        if fitted.context_ is None:
            raise ValueError(
                f"y is constant: every row has the target {fitted.centre_:g}, so it tells nothing"
                " of its spread. Give rows that differ."
            )
        super().__init__(fitted, None, refit, 1.0)

    def view_of(self, member: View) -> NetworkView:
        centre, spread = self.fitted.centre_, self.fitted.spread_

        def targets(y: Float[Tensor, "S n"]) -> Float[Tensor, "S n"]:
            standardised = (y.double().cpu().numpy() - centre) / spread
            return torch.from_numpy(np.ascontiguousarray(member.target(standardised))).to(y)

        return NetworkView(
            columns_of(member), targets=targets, categorical=torch.from_numpy(member.categorical)
        )

    def _averaged(self, answers: list[Predictive]) -> Predictive:
        total = 0.0
        for member, answer in zip(self.members, answers, strict=True):
            total = total + member.target.inverse(quantiles_of(answer).cpu().numpy())
        return self.fitted.distribution_of(np.asarray(total) / len(answers))


def columns_of(member: View) -> Any:
    """The member's view of rows, for rows (S, N, D) of several tasks."""

    def columns(rows: Float[Tensor, "S N D"]) -> Float[Tensor, "S N V"]:
        flat = rows.flatten(0, 1).double().cpu().numpy()
        return torch.from_numpy(member(flat)).unflatten(0, rows.shape[:2])

    return columns
