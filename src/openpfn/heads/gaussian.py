"""Normal distributions and mixtures of them, and the decoder that gives a mixture's parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from openpfn.heads.base import Head, OverLogits, Predictive, Values, as_tensor

LOG_2PI = math.log(2 * math.pi)
BISECTIONS = 64
"""Halvings of the bracket around a quantile of a mixture: as many as float64 can tell apart."""
STARTS = 64
"""Number of components from whose means the climb to a mixture's mode begins."""
CLIMBS = 100
"""Number of steps of that climb."""
MOST_AT_ONCE = 128
"""Components up to which the entropies of all targets are found together, by dense formulas."""
MOST_PAIRED = 2048
"""Components up to which the CRPS goes over all pairs of them."""
COMPONENT_REACH = 8.5
"""Standard deviations about its mean where a component is seen; 2e-17 of it lies beyond."""
CELLS_PER_COMPONENT = 24
"""Cells that lie along one component where all targets are found together."""
LEAST_STD = 1e-3
"""Standard deviation that no component of a network's mixture goes below: a density may not grow
without bound."""
ELEMENTS_AT_ONCE = 2**22
"""Pairs of components looked at together where a formula runs over all pairs."""


class Gaussian(Predictive):
    """A normal distribution per target; `mean` and `variance` (of the target, noise included)
    broadcast."""

    def __init__(self, mean: Float[Tensor, "..."], variance: Float[Tensor, "..."]) -> None:
        self._mean, self._variance = torch.broadcast_tensors(mean, variance)

    @property
    def shape(self) -> torch.Size:
        return self._mean.shape

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self._mean

    @property
    def median(self) -> Float[Tensor, "..."]:
        return self._mean

    @property
    def preds(self) -> Float[Tensor, "... 1"]:
        """The mean with a last axis of one, as point predictions have it elsewhere."""
        return self._mean.unsqueeze(-1)

    @property
    def mode(self) -> Float[Tensor, "..."]:
        return self._mean

    @property
    def variance(self) -> Float[Tensor, "..."]:
        return self._variance

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        return _log_normal(as_tensor(y, self._mean), self._mean, self._variance)

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        return torch.special.ndtr((as_tensor(y, self._mean) - self._mean) / self.std)

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        z = torch.special.ndtri(p.to(self._mean.device, torch.float64)).to(self._mean.dtype)
        return self._mean + self.std * z

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        noise = torch.randn(
            self.shape, generator=generator, device=self._mean.device, dtype=self._mean.dtype
        )
        return self._mean + self.std * noise

    def entropy(self) -> Float[Tensor, "..."]:
        return 0.5 * (1 + LOG_2PI + self._variance.log())

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """As in `Predictive`; in closed form (Gneiting & Raftery 2007, eq. 21)."""
        return (
            _mean_distance(as_tensor(y, self._mean) - self._mean, self._variance)
            - (self._variance / math.pi).sqrt()
        )


class GaussianMixture(OverLogits):
    """A mixture of K normal distributions per target.

    `logits` (..., K) are the components' log weights up to a constant (−inf leaves one out);
    `means` and `variances` broadcast with them. Quantiles are found by bisection, `entropy` by a
    quadrature as fine as the components; `mean`, `variance`, `cdf` and `crps` are exact (`crps` of
    more than 2048 components takes that quadrature, too, which is exact to about 1e-9 of the
    spread).
    """

    def __init__(
        self,
        logits: Float[Tensor, "... K"],
        means: Float[Tensor, "... #K"],
        variances: Float[Tensor, "... #K"],
    ) -> None:
        self.logits, self.means, self.variances = torch.broadcast_tensors(logits, means, variances)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return (self.probs * self.means).sum(dim=-1)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        apart = (self.means - self.mean.unsqueeze(-1)).square()
        return (self.probs * (self.variances + apart)).sum(dim=-1)

    @property
    def mode(self) -> Float[Tensor, "..."]:
        """The highest point reached by climbing from the means of the (at most 64) highest
        components (mean shift)."""
        n_starts = min(STARTS, self.logits.shape[-1])
        starts = (self.logits - self.variances.log() / 2).topk(n_starts, dim=-1).indices
        y = self.means.gather(-1, starts).movedim(-1, 0)  # (S, ...)
        for _ in range(CLIMBS):
            weight = (self._joint(y) - self.variances.log()).softmax(dim=-1)  # (S, ..., K)
            y = (weight * self.means).sum(dim=-1)
        best = self.log_prob(y).argmax(dim=0, keepdim=True)
        return y.gather(0, best).squeeze(0)

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        return self._joint(as_tensor(y, self.means)).logsumexp(dim=-1)

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.means).unsqueeze(-1)
        return (self.probs * torch.special.ndtr((y - self.means) / self.variances.sqrt())).sum(
            dim=-1
        )

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        wide = GaussianMixture(
            self.logits.detach().double(),
            self.means.detach().double(),
            self.variances.detach().double(),
        )
        p = p.to(self.means.device, torch.float64)
        # a quantile of the mixture lies between the least and the greatest of the components'
        # quantiles
        ends = wide.means + wide.variances.sqrt() * torch.special.ndtri(p).unsqueeze(-1)  # (..., K)
        present = wide.logits > -torch.inf
        low = torch.where(present, ends, torch.inf).amin(dim=-1)
        high = torch.where(present, ends, -torch.inf).amax(dim=-1)
        return bisected(wide.cdf, p, low, high).to(self.means.dtype)

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        flat = self.probs.reshape(-1, self.logits.shape[-1])  # (targets, K)
        chosen = torch.multinomial(flat, 1, generator=generator).view(*self.shape, 1)
        noise = torch.randn(self.shape, generator=generator, device=flat.device, dtype=flat.dtype)
        return (
            self.means.gather(-1, chosen).squeeze(-1)
            + self.variances.gather(-1, chosen).squeeze(-1).sqrt() * noise
        )

    def entropy(self) -> Float[Tensor, "..."]:
        """Entropy in nats, −∫ p log p, by Gauss-Legendre quadrature over cells of at most half a
        standard deviation of every component that reaches into them."""
        if self.logits.shape[-1] > MOST_AT_ONCE:
            return self._over_cells("density", torch.special.entr)
        t = torch.linspace(-COMPONENT_REACH, COMPONENT_REACH, CELLS_PER_COMPONENT + 1)
        edges = self.means.unsqueeze(-1) + self.variances.sqrt().unsqueeze(-1) * t.to(self.means)
        edges = edges.flatten(-2).sort(dim=-1).values.movedim(-1, 0)  # (K · T, ...)
        places, weights = (v.to(edges) for v in _gauss_legendre(3))
        total = torch.zeros_like(self.means[..., 0])
        size = max(1, ELEMENTS_AT_ONCE // max(1, self.logits.numel()))
        for left, right in zip(edges[:-1].split(size), edges[1:].split(size), strict=True):
            for place, weight in zip(places, weights, strict=True):
                log_density = self.log_prob(torch.lerp(left, right, place))  # (cells, ...)
                area = log_density.exp() * log_density.clamp(min=-1e6)  # 0 · −∞ is 0 here
                total = total - (weight * (right - left) * area).sum(dim=0)
        return total

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """As in `Predictive`, from E|Y − y| − E|Y − Y'| / 2; in closed form (Grimit et al. 2006) in
        time quadratic in K, up to 2048 components."""
        probs = self.probs
        apart = as_tensor(y, self.means).unsqueeze(-1) - self.means
        to_y = (probs * _mean_distance(apart, self.variances)).sum(dim=-1)
        if self.logits.shape[-1] > MOST_PAIRED:
            # E|Y − Y'| = 2 ∫ F (1 − F)
            return to_y - self._over_cells("cdf", lambda below: below * (1 - below))
        return to_y - self._mean_distance_of_two() / 2

    def _mean_distance_of_two(self) -> Float[Tensor, "..."]:
        """Return E|Y − Y'| of two independent draws, from all pairs of components."""
        probs, n = self.probs, self.logits.shape[-1]
        size = max(1, ELEMENTS_AT_ONCE // max(1, probs.numel()))
        total = torch.zeros_like(probs[..., 0])
        for start in range(0, n, size):
            part = slice(start, start + size)
            distance = _mean_distance(
                self.means[..., part, None] - self.means[..., None, :],
                self.variances[..., part, None] + self.variances[..., None, :],
            )  # (..., size, K)
            total = total + (probs[..., part, None] * probs[..., None, :] * distance).sum(
                dim=(-2, -1)
            )
        return total

    def _over_cells(
        self, of: Literal["density", "cdf"], function: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "..."]:
        """∫ function(density) or ∫ function(cdf), target by target; takes no gradients."""
        weights, means, variances = (
            values.detach().double().reshape(-1, self.logits.shape[-1])
            for values in (self.probs, self.means, self.variances)
        )
        found = [
            _integral_over_cells(of, function, *one)
            for one in zip(weights, means, variances.sqrt(), strict=True)
        ]
        return torch.stack(found).view(self.shape).to(self.means.dtype)

    def _joint(self, y: Tensor) -> Tensor:
        """Log-density of each component together with `y`, (..., K)."""
        return self.logits.log_softmax(dim=-1) + _log_normal(
            y.unsqueeze(-1), self.means, self.variances
        )


def _integral_over_cells(
    of: Literal["density", "cdf"],
    function: Callable[[Tensor], Tensor],
    weights: Float[Tensor, " K"],
    means: Float[Tensor, " K"],
    stds: Float[Tensor, " K"],
) -> Float[Tensor, ""]:
    """∫ function(density) or ∫ function(cdf) of one mixture, over cells that the standard deviation
    of the components within reach sets.

    Components are grouped by the power of 2 below their standard deviation: each group has one
    lattice of cells, so that near components share theirs, and looks only at components near a
    cell. `function` must vanish at 0, for the cdf also at 1.
    """
    kept = weights > 1e-20
    weights, means, stds = weights[kept], means[kept], stds[kept]
    means = means - (weights * means).sum()  # digits of differences, not of the whole
    order = means.argsort()
    weights, means, stds = weights[order], means[order], stds[order]
    octave = stds.log2().floor()
    groups = [
        (weights[octave == o], means[octave == o], stds[octave == o], 2.0**o)
        for o in octave.unique().tolist()
    ]
    edges = torch.cat([_lattice(m, s, step / 2) for _, m, s, step in groups]).unique()
    places, areas = (v.to(edges) for v in _gauss_legendre(5))
    total = edges.new_zeros(())
    for left, right in zip(edges[:-1].split(256), edges[1:].split(256), strict=True):
        y = left[:, None] + (right - left)[:, None] * places  # (cells, nodes)
        area = (right - left)[:, None] * areas
        found = torch.zeros_like(y)
        for group_weights, group_means, group_stds, step in groups:
            reach = 2 * step * COMPONENT_REACH
            ends = torch.stack([left[0] - reach, right[-1] + reach])
            first, last = torch.searchsorted(group_means, ends).tolist()
            if of == "cdf":
                found += group_weights[:first].sum()
            size = max(1, ELEMENTS_AT_ONCE // y.numel())
            for start in range(first, last, size):
                part = slice(start, min(start + size, last))
                z = (y.unsqueeze(-1) - group_means[part]) / group_stds[part]
                if of == "cdf":
                    found += torch.special.ndtr(z) @ group_weights[part]
                else:
                    height = group_weights[part] / (group_stds[part] * math.sqrt(2 * math.pi))
                    found += torch.exp(-z.square() / 2) @ height
        total = total + (function(found) * area).sum()
    return total


def _lattice(
    means: Float[Tensor, " K"], stds: Float[Tensor, " K"], step: float
) -> Float[Tensor, " L"]:
    """The multiples of `step` within reach of any of the components, which come in order of their
    means."""
    first = ((means - COMPONENT_REACH * stds) / step).floor()
    last = ((means + COMPONENT_REACH * stds) / step).ceil()
    reached = torch.cat([first[:1] - 1, last[:-1].cummax(dim=0).values])  # by those before
    begin = torch.maximum(first, reached + 1)
    n_new = (last - begin + 1).clamp(min=0).long()
    offset = torch.arange(int(n_new.sum()), device=means.device) - (
        n_new.cumsum(dim=0) - n_new
    ).repeat_interleave(n_new)
    return (begin.repeat_interleave(n_new) + offset) * step


def _gauss_legendre(n: int) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Places and weights of the Gauss-Legendre rule on [0, 1]."""
    places, weights = np.polynomial.legendre.leggauss(n)
    return torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2)


def bisected(cdf: Callable[[Tensor], Tensor], p: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Return where `cdf` reaches `p`, between `low` and `high`, by bisection."""
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = cdf(middle) < p
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _log_normal(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -0.5 * ((y - mean).square() / variance + variance.log() + LOG_2PI)


def _mean_distance(m: Tensor, variance: Tensor) -> Tensor:
    """Return E|Z| of a normal Z with mean `m`."""
    s = variance.sqrt()
    z = m / s
    return s * (math.sqrt(2 / math.pi) * torch.exp(-z.square() / 2)) + m * torch.special.erf(
        z / math.sqrt(2)
    )


class GaussianMixtureHead(Head):
    """Decoder to a mixture of `n_components` normal distributions of a standardised target.

    It begins at equal weights with means spread like a normal distribution of this `mean` and
    `std`.
    """

    aliases = ("mixture",)

    def __init__(
        self,
        d_model: int | None,
        d_hidden: int | None,
        n_components: int = 32,
        mean: float = 0.0,
        std: float = 1.0,
    ) -> None:
        if n_components < 1:
            raise ValueError(f"n_components is {n_components}, must be at least 1.")
        self.mean, self.std_of_means = mean, std
        super().__init__(d_model, d_hidden, 3 * n_components)

    def first_outputs(self) -> Float[Tensor, " P"]:
        return spread_out(self.n_outputs // 3, self.mean, self.std_of_means)

    def predictive(self, logits: Float[Tensor, "... P"]) -> GaussianMixture:
        return mixture_of(logits)

    def tempered(self, logits: Float[Tensor, "... P"], temperature: float) -> GaussianMixture:
        mixture = mixture_of(logits)
        return GaussianMixture(
            mixture.logits / temperature, mixture.means, mixture.variances * temperature
        )


def mixture_of(logits: Float[Tensor, "... P"]) -> GaussianMixture:
    """The mixture that a network's P = 3K outputs stand for: K log weights, K means, K raw
    widths."""
    weights, means, raw = logits.chunk(3, dim=-1)
    return GaussianMixture(weights, means, (F.softplus(raw) + LEAST_STD).square())


def spread_out(n_components: int, mean: float = 0.0, std: float = 1.0) -> Float[Tensor, " P"]:
    """Outputs of a mixture for a network to begin at: equal weights, means at normal quantiles,
    overlapping widths."""
    at = (torch.arange(n_components, dtype=torch.float64) + 0.5) / n_components
    means = mean + std * torch.special.ndtri(at)
    width = torch.full((n_components,), std * max(0.3, 1 / n_components))
    return torch.cat([torch.zeros(n_components), means.float(), torch.log(torch.expm1(width))])
