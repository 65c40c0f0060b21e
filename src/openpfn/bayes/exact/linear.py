"""`ConjugateLinear`: Bayesian linear regression with known noise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.exact.base import (
    ExactPosterior,
    GaussianPosterior,
    Rows,
    checked_queries,
    checked_rows,
    one_after_another,
)
from openpfn.heads.gaussian import Gaussian

LEAST_SHARE = 1e-6
"""Noise, as a share of the targets' largest prior variance, below which prefixes go row by row: a
Cholesky factor of all targets' covariance loses as many digits as this has zeros."""


class ConjugateLinear(ExactPosterior):
    """The exact posterior of y = xᵀβ + ε with ε ~ N(0, noise_variance) and β ~ N(prior_mean, prior
    covariance).

    `prior_variance` is one number for all coefficients, one per coefficient (D,), or their
    covariance (D, D), which may be singular; `prior_mean` a number or (D,). With `with_bias` a last
    coefficient multiplies 1: (D,) and (D, D) then count it. The posterior has covariance (XᵀX / σ²
    + Σ₀⁻¹)⁻¹ (Bishop 2006, eqs. 3.50 to 3.59), and its mean is the ridge estimate with penalty σ² /
    prior_variance. Before any row, y ~ N(xᵀμ₀, xᵀΣ₀x + σ²).

    >>> x, y = torch.ones(1, 1), torch.tensor([2.0])
    >>> posterior = ConjugateLinear(noise_variance=1.0, prior_variance=1.0).posterior(x, y)
    >>> round(float(posterior.mean), 6), round(float(posterior.covariance), 6)
    (1.0, 0.5)
    """

    def __init__(
        self,
        noise_variance: float,
        prior_variance: float | Float[Tensor, "..."] = 1.0,
        prior_mean: float | Float[Tensor, "..."] = 0.0,
        with_bias: bool = False,
    ) -> None:
        if not noise_variance > 0:
            raise ValueError(f"noise_variance is {noise_variance}, must be greater than 0.")
        self.noise_variance, self.with_bias = float(noise_variance), with_bias
        self.prior_variance = torch.as_tensor(prior_variance, dtype=torch.float64)
        self.prior_mean = torch.as_tensor(prior_mean, dtype=torch.float64)
        if self.prior_variance.ndim > 2 or self.prior_mean.ndim > 1:
            raise ValueError(
                f"prior_variance has shape {tuple(self.prior_variance.shape)} and prior_mean"
                f" {tuple(self.prior_mean.shape)}; expected (), (D,) or (D, D), and () or (D,)."
            )

        _check_covariance(self.prior_variance)
        if not bool(self.prior_mean.isfinite().all()):
            raise ValueError(f"prior_mean is {prior_mean}, must be finite.")

    def posterior(self, x: Rows | None, y: Rows) -> GaussianPosterior:
        """Mean (..., D) and covariance (..., D, D) of the coefficients; the bias, if any, is the
        last."""
        rows, y = self._rows(x, y)
        mean, root = self._prior(rows)
        factor, z = self._solved(rows @ root, y - rows @ mean)
        half = self._spread(factor, root)  # (..., D, D)
        return GaussianPosterior(mean + (root @ z).squeeze(-1), half.mT @ half)

    def predictive(self, x: Rows | None, y: Rows, xq: Rows | None = None) -> Gaussian:
        rows, y = self._rows(x, y)
        queries = self._with_bias(checked_queries(x, xq))
        mean, root = self._prior(rows)
        factor, z = self._solved(rows @ root, y - rows @ mean)
        asked = queries @ root  # (..., Q, D)
        half = self._spread(factor, asked)  # (..., D, Q)
        return Gaussian(
            queries @ mean + (asked @ z).squeeze(-1),
            half.square().sum(-2) + self.noise_variance,
        )

    def prefixes(self, x: Rows | None, y: Rows) -> Gaussian:
        rows, y = self._rows(x, y)
        mean, root = self._prior(rows)
        features = rows @ root
        covariance = features @ features.mT
        largest = covariance.diagonal(dim1=-2, dim2=-1).amax() if covariance.numel() else 0.0
        if self.noise_variance < LEAST_SHARE * float(largest):
            return self._row_by_row(features, rows @ mean, y)
        noise = self.noise_variance * torch.eye(y.shape[-1], dtype=root.dtype, device=root.device)
        return one_after_another(rows @ mean, covariance + noise, y)

    def _solved(
        self, features: Float[Tensor, "... N D"], residual: Float[Tensor, "... N"]
    ) -> tuple[Float[Tensor, "... D D"], Float[Tensor, "... D 1"]]:
        """The triangular factor R of FᵀF + σ²I, and the mean of z, where β = μ₀ + root z.

        z ~ N(0, I) before any row, so its precision is at least 1, however flat or singular the
        prior is. R comes from a QR decomposition of F over σI, large rows first: it keeps the
        digits that the product FᵀF would lose.
        """
        d = features.shape[-1]
        prior = self.noise_variance**0.5 * torch.eye(d, dtype=features.dtype).to(features)
        prior = prior.expand(*features.shape[:-2], d, d)
        q, factor = torch.linalg.qr(torch.cat([features, prior], dim=-2))
        right = F.pad(residual, (0, d)).unsqueeze(-1)  # (..., N + D, 1)
        z = torch.linalg.solve_triangular(
            factor.expand(*right.shape[:-2], d, d), q.mT @ right, upper=True
        )
        return factor, z

    def _spread(
        self, factor: Float[Tensor, "... D D"], asked: Float[Tensor, "... Q D"]
    ) -> Float[Tensor, "... D Q"]:
        """σ R⁻ᵀ askedᵀ: its columns' products are the posterior covariance of asked · z."""
        shape = torch.broadcast_shapes(factor.shape[:-2], asked.shape[:-2])
        wide = asked.mT.expand(*shape, *asked.mT.shape[-2:])
        return self.noise_variance**0.5 * torch.linalg.solve_triangular(
            factor.mT.expand(*shape, *factor.shape[-2:]), wide, upper=False
        )

    def _row_by_row(
        self,
        features: Float[Tensor, "... N D"],
        mean: Float[Tensor, "... N"],
        y: Float[Tensor, "... N"],
    ) -> Gaussian:
        """`prefixes` by a QR decomposition after each row, which little noise does not trouble."""
        shape = torch.broadcast_shapes(features.shape[:-1], y.shape)
        features, mean, y = features.expand(*shape, -1), mean.expand(shape), y.expand(shape)
        d = features.shape[-1]
        factor = self.noise_variance**0.5 * torch.eye(d, dtype=y.dtype).to(y)
        factor = factor.expand(*shape[:-1], d, d)
        right = torch.zeros_like(features[..., 0, :]).unsqueeze(-1)  # (..., D, 1)
        means, variances = [], []
        for i in range(shape[-1]):
            row = features[..., i : i + 1, :]  # (..., 1, D)
            z = torch.linalg.solve_triangular(factor, right, upper=True)
            means.append(mean[..., i] + (row @ z)[..., 0, 0])
            variances.append(self._spread(factor, row).square().sum((-2, -1)) + self.noise_variance)
            q, factor = torch.linalg.qr(torch.cat([row, factor], dim=-2))
            residual = (y[..., i] - mean[..., i])[..., None, None]
            right = q.mT @ torch.cat([residual, right], dim=-2)
        return Gaussian(torch.stack(means, dim=-1), torch.stack(variances, dim=-1))

    def _rows(self, x: Rows | None, y: Rows) -> tuple[Tensor, Tensor]:
        rows, targets = checked_rows(x, y)
        return self._with_bias(rows), targets

    def _with_bias(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.ones_like(x[..., :1])], -1) if self.with_bias else x

    def _prior(self, rows: Tensor) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
        """Mean and a root of the covariance of the coefficients."""
        d = rows.shape[-1]
        variance, mean = self.prior_variance.to(rows.device), self.prior_mean.to(rows.device)
        if variance.shape[-1:] not in ((), (d,)) or mean.shape not in ((), (d,)):
            raise ValueError(
                f"prior_variance has shape {tuple(variance.shape)} and prior_mean"
                f" {tuple(mean.shape)}, but there are {d} coefficients"
                + (", the bias included." if self.with_bias else ".")
            )
        if variance.ndim == 2:
            values, vectors = torch.linalg.eigh(variance)
            return mean.expand(d), vectors * values.clamp(min=0).sqrt()
        return mean.expand(d), torch.diag(variance.sqrt().expand(d))


def _check_covariance(variance: Float[Tensor, "..."]) -> None:
    """Raise ValueError for what is no variance, no variances, and no covariance."""
    if variance.ndim == 2 and (
        variance.shape[0] != variance.shape[1] or not torch.allclose(variance, variance.mT)
    ):
        raise ValueError(
            f"prior_variance has shape {tuple(variance.shape)} and is no covariance: it must be"
            " square and symmetric."
        )
    if not bool(variance.isfinite().all()):
        raise ValueError("prior_variance must be finite.")
    least = float((torch.linalg.eigvalsh(variance) if variance.ndim == 2 else variance).min())
    if least < -1e-9 * float(variance.abs().max()):
        raise ValueError(
            f"prior_variance has the variance {least:.3g} in some direction; none may be negative."
        )
