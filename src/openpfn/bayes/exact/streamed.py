"""`StreamedMixture`: a mixture of more normal distributions than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Predictive, Values, as_tensor
from openpfn.heads.gaussian import Gaussian, GaussianMixture, bisected

Parts = Callable[[], Iterator[tuple[Tensor, Tensor]]]
MOST_POINTS = 1024
"""Points among which the mode is looked for, at most."""
NUMBERS_IN_MEMORY = 2**24
"""Means of components that are held together where a formula needs all of a target's; one target's
always are."""


class StreamedMixture(Predictive):
    """A mixture of normal distributions of one `variance`, whose components come part by part and
    never stand in memory together.

    `parts()` gives, each time that it is called, pairs of log weights, up to one constant, and
    means, each (..., m). Mean and variance are found once; `log_prob` and `cdf` take one pass over
    the parts, quantiles and draws, by bisection, 64; `entropy` and `crps` take one for as many
    targets as fit in memory together. All are exact but `mode`.
    """

    def __init__(self, parts: Parts, variance: float) -> None:
        self.parts, self.noise_variance = parts, variance
        self._look_over()

    @property
    def shape(self) -> torch.Size:
        return self._mean.shape

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self._mean

    @property
    def variance(self) -> Float[Tensor, "..."]:
        return self._spread + self.noise_variance

    @property
    def mode(self) -> Float[Tensor, "..."]:
        """The highest of points half a standard deviation of the components apart, of 1024 at
        most."""
        step = self.noise_variance**0.5 / 2
        n_points = min(MOST_POINTS, 2 + int(float((self._high - self._low).max()) / step))
        best = highest = None
        for share in torch.linspace(0, 1, n_points, dtype=self._mean.dtype).tolist():
            y = torch.lerp(self._low, self._high, share)
            height = self.log_prob(y)
            if best is None or highest is None:
                best, highest = y, height
            best, highest = torch.where(height > highest, y, best), torch.maximum(height, highest)
        assert best is not None
        return best

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self._mean).unsqueeze(-1)
        total = torch.tensor(-torch.inf, dtype=self._mean.dtype, device=self._mean.device)
        for log_weights, means in self.parts():
            joint = log_weights - self._total.unsqueeze(-1) + self._component(means).log_prob(y)
            total = torch.logaddexp(total, joint.logsumexp(-1))
        return total

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self._mean).unsqueeze(-1)
        total = torch.zeros((), dtype=self._mean.dtype, device=self._mean.device)
        for log_weights, means in self.parts():
            total = total + (
                (log_weights - self._total.unsqueeze(-1)).exp() * self._component(means).cdf(y)
            ).sum(-1)
        return total

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        p = p.to(self._mean)
        away = self.noise_variance**0.5 * torch.special.ndtri(p)
        low, high = (
            self._low + away,
            self._high + away,
        )  # between the least and the greatest of the components' quantiles
        return bisected(self.cdf, p, low, high)

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        return self.icdf(
            torch.rand(
                self.shape, generator=generator, device=self._mean.device, dtype=self._mean.dtype
            )
        )

    def entropy(self) -> Float[Tensor, "..."]:
        return torch.cat([mixture.entropy() for _, mixture in self._in_memory()]).view(self.shape)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self._mean).to(self._mean.dtype)
        shape = torch.broadcast_shapes(y.shape, self.shape)
        flat = y.expand(shape).reshape(-1, self.shape.numel())  # (values per target, targets)
        scores = [mixture.crps(flat[:, targets]) for targets, mixture in self._in_memory()]
        return torch.cat(scores, dim=1).view(shape)

    def _in_memory(self) -> Iterator[tuple[slice, GaussianMixture]]:
        """Mixtures of a few targets each, all their components together; a pass over the parts for
        each."""
        n_targets = self.shape.numel()
        n_components = sum(torch.broadcast_tensors(*part)[1].shape[-1] for part in self.parts())
        size = max(1, NUMBERS_IN_MEMORY // n_components)
        for target in range(0, n_targets, size):
            targets = slice(target, target + size)
            kept = [
                [values.expand(*self.shape, -1).reshape(n_targets, -1)[targets] for values in part]
                for part in (torch.broadcast_tensors(*part) for part in self.parts())
            ]
            log_weights, means = (torch.cat(parts, dim=-1) for parts in zip(*kept, strict=True))
            yield (
                targets,
                GaussianMixture(log_weights, means, torch.full_like(means, self.noise_variance)),
            )

    def _component(self, means: Tensor) -> Gaussian:
        return Gaussian(
            means, torch.full((), self.noise_variance, dtype=means.dtype, device=means.device)
        )

    def _look_over(self) -> None:
        """Total log weight, mean and variance of the means, merged part by part (Chan et al. 1983),
        and the least and greatest mean."""
        known: tuple[Tensor, ...] | None = None
        for log_weights, means in self.parts():
            log_weights, means = torch.broadcast_tensors(log_weights, means)
            total, share = (
                log_weights.logsumexp(-1),
                log_weights.softmax(-1).nan_to_num(),
            )  # a part may have no weight at all
            mean = (share * means).sum(-1)
            spread = (share * (means - mean.unsqueeze(-1)).square()).sum(-1)
            found = total, mean, spread, means.amin(-1), means.amax(-1)
            known = found if known is None else _merged(known, found)
        assert known is not None, "no parts"
        self._total, self._mean, self._spread, self._low, self._high = known


def _merged(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    total = torch.logaddexp(a[0], b[0])
    of_b = (b[0] - total).exp().nan_to_num()  # share of b; neither may have any weight so far
    apart = b[1] - a[1]
    mean = a[1] + of_b * apart
    spread = torch.lerp(a[2], b[2], of_b) + of_b * (1 - of_b) * apart.square()
    return total, mean, spread, torch.minimum(a[3], b[3]), torch.maximum(a[4], b[4])
