"""Targets that take evenly spaced values alone, such as ratings, grades and counts."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Predictive, Rescaled, Values
from openpfn.heads.categorical import Categorical

MOST_STEPS = 100
"""Between the least and the greatest target: finer steps change no answer that matters."""
REPEATED = 2
"""How often a value stands in the context, on average, before it is more than rounded."""
BEYOND = 0.1
"""How far beyond the context's targets a grid goes, in lengths of their range."""
PARTS = 8
"""Into how many steps the smallest distance of two targets may fall: 2, 4 and 7 are one apart."""
TOLERANCE = 1e-6
"""Of a step: what float64 and changes of units leave of whole numbers."""


@dataclass(frozen=True)
class Grid:
    """The values start, start + step, …, n of them."""

    start: float
    step: float
    n: int

    @classmethod
    def of(cls, y: Float[np.ndarray, " n"]) -> Grid | None:
        """Return the coarsest grid on which all targets lie; None where there is none, where it is
        too fine to matter, and where few targets are equal, so that it may be chance.

        >>> Grid.of(np.array([3.0, 5, 4, 3, 5, 4, 4, 4, 5, 3]))
        Grid(start=3.0, step=1.0, n=3)
        """
        values = np.unique(y)
        if len(values) < 2 or len(y) < REPEATED * len(values):
            return None
        with np.errstate(over="ignore"):
            distances = values - values[0]
        least = float(np.diff(distances).min())
        if not least > 0 or not np.isfinite(distances[-1]):
            return None
        for parts in range(1, PARTS + 1):
            places = distances / (least / parts)
            n_steps = round(float(places[-1]))
            if n_steps > MOST_STEPS:
                return None
            if np.abs(places - places.round()).max() <= TOLERANCE * n_steps:
                step = float(distances[-1]) / n_steps
                more = int(BEYOND * n_steps)
                return cls(float(values[0]) - more * step, step, n_steps + 1 + 2 * more)
        return None

    def record(self) -> list[float]:
        """Return the fields, as JSON holds them."""
        return list(astuple(self))

    def of_distribution(self, believed: Predictive) -> OnGrid:
        """Return `believed` with all of its probability on the nearest value of the grid."""
        between = self.start + self.step * (torch.arange(self.n - 1, dtype=torch.float64) + 0.5)
        shape = (self.n - 1, *(1 for _ in believed.shape))
        reached = believed.cdf(between.reshape(shape)).movedim(0, -1).double()
        first = reached[..., :1]
        probabilities = reached.diff(
            prepend=torch.zeros_like(first), append=torch.ones_like(first)
        ).clamp(min=0)
        start, step = (torch.tensor(v, dtype=torch.float64) for v in (self.start, self.step))
        return OnGrid(Categorical(probabilities.log()), start, step)


class OnGrid(Rescaled):
    """A distribution over the values of a grid.

    `log_prob` is the logarithm of a probability, not of a density: −inf between the values.
    """

    standardised: Categorical

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        places = self._to_standardised(y)
        whole = places.round()
        near = (places - whole).abs() <= self.slack
        return self.standardised.log_prob(torch.where(near, whole, places))

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        return self.standardised.cdf(self._to_standardised(y) + self.slack)

    def entropy(self) -> Float[Tensor, "..."]:
        return self.standardised.entropy()

    @property
    def values(self) -> Float[Tensor, " n"]:
        """The values that have a probability, in `probs`."""
        return self._from_standardised(self.standardised.codes)

    @property
    def slack(self) -> float:
        """How far from a value, in steps, a number still is that value."""
        return TOLERANCE * self.standardised.logits.shape[-1]

    @property
    def probs(self) -> Float[Tensor, "... n"]:
        """Probability of each value."""
        return self.standardised.probs
