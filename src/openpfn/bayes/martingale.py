"""`MartingalePosterior`: what predictive resampling says about a quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True)
class Trajectories:
    """The completed data of every rollout: the given rows and those drawn."""

    x: Any
    """Inputs (R, N, D); the places (R, N) of rows in the given DataFrame; None without inputs."""
    y: np.ndarray
    """Targets (R, N), classes by their labels."""


@dataclass(frozen=True, repr=False)
class MartingalePosterior:
    """Draws of a quantity of P numbers from its martingale posterior (Fong, Holmes & Walker 2023).

    With a batch of B contexts every array has a leading axis B.

    >>> import torch
    >>> from openpfn.bayes import exact, predictive_resample
    >>> coin = exact.BetaBernoulli()
    >>> flips = torch.tensor([1.0, 1, 0, 1])
    >>> seed = torch.Generator().manual_seed(0)
    >>> bias = predictive_resample(coin, None, flips, functional="mean", generator=seed)
    >>> bias.samples.shape, bias.names
    ((1000, 1), ['mean'])
    """

    samples: Float[np.ndarray, "... S P"]
    """The draws: the functional of each rollout's completed data."""
    names: list[str]
    """What the P numbers are called."""
    trace: Float[np.ndarray, "... H S P"]
    """The same after fewer drawn rows: where it still moves at the end, the horizon is short."""
    horizons: Int[np.ndarray, " H"]
    """Drawn rows of each entry of the trace."""
    n_context: int
    """Rows that were given."""
    approximation: str | None = None
    """In which way the draws are approximate; None where they are what the model says."""
    approximation_error: float | None = None
    """Largest difference of a probability between the approximate rollouts' last prediction and the
    exact one, averaged over a few rollouts; None where there is none."""
    trajectories: Trajectories | None = None
    """The completed data, where they were asked for."""

    @property
    def mean(self) -> Float[np.ndarray, "... P"]:
        return self.samples.mean(axis=-2)

    @property
    def std(self) -> Float[np.ndarray, "... P"]:
        return self.samples.std(axis=-2, ddof=1)

    @property
    def covariance(self) -> Float[np.ndarray, "... P P"]:
        """Covariance of the P numbers."""
        apart = self.samples - self.mean[..., None, :]
        return np.swapaxes(apart, -1, -2) @ apart / max(1, self.samples.shape[-2] - 1)

    def interval(
        self, level: float = 0.9
    ) -> tuple[Float[np.ndarray, "... P"], Float[np.ndarray, "... P"]]:
        """Lower and upper end of the central interval that holds the share `level` of the
        draws."""
        if not 0 < level < 1:
            raise ValueError(f"level is {level}, must lie between 0 and 1, such as 0.9.")
        low, high = np.quantile(self.samples, [(1 - level) / 2, (1 + level) / 2], axis=-2)
        return low, high

    def still_moving(self) -> Float[np.ndarray, "... P"]:
        """Change of each number's standard deviation over the last half of the horizon, as a share
        of it; near 0 where the horizon is long enough."""
        half = int(np.argmin(np.abs(self.horizons - self.horizons[-1] / 2)))
        before = self.trace[..., half, :, :].std(axis=-2, ddof=1)
        return 1 - before / np.where(self.std > 0, self.std, 1.0)

    def plot(
        self,
        level: float = 0.9,
        truth: Sequence[float] | Float[np.ndarray, " P"] | None = None,
    ) -> Any:
        """Return a figure with the density of each number and how it came about along the
        horizon, and, where it is known, the `truth`. Raises ValueError for a batch of contexts."""
        if self.samples.ndim != 2:
            raise ValueError(
                f"samples has shape {self.samples.shape}, of a batch of contexts; only the"
                " posterior of one is drawn. Resample one context."
            )
        from openpfn.plots.martingale import martingale_figure

        known = None if truth is None else np.asarray(truth, dtype=np.float64).reshape(-1)
        return martingale_figure(self.trace, self.horizons, self.names, level, known)

    def __repr__(self) -> str:
        """One line a number: its mean and its 90% interval."""
        head = (
            f"MartingalePosterior of {self.samples.shape[-2]} draws, {self.n_context} rows given,"
            f" horizon {int(self.horizons[-1])}"
            + (f" ({self.approximation})" if self.approximation else "")
        )
        if self.samples.ndim != 2:
            return f"{head}, {self.samples.shape[0]} contexts"
        low, high = self.interval(0.9)
        lines = [
            f"  {name}: {mean:.4g} (90% from {a:.4g} to {b:.4g})"
            for name, mean, a, b in zip(self.names, self.mean, low, high, strict=True)
        ]
        return "\n".join([head, *lines])
