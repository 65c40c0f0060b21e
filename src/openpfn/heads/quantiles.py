"""A distribution given by its quantiles at K even levels, and its decoder, trained by the pinball
loss."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.heads.base import Head, Predictive, Values, as_tensor

LEAST_GAP = 1e-5
"""Least distance of neighbouring quantiles of a network: a density may not grow without bound."""
TAIL_STEPS = 2
"""Number of levels further in, up to which the quantiles say how fast a tail falls."""


class Quantiles(Predictive):
    """A distribution whose quantiles at the levels (k − ½) / K, k = 1 … K, are `values`, (..., K).

    The values must increase along the last axis. Between levels the density is constant; beyond the
    outermost ones it falls exponentially, each tail with the probability 1 / (2 K). Everything is
    in closed form.

    >>> even = Quantiles(torch.tensor([0.25, 0.75]))
    >>> float(even.cdf(0.5)), float(even.mean)
    (0.5, 0.5)
    """

    def __init__(self, values: Float[Tensor, "... K"]) -> None:
        if values.shape[-1] < 2:
            raise ValueError(f"values hold {values.shape[-1]} quantiles, must hold at least 2.")
        if (
            not torch.compiler.is_compiling()
            and not values.is_cuda
            and bool((values.detach().diff(dim=-1) <= 0).any())
        ):  # a GPU would wait
            raise ValueError("values must increase along their last axis. Sort them.")
        self.values = values

    @property
    def shape(self) -> torch.Size:
        return self.values.shape[:-1]

    @property
    def n_levels(self) -> int:
        return self.values.shape[-1]

    @property
    def levels(self) -> Float[Tensor, " K"]:
        """The levels of `values`."""
        return levels(self.n_levels).to(self.values)

    @property
    def gaps(self) -> Float[Tensor, "... G"]:
        """Distances of neighbouring values; 1 / K of the probability lies in each."""
        return self.values.diff(dim=-1)

    @property
    def scales(self) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Mean distance of what lies in the left and in the right tail from where the tail
        begins."""
        inner = min(TAIL_STEPS, self.n_levels - 1)
        fall = torch.tensor(2.0 * inner + 1).log().to(self.values)  # of the levels, in logarithms
        first, last = self.values[..., 0], self.values[..., -1]
        left = self.values[..., inner] - first
        return left / fall, (last - self.values[..., -1 - inner]) / fall

    @property
    def mean(self) -> Float[Tensor, "..."]:
        left, right = self.scales
        middles = (self.values[..., 1:] + self.values[..., :-1]).sum(dim=-1) / 2
        ends = (self.values[..., 0] - left + self.values[..., -1] + right) / 2
        return (middles + ends) / self.n_levels

    @property
    def variance(self) -> Float[Tensor, "..."]:
        left, right = self.scales
        values = self.values - self.mean.unsqueeze(-1)  # (..., K)
        middles = (values[..., 1:] + values[..., :-1]) / 2
        within = (middles.square() + self.gaps.square() / 12).sum(dim=-1)
        below = (values[..., 0] - left).square() + left.square()
        above = (values[..., -1] + right).square() + right.square()
        return (within + (below + above) / 2) / self.n_levels

    @property
    def mode(self) -> Float[Tensor, "..."]:
        """The middle of the narrowest gap; where a tail begins higher than any gap is, that
        place."""
        gap, place = self.gaps.min(dim=-1)
        place = place.unsqueeze(-1)
        middle = (self.values.gather(-1, place) + self.values.gather(-1, place + 1)).squeeze(-1) / 2
        left, right = (2 * scale for scale in self.scales)  # the gaps that are as high
        ends = torch.where(left <= right, self.values[..., 0], self.values[..., -1])
        return torch.where(torch.minimum(left, right) < gap, ends, middle)

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        y, values, k = self._placed(y)
        low, high = values.gather(-1, k - 1), values.gather(-1, k)
        inside = -(high - low).log().squeeze(-1)
        left, right = self.scales
        left_end, right_end = self.values[..., 0], self.values[..., -1]
        in_left = -(2 * left).log() - (left_end - y).clamp(min=0) / left
        in_right = -(2 * right).log() - (y - right_end).clamp(min=0) / right
        density = torch.where(y < left_end, in_left, torch.where(y > right_end, in_right, inside))
        density = density - torch.log(torch.tensor(float(self.n_levels))).to(density)
        return torch.where(y.isnan(), torch.nan, density)

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        y, values, k = self._placed(y)
        low, high = values.gather(-1, k - 1).squeeze(-1), values.gather(-1, k).squeeze(-1)
        inside = (k.squeeze(-1) - 0.5 + (y - low) / (high - low)) / self.n_levels
        left, right = self.scales
        end = 1 / (2 * self.n_levels)
        left_end, right_end = self.values[..., 0], self.values[..., -1]
        below = end * torch.exp(-(left_end - y).clamp(min=0) / left)
        above = 1 - end * torch.exp(-(y - right_end).clamp(min=0) / right)
        return torch.where(y < left_end, below, torch.where(y > right_end, above, inside))

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        shape = torch.broadcast_shapes(p.shape, self.shape)
        p = p.to(self.values.device, torch.float64).expand(shape)
        values = self.values.detach().double().expand(*shape, -1)
        place = p * self.n_levels - 0.5  # from 0 at the first level to K − 1 at the last
        k = place.floor().clamp(0, self.n_levels - 2)
        at = k.long().unsqueeze(-1)
        low, high = values.gather(-1, at).squeeze(-1), values.gather(-1, at + 1).squeeze(-1)
        inside = torch.lerp(low, high, place - k)
        left, right = (scale.detach().double() for scale in self.scales)
        below = values[..., 0] + left * (2 * self.n_levels * p).clamp(max=1).log()
        above = values[..., -1] - right * (2 * self.n_levels * (1 - p)).clamp(max=1).log()
        answer = torch.where(
            place < 0, below, torch.where(place > self.n_levels - 1, above, inside)
        )
        return answer.to(self.values.dtype)

    def entropy(self) -> Float[Tensor, "..."]:
        within = self.gaps.log().sum(dim=-1)
        tails = sum(1 + (2 * scale).log() for scale in self.scales) / 2
        n = self.n_levels
        return (within + tails) / n + torch.log(torch.tensor(float(n))).to(within)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """As in `Predictive`; ∫ F² below `y` and ∫ (1 − F)² above, gap by gap and in both tails."""
        y = as_tensor(y, self.values).to(self.values.dtype)
        n, end = self.n_levels, 1 / (2 * self.n_levels)
        at, gaps = self.levels, self.gaps
        share = ((y.unsqueeze(-1) - self.values[..., :-1]) / gaps).clamp(0, 1)  # of gaps, below y
        reached = at[:-1] + share / n
        below = share * _mean_square(at[:-1], reached)
        above = (1 - share) * _mean_square(1 - reached, 1 - at[1:])
        left, right = self.scales
        tails = _tail(self.values[..., 0] - y, left, end) + _tail(
            y - self.values[..., -1], right, end
        )
        return (gaps * (below + above)).sum(dim=-1) + tails

    def _placed(
        self, y: Values
    ) -> tuple[Float[Tensor, "..."], Float[Tensor, "... K"], Int[Tensor, "... 1"]]:
        """`y` and the values in one shape, and which value, from 1 to K − 1, ends the gap of y."""
        y = as_tensor(y, self.values).to(self.values.dtype)
        shape = torch.broadcast_shapes(y.shape, self.shape)
        y, values = y.expand(shape), self.values.expand(*shape, -1)
        k = torch.searchsorted(
            values.detach().contiguous(), y.detach().unsqueeze(-1).contiguous(), right=True
        )
        return y, values, k.clamp(1, self.n_levels - 1)


def levels(n: int) -> Float[Tensor, " n"]:
    """The levels (k − ½) / n in float64."""
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def _mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Mean of the square of what runs evenly from `a` to `b`."""
    return (a.square() + a * b + b.square()) / 3


def _tail(beyond: Tensor, scale: Tensor, end: float) -> Tensor:
    """Return the share in the CRPS of a tail of the probability `end`, for a value `beyond` where
    the tail begins (negative on the other side)."""
    u = beyond.clamp(min=0) / scale
    past = end**2 * torch.exp(-2 * u) / 2  # ∫ F² further out than the value
    closer = u - 2 * end * -torch.expm1(-u) + end**2 * -torch.expm1(-2 * u) / 2
    return scale * (past + closer)


class QuantileHead(Head):
    """Decoder to the quantiles of a standardised target at `n_levels` even levels.

    It is trained by the mean pinball loss of the outputs, which is proper for each quantile; times
    2 it is the CRPS up to the coarseness of the levels. Outputs that cross are put in order when
    they are read.
    """

    aliases = ("quantile",)

    def __init__(self, d_model: int | None, d_hidden: int | None, n_levels: int = 199) -> None:
        if n_levels < 2:
            raise ValueError(f"n_levels is {n_levels}, must be at least 2.")
        super().__init__(d_model, d_hidden, n_levels)
        self.register_buffer("levels", levels(n_levels).float(), persistent=False)

    def first_outputs(self) -> Float[Tensor, " K"]:
        return torch.special.ndtri(levels(self.n_outputs)).float()

    def predictive(self, logits: Float[Tensor, "... K"]) -> Quantiles:
        return Quantiles(increasing(logits))

    def tempered(self, logits: Float[Tensor, "... K"], temperature: float) -> Quantiles:
        """As in `Head`: the variance is multiplied by `temperature`, the median stays."""
        middle = logits.sort(dim=-1).values.median(dim=-1, keepdim=True).values
        return self.predictive(middle + temperature**0.5 * (logits - middle))

    def loss(
        self, logits: Float[Tensor, "... K"], y: Float[Tensor, "..."] | Int[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Twice the mean pinball loss of the quantiles, about the CRPS."""
        over = y.unsqueeze(-1) - logits  # (..., K)
        at: Tensor = self.levels  # pyright: ignore[reportAssignmentType]
        return 2 * torch.maximum(at * over, (at - 1) * over).mean(dim=-1)


def increasing(values: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
    """The same values in order and at least `LEAST_GAP` apart, in float64."""
    steps = LEAST_GAP * torch.arange(values.shape[-1], dtype=torch.float64, device=values.device)
    return (values.double().sort(dim=-1).values - steps).cummax(dim=-1).values + steps
