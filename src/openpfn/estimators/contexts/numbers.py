"""`NumberContext`: the context of a task of numbers, and what an ensemble says of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.estimators.contexts.context import Context
from openpfn.estimators.views.ensemble import View
from openpfn.heads.base import Predictive, Rescaled
from openpfn.heads.quantiles import Quantiles, levels

N_LEVELS = 199
"""Levels at which distributions of other kinds than quantiles are averaged."""
NUMBERS_AT_ONCE = 2**22
"""Quantiles times outputs of the network that are looked at together."""


class NumberContext(Context):
    """Context whose targets are numbers, standardised by the estimator."""

    @property
    def n_classes(self) -> None:
        return None

    def shown(
        self, view: View, targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, " n"]:
        return view.target(targets.astype(np.float64))

    def mean_answers(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q V"]:
        return self.mean_quantiles(rows)

    def mean_quantiles(self, rows: Float[np.ndarray, "Q D"]) -> Float[np.ndarray, "Q K"]:
        """Return quantiles at K even levels, averaged over the views.

        Averaging quantiles (Vincent 1912; Lichtendahl, Grushka-Cockayne & Winkler 2013) gives a
        distribution of the width that the members have on average, whose mean is the mean of their
        means. Averaging their probabilities instead would add the distance between members to the
        width; but they are one network's views of one table, so that this distance is an error of
        each and not a doubt of all.
        """
        total = np.zeros((len(rows), 0))
        for group, state, part, logits in self.answers(rows):
            with torch.inference_mode():
                values = self._quantiles(logits, state)  # (B, q, K)
            if not total.shape[1]:
                total = np.zeros((len(rows), values.shape[2]))
            for view, answer in zip(group, values, strict=True):
                total[part] += view.target.inverse(answer)
        return total / len(self.members)

    def _quantiles(
        self, logits: Float[Tensor, "B q outputs"], state: object
    ) -> Float[np.ndarray, "B q K"]:
        """Return the quantiles of each answer, in float64."""
        scale = getattr(state, "scale", None)
        if scale is not None:
            scale = type(scale)(*(part.cpu() for part in scale))
        model = self.ready_network().model
        n_rows = max(1, NUMBERS_AT_ONCE // (N_LEVELS * logits.shape[0] * logits.shape[2]))
        parts = [
            quantiles_of(model.predictive_of(some, scale)) for some in logits.split(n_rows, dim=1)
        ]
        return torch.cat(parts, dim=1).numpy()


def quantiles_of(believed: Predictive) -> Float[Tensor, "... K"]:
    """Return the quantiles of `believed` in float64: a network's own where it gives quantiles, else
    those at `N_LEVELS` even levels."""
    standardised = believed.standardised if isinstance(believed, Rescaled) else believed
    n = standardised.n_levels if isinstance(standardised, Quantiles) else N_LEVELS
    values = believed.quantile(levels(n)).double()  # (K, ...)
    return values.movedim(0, -1)
