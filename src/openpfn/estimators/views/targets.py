"""How a view sees a target that is a number: as it is, or with its skew taken out; each nothing but
arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from scipy.special import boxcox1p, inv_boxcox1p

POWERS = (-1.0, 3.0)
"""Least and greatest power of the transform: the inverses of stronger ones turn small errors of a
network into huge ones."""
BEYOND = 0.1
"""How far beyond the context's targets an inverted power may lead, in lengths of their range."""
Numbers = Float[np.ndarray, "..."]


class TargetTransform(ABC):
    """Increasing map of standardised targets. Its fields are all that its `fit(targets)` learned;
    each view has its own."""

    @abstractmethod
    def __call__(self, z: Numbers) -> Numbers:
        """Return the targets `z` as the network sees them."""

    @abstractmethod
    def inverse(self, w: Numbers) -> Numbers:
        """Return the targets that are seen as `w`. An increasing map takes quantiles to quantiles
        of the same level."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all of its fields, by name."""
        return {name: np.asarray(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Plain(TargetTransform):
    """Targets as they are."""

    @classmethod
    def fit(cls, z: Float[np.ndarray, " n"]) -> Plain:
        return cls()

    def __call__(self, z: Numbers) -> Numbers:
        return z

    def inverse(self, w: Numbers) -> Numbers:
        return w


@dataclass(frozen=True)
class Power(TargetTransform):
    """The power transform of Yeo and Johnson (2000), eq. 2.1, by maximum likelihood.

    Its powers have a largest or smallest value, and values near it stand for targets without
    bound: what is inverted stays within `low` and `high`.
    """

    power: Float[np.ndarray, ""]
    low: Float[np.ndarray, ""]
    high: Float[np.ndarray, ""]

    @classmethod
    def fit(cls, z: Float[np.ndarray, " n"]) -> Power:
        logs = np.sign(z) * np.log1p(np.abs(z))
        steepness = logs.sum()

        def loss(power: float) -> float:  # −log-likelihood, eq. 3.1
            variance = _forward(z, power).var()
            tiny = np.finfo(np.float64).tiny
            return len(z) / 2 * np.log(max(variance, tiny)) - (power - 1) * steepness

        power = minimize_scalar(loss, bounds=POWERS, method="bounded").x  # pyright: ignore[reportAttributeAccessIssue]
        reach = BEYOND * (z.max() - z.min())
        return cls(np.asarray(power), np.asarray(z.min() - reach), np.asarray(z.max() + reach))

    def __call__(self, z: Numbers) -> Numbers:
        return _forward(z, float(self.power))

    def inverse(self, w: Numbers) -> Numbers:
        power = float(self.power)
        up = _unpowered(np.maximum(w, 0), power)
        down = _unpowered(np.maximum(-w, 0), 2 - power)
        return np.clip(np.where(w >= 0, up, -down), self.low, self.high)


def _forward(z: Numbers, power: float) -> Numbers:
    up = boxcox1p(np.maximum(z, 0), power)
    down = boxcox1p(np.maximum(-z, 0), 2 - power)
    return np.where(z >= 0, up, -down)


def _unpowered(w: Numbers, power: float) -> Numbers:
    """The inverse of `boxcox1p`; ∞ from the largest value on that it can have."""
    return inv_boxcox1p(w if power >= 0 else np.minimum(w, -1 / power), power)
