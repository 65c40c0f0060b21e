"""`ExactPosterior`: what a model of sequences implies, without approximation; and normal
posteriors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from openpfn.heads.base import Predictive
from openpfn.heads.gaussian import Gaussian

Rows = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."]
"""Rows or targets, as a tensor or an array."""


class ExactPosterior(ABC):
    """Bayesian inference in closed form, from tensors or arrays. All leading axes `...` (tasks) go
    in at once; everything is float64 inside and out.

    Context rows `x` (..., N, D) and `y` (..., N) may be none at all (N = 0): then the prior
    answers.
    """

    @abstractmethod
    def posterior(self, x: Rows | None, y: Rows) -> Any:
        """The distribution of the parameters given the context rows."""

    @abstractmethod
    def predictive(self, x: Rows | None, y: Rows, xq: Rows | None = None) -> Predictive:
        """The distribution of the target (..., Q) of each query row `xq` (..., Q, D), noise
        included, given the context rows."""

    @abstractmethod
    def prefixes(self, x: Rows | None, y: Rows) -> Predictive:
        """The distribution of each `y` (..., N) given its own input and the rows before it: what a
        sequence model predicts.

        Its `log_prob(y)` summed over rows is the log marginal likelihood of the sequence.
        """


@dataclass(frozen=True)
class GaussianPosterior:
    """A multivariate normal distribution over D numbers, per task."""

    mean: Float[Tensor, "... D"]
    """Posterior mean."""
    covariance: Float[Tensor, "... D D"]
    """Posterior covariance."""

    def sample(
        self, n_draws: int, generator: torch.Generator | None = None
    ) -> Float[Tensor, "S ... D"]:
        """`n_draws` draws per task."""
        values, vectors = torch.linalg.eigh(self.covariance)
        noise = torch.randn(
            n_draws,
            *self.mean.shape,
            generator=generator,
            device=self.mean.device,
            dtype=self.mean.dtype,
        )
        return self.mean + (vectors @ (values.clamp(min=0).sqrt() * noise).unsqueeze(-1)).squeeze(
            -1
        )

    def log_prob(self, value: Float[Tensor, "... D"]) -> Float[Tensor, "..."]:
        """Log-density in nats; needs a covariance of full rank."""
        return torch.distributions.MultivariateNormal(self.mean, self.covariance).log_prob(
            value.to(self.mean)
        )


def doubled(*given: Rows) -> tuple[Float[Tensor, "..."], ...]:
    """The tensors, or arrays, in float64."""
    return tuple(torch.as_tensor(one).to(torch.float64) for one in given)


def checked_rows(x: Rows | None, y: Rows) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """`x` and `y` in float64. Raises ValueError unless they are finite, of shapes (..., N, D) and
    (..., N)."""
    if (
        x is None
        or x.ndim < 2
        or x.shape[-2] != y.shape[-1]
        or not _go_together(x.shape[:-2], y.shape[:-1])
    ):
        raise ValueError(
            f"x has shape {None if x is None else tuple(x.shape)} and y {tuple(y.shape)}; expected"
            " (..., N, D) and (..., N)."
        )
    rows, targets = doubled(x, y)
    check_finite(x=rows, y=targets)
    return rows, targets


def checked_queries(x: Rows | None, xq: Rows | None) -> Float[Tensor, "... Q D"]:
    """`xq` in float64. Raises ValueError unless it is finite, of shape (..., Q, D), with as many
    columns as the context rows `x`."""
    if xq is None:
        raise ValueError("xq is missing: give the inputs (..., Q, D) of the rows to predict.")
    if xq.ndim < 2 or (x is not None and xq.shape[-1] != x.shape[-1]):
        rows = None if x is None else tuple(x.shape)
        raise ValueError(
            f"xq has shape {tuple(xq.shape)} and x {rows}; expected (..., Q, D) and (..., N, D)."
        )
    queries = doubled(xq)[0]
    check_finite(xq=queries)
    return queries


def check_finite(**given: Tensor) -> None:
    """Raise ValueError, naming the argument, where one holds NaN or infinite values: no closed form
    knows what they stand for."""
    for name, value in given.items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} holds NaN or infinite values. Leave the rows out.")


def _go_together(a: Sequence[int], b: Sequence[int]) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b), strict=False))


def one_after_another(
    mean: Float[Tensor, "... N"], covariance: Float[Tensor, "... N N"], y: Float[Tensor, "... N"]
) -> Gaussian:
    """Each of jointly normal targets given those before it.

    With the covariance L Lᵀ and z = L⁻¹ (y − mean), target i given the earlier ones has mean y_i −
    L_ii z_i and variance L_ii²: the chain rule, one factorization for all prefixes.
    """
    factor = cholesky(covariance)
    scale = factor.diagonal(dim1=-2, dim2=-1)  # (..., N)
    z = torch.linalg.solve_triangular(factor, (y - mean).unsqueeze(-1), upper=False).squeeze(-1)
    return Gaussian(y - scale * z, scale.square())


def cholesky(covariance: Float[Tensor, "... N N"]) -> Float[Tensor, "... N N"]:
    """The lower factor. Raises ValueError when the matrix is not positive definite."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if bool(failed.any()):
        raise ValueError(
            "a covariance is not positive definite to rounding. Raise noise_variance, or look for"
            " repeated rows."
        )
    return factor
