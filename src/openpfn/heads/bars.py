"""A piecewise distribution over the real line: uniform buckets, with half-normal tails or none, and
its decoder."""

from __future__ import annotations

import math
from functools import cached_property
from numbers import Integral

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.heads.base import Head, OverLogits, Values, as_tensor

MEDIAN_OF_HALF_NORMAL = 0.6744897501960817
"""Median of |Z|, Z standard normal."""
MEAN_OF_HALF_NORMAL = math.sqrt(2 / math.pi)
"""Mean of |Z|, Z standard normal."""
GINI_OF_HALF_NORMAL = 2 / math.sqrt(math.pi) * (2 - math.sqrt(2))
"""Mean of ||Z| − |Z'||, which is √2 E min(|U|, |V|) by turning (Z, Z') by 45°."""


class BarDistribution(OverLogits):
    """Probabilities of K buckets between K + 1 increasing `borders`; within a bucket the density is
    constant.

    `logits` (..., K). With "unbounded" `support` the first and the last bucket are half-normal
    tails that begin at their inner border and have their median at the outer one (the full-support
    Riemann distribution of Müller et al. 2022), so that any y has a density. With "bounded" support
    values outside have density zero. Everything is in closed form.

    >>> bars = BarDistribution(torch.zeros(4), torch.tensor([-2.0, -1, 0, 1, 2]), "bounded")
    >>> float(bars.cdf(torch.tensor(0.5))), float(bars.mean)
    (0.625, 0.0)
    """

    def __init__(
        self,
        logits: Float[Tensor, "... K"],
        borders: Float[Tensor, " K1"],
        support: str = "unbounded",
    ) -> None:
        if support not in ("unbounded", "bounded"):
            raise ValueError(f"support is {support!r}, must be 'unbounded' or 'bounded'.")
        if len(borders) != logits.shape[-1] + 1:
            raise ValueError(
                f"logits have {logits.shape[-1]} buckets, which need {logits.shape[-1] + 1}"
                f" borders, not {len(borders)}."
            )
        if support == "unbounded" and logits.shape[-1] < 3:
            raise ValueError(
                f"logits have {logits.shape[-1]} buckets; unbounded support needs at least 3."
            )
        self.logits, self.borders, self.support = logits, borders.to(logits), support
        if (
            not torch.compiler.is_compiling()
            and not borders.is_cuda
            and not bool((self.borders.diff() > 0).all())
        ):  # a GPU would wait
            raise ValueError(
                f"borders must increase, in the precision of the logits ({logits.dtype}). Sort them"
                " and drop what repeats."
            )

    @property
    def widths(self) -> Float[Tensor, " K"]:
        return self.borders.diff()

    @property
    def unbounded(self) -> bool:
        return self.support == "unbounded"

    @property
    def scales(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """Scales of the left and the right half-normal tail."""
        return self.widths[0] / MEDIAN_OF_HALF_NORMAL, self.widths[-1] / MEDIAN_OF_HALF_NORMAL

    @property
    def representatives(self) -> Float[Tensor, " K"]:
        """The median of each bucket: its middle, or the outermost border in a tail."""
        return self._with_tails(
            (self.borders[1:] + self.borders[:-1]) / 2, self.borders[0], self.borders[-1]
        )

    @property
    def y_grid(self) -> Float[Tensor, " K"]:
        """`representatives` by another name: the values that `probs` belong to."""
        return self.representatives

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return (self.probs * self._means()).sum(dim=-1)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        left, right = (s.square() * (1 - MEAN_OF_HALF_NORMAL**2) for s in self.scales)
        within = self._with_tails(self.widths.square() / 12, left, right)
        return (self.probs * (within + (self._means() - self.mean.unsqueeze(-1)).square())).sum(
            dim=-1
        )

    @property
    def mode(self) -> Float[Tensor, "..."]:
        """The middle of the bucket with the highest density; a tail is highest at its inner
        border."""
        highest = (self.logits + self._log_peaks()).argmax(dim=-1)
        return self._with_tails(
            (self.borders[1:] + self.borders[:-1]) / 2, self.borders[1], self.borders[-2]
        )[highest]

    def bucket(self, y: Float[Tensor, "..."] | Int[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Index of the bucket that `y` falls into; the outermost ones also take what lies beyond
        them."""
        return torch.searchsorted(
            self.borders[1:-1].contiguous(), y.to(self.borders).contiguous(), right=True
        )

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.borders).to(self.borders.dtype)
        shape = torch.broadcast_shapes(y.shape, self.shape)
        y = y.expand(shape)
        k = self.bucket(y)
        chosen = self.logits.expand(*shape, -1).gather(-1, k.unsqueeze(-1)).squeeze(-1)
        density = chosen - self.logits.logsumexp(dim=-1) + self._log_peaks()[k]
        if not self.unbounded:
            beyond = torch.where(y.isnan(), torch.nan, -torch.inf)
            return torch.where((y >= self.borders[0]) & (y <= self.borders[-1]), density, beyond)
        left, right = self.scales
        into_left = ((self.borders[1] - y) / left).clamp(min=0)  # zero in all other buckets
        into_right = ((y - self.borders[-2]) / right).clamp(min=0)
        return density - (into_left.square() + into_right.square()) / 2

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.borders).to(self.borders.dtype)
        shape = torch.broadcast_shapes(y.shape, self.shape)
        y = y.expand(shape)
        k = self.bucket(y)
        probs = self.probs.expand(*shape, -1)
        before = probs.cumsum(dim=-1) - probs
        inside = ((y - self.borders[k]) / self.widths[k]).clamp(0, 1)
        if self.unbounded:
            left, right = self.scales
            last = self.logits.shape[-1] - 1
            inside = torch.where(
                k == 0, torch.special.erfc((self.borders[1] - y) / left / math.sqrt(2)), inside
            )
            inside = torch.where(
                k == last, torch.special.erf((y - self.borders[-2]) / right / math.sqrt(2)), inside
            )
        at = k.unsqueeze(-1)
        return (before.gather(-1, at) + probs.gather(-1, at) * inside.unsqueeze(-1)).squeeze(-1)

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        shape = torch.broadcast_shapes(p.shape, self.shape)
        probs = self.logits.detach().double().softmax(dim=-1).expand(*shape, -1)
        p = p.to(probs).expand(shape)
        reached = probs.cumsum(dim=-1)
        k = (reached[..., :-1] < p.unsqueeze(-1)).sum(dim=-1)
        mass = probs.gather(-1, k.unsqueeze(-1)).squeeze(-1)
        before = reached.gather(-1, k.unsqueeze(-1)).squeeze(-1) - mass
        inside = ((p - before) / mass.clamp(min=torch.finfo(mass.dtype).tiny)).clamp(
            0, 1
        )  # share of the bucket below the quantile
        return self._at(k, inside).to(self.logits.dtype)

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        reached = self.probs.cumsum(dim=-1)
        uniform = torch.rand(
            2, *self.shape, generator=generator, device=reached.device, dtype=reached.dtype
        )
        share = (uniform[0] * reached[..., -1]).unsqueeze(-1)  # the sum is 1 but for rounding
        k = torch.searchsorted(reached, share, right=True).squeeze(
            -1
        )  # right: a bucket of probability 0 holds no share
        return self._at(
            k, uniform[1].clamp(min=torch.finfo(uniform.dtype).eps / 4)
        )  # not 0, where the left tail is at −∞

    def _at(self, k: Int[Tensor, "..."], inside: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The value in bucket `k` below which the share `inside` of its probability lies."""
        borders = self.borders.to(inside.dtype)
        y = borders[k] + inside * borders.diff()[k]
        if self.unbounded:
            left, right = (s.to(inside.dtype) for s in self.scales)
            y = torch.where(k == 0, borders[1] + left * torch.special.ndtri(inside / 2), y)
            y = torch.where(
                k == self.logits.shape[-1] - 1,
                borders[-2] - right * torch.special.ndtri((1 - inside) / 2),
                y,
            )
        return y

    def entropy(self) -> Float[Tensor, "..."]:
        left, right = (0.5 * (math.log(math.pi / 2) + 1) + s.log() for s in self.scales)
        within = self._with_tails(self.widths.log(), left, right)
        probs = self.probs
        return (torch.special.entr(probs) + probs * within).sum(dim=-1)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """As in `Predictive`, from E|Y − y| − E|Y − Y'| / 2; buckets do not overlap, so pairs of
        them add their means' distances."""
        y = as_tensor(y, self.borders).to(self.borders.dtype).unsqueeze(-1)
        probs, means = self.probs, self._means()
        below, above = (y - self.borders[:-1]).clamp(min=0), (self.borders[1:] - y).clamp(min=0)
        inside = (below.square() + above.square()) / (2 * self.widths)  # E|U − y| within a bucket
        distance = torch.where((below > 0) & (above > 0), inside, (means - y).abs())
        left, right = self.scales
        spread = self._with_tails(
            self.widths / 3, left * GINI_OF_HALF_NORMAL, right * GINI_OF_HALF_NORMAL
        )
        if self.unbounded:
            to_left = _distance_in_tail((self.borders[1] - y) / left) * left
            to_right = _distance_in_tail((y - self.borders[-2]) / right) * right
            distance = torch.cat([to_left, distance[..., 1:-1], to_right], dim=-1)
        reached, moment = probs.cumsum(dim=-1), (probs * means).cumsum(dim=-1)
        pairs = 2 * (probs * (means * reached - moment)).sum(dim=-1) + (
            probs.square() * spread
        ).sum(dim=-1)
        return (probs * distance).sum(dim=-1) - pairs / 2

    def _means(self) -> Float[Tensor, " K"]:
        left, right = self.scales
        middle = (self.borders[1:] + self.borders[:-1]) / 2
        return self._with_tails(
            middle,
            self.borders[1] - left * MEAN_OF_HALF_NORMAL,
            self.borders[-2] + right * MEAN_OF_HALF_NORMAL,
        )

    def _log_peaks(self) -> Float[Tensor, " K"]:
        """Log of the highest density in each bucket if it held all probability."""
        left, right = (0.5 * math.log(2 / math.pi) - s.log() for s in self.scales)
        return self._with_tails(-self.widths.log(), left, right)

    def _with_tails(self, values: Tensor, left: Tensor, right: Tensor) -> Tensor:
        if not self.unbounded:
            return values
        return torch.cat([left.view(1), values[1:-1], right.view(1)])


def _distance_in_tail(c: Tensor) -> Tensor:
    """Return E||Z| − c|: the plain distance beyond the tail (c < 0), else
    E|Z| − c + 2 ∫₀ᶜ P(|Z| ≤ t) dt."""
    inside = c.clamp(min=0)
    area = inside * torch.special.erf(
        inside / math.sqrt(2)
    ) - MEAN_OF_HALF_NORMAL * -torch.special.expm1(-inside.square() / 2)
    return MEAN_OF_HALF_NORMAL - c + 2 * area


class Bucketizer:
    """Between numbers and buckets: the K buckets between `borders`, with or without tails, for any
    logits."""

    def __init__(self, borders: Float[Tensor, " K1"], support: str = "unbounded") -> None:
        self.borders, self.support = torch.as_tensor(borders, dtype=torch.float32), support

    @cached_property
    def flat(self) -> BarDistribution:
        """The distribution with equally probable buckets; answers what needs no logits."""
        return self.predictive(torch.zeros(len(self.borders) - 1, device=self.borders.device))

    @property
    def bucket_representatives(self) -> Float[Tensor, " K"]:
        """One value for each bucket: its median."""
        return self.flat.representatives

    def predictive(self, logits: Float[Tensor, "... K"]) -> BarDistribution:
        return BarDistribution(logits, self.borders, self.support)

    def bucketize(self, y: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """Index of the bucket of each value; values beyond the outermost borders count to the
        outermost buckets."""
        return self.flat.bucket(y)

    def decode(self, buckets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The representative of each bucket."""
        return self.bucket_representatives[buckets]

    def sample(
        self,
        logits: Float[Tensor, "... K"],
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "..."]:
        """A value drawn from each distribution; a low temperature prefers probable buckets. Raises
        ValueError unless it is above 0."""
        if not temperature > 0:
            raise ValueError(
                f"temperature is {temperature}, must be above 0. For the most probable value, use"
                " predictive(logits).mode."
            )
        return self.predictive(logits / temperature).sample(generator)

    def log_bucket_densities(self, logits: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
        """Log-density at the representative of each bucket."""
        at = self.bucket_representatives
        values = at.view(-1, *(1,) * (logits.dim() - 1))  # (K, ...)
        return self.predictive(logits).log_prob(values).movedim(0, -1)

    def log_density_at_values(
        self, logits: Float[Tensor, "... K"], y: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Log-density at each y."""
        return self.predictive(logits).log_prob(y)


def estimate_riemann_borders(
    sample_data: Float[Tensor, "..."], num_buckets: int, widen_borders_factor: float = 1.0
) -> Float[Tensor, " K1"]:
    """Borders of `num_buckets` buckets that hold equally many of `sample_data`.

    The first and the last border are the least and the greatest value, moved apart about their
    middle by `widen_borders_factor`. Raises ValueError where values repeat so often that a bucket
    would be empty.
    """
    if not (isinstance(num_buckets, Integral) and num_buckets >= 1):
        raise ValueError(f"num_buckets is {num_buckets}, must be a whole number of at least 1.")
    if not widen_borders_factor >= 1:
        raise ValueError(f"widen_borders_factor is {widen_borders_factor}, must be at least 1.")
    ordered = torch.as_tensor(sample_data).flatten().double().sort().values
    if len(ordered) < 2 or not ordered.isfinite().all():
        raise ValueError(
            f"sample_data holds {len(ordered)} values, or some that are not finite. Give at least"
            " two finite values."
        )
    place = torch.linspace(
        0, len(ordered) - 1, num_buckets + 1, dtype=torch.float64, device=ordered.device
    )
    low = place.floor().long().clamp(max=len(ordered) - 2)
    borders = torch.lerp(ordered[low], ordered[low + 1], place - low)
    middle = (borders[0] + borders[-1]) / 2
    borders[0] = middle + (borders[0] - middle) * widen_borders_factor
    borders[-1] = middle + (borders[-1] - middle) * widen_borders_factor
    borders = borders.float()
    if not (borders.diff() > 0).all():
        raise ValueError(
            f"sample_data repeats values so often that {num_buckets} buckets would share borders."
            " Choose fewer, or give more values."
        )
    return borders


class BarHead(Head):
    """Decoder to a `BarDistribution` of a standardised target.

    Unless `borders` are given, the `n_buckets` hold equal probability under a standard normal
    distribution cut off at three standard deviations, where the tails have their medians.
    """

    aliases = ("riemann", "uniform")
    borders: Tensor

    def __init__(
        self,
        d_model: int | None,
        d_hidden: int | None,
        n_buckets: int = 100,
        support: str = "unbounded",
        borders: Float[Tensor, " K1"] | None = None,
    ) -> None:
        least = 3 if support == "unbounded" else 1
        if n_buckets < least:
            raise ValueError(
                f"n_buckets is {n_buckets}, must be at least {least} with {support!r} support."
            )
        super().__init__(d_model, d_hidden, n_buckets)
        self.support = support
        made = normal_borders(n_buckets) if borders is None else borders
        self.register_buffer("borders", made, persistent=False)  # the configuration says them

    def predictive(self, logits: Float[Tensor, "... K"]) -> BarDistribution:
        return BarDistribution(logits, self.borders, self.support)

    def tempered(self, logits: Float[Tensor, "... K"], temperature: float) -> BarDistribution:
        return self.predictive(logits / temperature)


def normal_borders(n_buckets: int) -> Float[Tensor, " K1"]:
    """Borders of buckets equally probable under a standard normal distribution cut off at ±3."""
    reach = torch.special.ndtr(torch.tensor([-3.0, 3.0], dtype=torch.float64))
    steps = torch.linspace(0, 1, n_buckets + 1, dtype=torch.float64)
    return torch.special.ndtri(torch.lerp(reach[0], reach[1], steps)).float()
