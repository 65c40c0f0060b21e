"""`GP`: Gaussian process regression with known hyperparameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.exact.base import (
    ExactPosterior,
    GaussianPosterior,
    Rows,
    checked_queries,
    checked_rows,
    cholesky,
    doubled,
    one_after_another,
)
from openpfn.heads.gaussian import Gaussian

Kernel = Literal["rbf", "matern12", "matern32", "matern52"]
SHAPES: dict[str, Callable[[Tensor], Tensor]] = {
    "rbf": lambda r: torch.exp(-r.square() / 2),
    "matern12": lambda r: torch.exp(-r),
    "matern32": lambda r: (1 + math.sqrt(3) * r) * torch.exp(-math.sqrt(3) * r),
    "matern52": lambda r: (
        (1 + math.sqrt(5) * r + 5 / 3 * r.square()) * torch.exp(-math.sqrt(5) * r)
    ),
}
"""Correlation at a distance of r lengthscales (Rasmussen & Williams 2006, section 4.2)."""


class GP(ExactPosterior):
    """The exact posterior of y = f(x) + ε with ε ~ N(0, noise_variance), and f a Gaussian process
    of the given mean and kernel.

    The kernel is `outputscale` (a variance) times a correlation of the distance in units of
    `lengthscale`, a number or one per column (D,); `smoothness` of functions: rbf (infinite),
    matern52, matern32, matern12 (rough). Inference is by Cholesky factors, in time cubic in the
    rows (Rasmussen & Williams 2006, algorithm 2.1).

    >>> gp = GP("rbf", lengthscale=0.5, noise_variance=0.01)
    >>> float(gp.predictive(torch.zeros(0, 1), torch.zeros(0), torch.zeros(1, 1)).variance)
    1.01
    """

    def __init__(
        self,
        kernel: Kernel = "rbf",
        lengthscale: float | Float[Tensor, "..."] = 1.0,
        outputscale: float = 1.0,
        noise_variance: float = 0.01,
        mean: float = 0.0,
    ) -> None:
        if kernel not in SHAPES:
            raise ValueError(f"kernel is {kernel!r}; choose one of {', '.join(SHAPES)}.")
        self.lengthscale = torch.as_tensor(lengthscale, dtype=torch.float64)
        if not (
            bool((self.lengthscale > 0).all())
            and self.lengthscale.ndim <= 1
            and outputscale > 0
            and noise_variance > 0
        ):
            raise ValueError(
                f"got lengthscale={lengthscale}, outputscale={outputscale},"
                f" noise_variance={noise_variance}; all must be greater than 0."
            )
        self.kernel, self.outputscale, self.noise_variance, self.mean = (
            kernel,
            float(outputscale),
            float(noise_variance),
            float(mean),
        )

    def covariance(
        self, a: Float[Tensor, "... N D"], b: Float[Tensor, "... Q D"]
    ) -> Float[Tensor, "... N Q"]:
        """Covariance of f between two sets of rows, in float64."""
        a, b = doubled(a, b)
        scale = self.lengthscale.to(a.device)
        if scale.ndim == 1 and len(scale) != a.shape[-1]:
            raise ValueError(
                f"lengthscale has {len(scale)} numbers, but x {a.shape[-1]} columns. Give one"
                " number, or one per column."
            )
        # not from inner products: differences keep their digits where rows lie close together
        distance = torch.cdist(a / scale, b / scale, compute_mode="donot_use_mm_for_euclid_dist")
        return self.outputscale * SHAPES[self.kernel](distance)

    def posterior(self, x: Rows | None, y: Rows) -> GPPosterior:
        """The distribution of f given the context: call `.at(xq)` for its values at the rows
        `xq`."""
        rows, targets = checked_rows(x, y)
        factor = cholesky(self._noisy(rows))
        return GPPosterior(
            self, rows, factor, torch.cholesky_solve((targets - self.mean).unsqueeze(-1), factor)
        )

    def predictive(self, x: Rows | None, y: Rows, xq: Rows | None = None) -> Gaussian:
        mean, variance = self.posterior(x, y).marginals(checked_queries(x, xq))
        return Gaussian(mean, variance + self.noise_variance)

    def prefixes(self, x: Rows | None, y: Rows) -> Gaussian:
        rows, targets = checked_rows(x, y)
        return one_after_another(torch.full_like(targets, self.mean), self._noisy(rows), targets)

    def sample(
        self, x: Float[Tensor, "... N D"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "... N"]:
        """Targets at the rows `x`, drawn from the prior, noise included."""
        factor = cholesky(self._noisy(x))
        noise = torch.randn(
            factor.shape[:-1], generator=generator, device=x.device, dtype=torch.float64
        )
        return self.mean + (factor @ noise.unsqueeze(-1)).squeeze(-1)

    def _noisy(self, rows: Tensor) -> Float[Tensor, "... N N"]:
        eye = torch.eye(rows.shape[-2], dtype=torch.float64, device=rows.device)
        return self.covariance(rows, rows) + self.noise_variance * eye


@dataclass(frozen=True)
class GPPosterior:
    """A Gaussian process given context rows."""

    gp: GP
    """The process before the rows were seen."""
    rows: Float[Tensor, "... N D"]
    """The context rows."""
    factor: Float[Tensor, "... N N"]
    """Lower Cholesky factor of the covariance of the context's targets."""
    weights: Float[Tensor, "... N 1"]
    """That covariance's inverse times the targets less the mean."""

    def at(self, xq: Float[Tensor, "... Q D"]) -> GaussianPosterior:
        """The joint distribution of f, without noise, at the rows `xq`."""
        cross = self.gp.covariance(self.rows, xq)  # (..., N, Q)
        half = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        return GaussianPosterior(self._mean(cross), self.gp.covariance(xq, xq) - half.mT @ half)

    def marginals(
        self, xq: Float[Tensor, "... Q D"]
    ) -> tuple[Float[Tensor, "... Q"], Float[Tensor, "... Q"]]:
        """Mean and variance of f at each of the rows `xq` alone."""
        cross = self.gp.covariance(self.rows, xq)
        half = torch.linalg.solve_triangular(self.factor, cross, upper=False)
        return self._mean(cross), (self.gp.outputscale - half.square().sum(-2)).clamp(min=0)

    def _mean(self, cross: Tensor) -> Tensor:
        return self.gp.mean + (cross.mT @ self.weights).squeeze(-1)
