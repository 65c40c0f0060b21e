"""Copula updates: how a predictive goes on after a network has started it, with no further pass of
the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical

REACH, NODES = 6.0, 49
"""The distribution functions are kept at this many normal scores from −REACH to REACH."""
TINY = 1e-15
"""Levels keep this far from 0 and 1, whose normal scores are infinite."""


def step_size(i: int) -> float:
    """α_i = (2 − 1/i) / (i + 1) of the i-th row (Fong, Holmes & Walker 2023, section 4.1).

    >>> step_size(1)
    0.5
    """
    return (2 - 1 / i) / (i + 1)


def conditional_copula(
    u: Float[Tensor, "..."], v: Float[Tensor, "..."], correlation: float
) -> Float[Tensor, "..."]:
    """H_ρ(u, v) = Φ((Φ⁻¹(u) − ρ Φ⁻¹(v)) / √(1 − ρ²)): the distribution function of a Gaussian
    copula's u given v."""
    return torch.special.ndtr(_tilted(torch.special.ndtri(u), torch.special.ndtri(v), correlation))


@dataclass(frozen=True)
class Places:
    """M places of x where distributions evolve, and which of them each of T new rows is at."""

    of_rows: Int[Tensor, "S T"]
    """The place of each new row."""
    n_places: int
    """M."""
    density: Callable[[int], Float[Tensor, "S M"]] | None = None
    """From the number of a new row to how alike its x is to that of each place: the density of a
    Gaussian copula, 1 for independent x; None where there is no x."""

    def shares(self, i: int, n_context: int) -> Float[Tensor, "..."]:
        """How much the distribution at each place takes from row i: α where x is alike, less where
        it is far (Fong et al. 2023, eq. 4.9, which multiplies densities over columns)."""
        alpha = torch.tensor(step_size(n_context + i + 1), dtype=torch.float64)
        if self.density is None:
            return alpha
        weight = alpha * self.density(i)  # (S, M)
        return weight / (1 - alpha + weight)


def without_x(n_sequences: int, n_new: int) -> Places:
    """One place for all rows."""
    return Places(torch.zeros(n_sequences, n_new, dtype=torch.long), 1)


def at_given_rows(
    x: Float[Tensor, "n D"], of_rows: Int[Tensor, "S T"], correlation: float
) -> Places:
    """The places of n given rows, which new rows repeat; `x` in normal scores."""
    table = _alikeness(x.unsqueeze(1), x.unsqueeze(0), correlation)  # (n, n)
    return Places(of_rows, len(x), lambda i: table[of_rows[:, i]])


def at_new_rows(x: Float[Tensor, "S T D"], correlation: float) -> Places:
    """A place for each new row; `x` in normal scores."""
    n_sequences, n_new = x.shape[:2]
    of_rows = torch.arange(n_new).expand(n_sequences, -1)
    return Places(of_rows, n_new, lambda i: _alikeness(x, x[:, i : i + 1], correlation))


def _alikeness(a: Float[Tensor, "..."], b: Float[Tensor, "..."], r: float) -> Float[Tensor, "..."]:
    """The density of a Gaussian copula at pairs of normal scores, its geometric mean over columns:
    the product of many columns would tie rows that are alike as one."""
    quadratic = (r * r * (a.square() + b.square()) - 2 * r * a * b) / (2 * (1 - r * r))
    return (-quadratic.mean(-1) - 0.5 * math.log1p(-r * r)).exp()


def evolved_levels(
    u: Float[Tensor, "S T"], places: Places, n_context: int, correlation: float
) -> Float[Tensor, "S T"]:
    """The level, in the distribution that the network gave, of each drawn target.

    Row i is drawn at the uniform number u_i of the distribution that the rows before have made of
    the network's own: P_{n+1}(y|x) = (1 − α) P_n(y|x) + α H_ρ(P_n(y|x), P_n(y_n|x_n)). The second
    argument of H is u_i itself, so all that evolves is a map of [0, 1] for each place, and the
    network is asked once.
    """
    n_sequences, n_new = u.shape
    nodes = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    maps = torch.special.ndtr(nodes).repeat(n_sequences, places.n_places, 1)  # (S, M, G)
    every, levels = torch.arange(n_sequences), torch.empty_like(u)
    for i in range(n_new):
        levels[:, i] = _inverted(maps[every, places.of_rows[:, i]], u[:, i], nodes)
        if i + 1 == n_new:
            break
        moved = conditional_copula(
            maps.clamp(TINY, 1 - TINY), u[:, i].clamp(TINY, 1 - TINY).view(-1, 1, 1), correlation
        )
        maps = torch.lerp(maps, moved, places.shares(i, n_context).unsqueeze(-1).expand_as(maps))
    return levels


def evolved_classes(
    u: Float[Tensor, "S T"],
    start: Float[Tensor, "S M C"],
    places: Places,
    n_context: int,
    correlation: float,
) -> Int[Tensor, "S T"]:
    """The same for classes, from their probabilities at each place: a drawn class takes the share
    α ρ of the probability of the others."""
    probs, classes, every = start, [], torch.arange(len(u))
    for i in range(u.shape[1]):
        here = probs[every, places.of_rows[:, i]]  # (S, C)
        drawn = Categorical(here.log()).icdf(u[:, i]).long()
        classes.append(drawn)
        share = correlation * places.shares(i, n_context).unsqueeze(-1)
        certain = torch.nn.functional.one_hot(drawn, probs.shape[-1]).to(probs).unsqueeze(1)
        probs = torch.lerp(probs, certain.expand_as(probs), share.expand_as(probs))
    return torch.stack(classes, dim=1)


def standardised(
    x: Float[Tensor, "... D"], context: Float[Tensor, "n D"]
) -> Float[Tensor, "... D"]:
    """Rows in standard deviations of the context, or of themselves where it is empty; missing
    values are in the middle."""
    known = context if len(context) > 1 else x.flatten(0, -2)
    present = ~known.isnan()
    n = present.sum(0).clamp(min=1)
    mean = known.nan_to_num().sum(0) / n
    spread = ((known - mean).nan_to_num().square().sum(0) / n).sqrt()
    return ((x - mean) / torch.where(spread > 0, spread, 1.0)).nan_to_num().clamp(-6, 6)


def quantiles_by_place(
    start: Sequence[Predictive], of_rows: Int[Tensor, "S T"], levels: Float[Tensor, "S T"]
) -> Float[Tensor, "S T"]:
    """Quantiles at `levels` of the distributions, (1, M) in some parts, that stand at each row's
    place."""
    n_places = sum(part.shape[1] for part in start)
    flat, order = of_rows.flatten(), of_rows.flatten().argsort(stable=True)
    counts = torch.bincount(flat, minlength=n_places)
    within = torch.arange(len(flat)) - (counts.cumsum(0) - counts)[flat[order]]
    table = torch.full((int(counts.max()), n_places), 0.5, dtype=torch.float64)
    table[within, flat[order]] = levels.flatten()[order]
    sizes = [part.shape[1] for part in start]
    found = [
        part.icdf(p.unsqueeze(1))[:, 0].double().cpu()  # (K, m)
        for part, p in zip(start, table.split(sizes, dim=1), strict=True)
    ]
    answer = torch.empty(len(flat), dtype=torch.float64)
    answer[order] = torch.cat(found, dim=1)[within, flat[order]]
    return answer.view(of_rows.shape)


def _tilted(z: Tensor, z_given: Tensor, correlation: float) -> Tensor:
    return (z - correlation * z_given) / (1 - correlation**2) ** 0.5


def _inverted(
    levels: Float[Tensor, "S G"], u: Float[Tensor, " S"], nodes: Float[Tensor, " G"]
) -> Float[Tensor, " S"]:
    """Return the original level at which the level now is `u`, linear in normal scores."""
    z = torch.special.ndtri(levels.clamp(TINY, 1 - TINY)).contiguous()
    wanted = torch.special.ndtri(u.clamp(TINY, 1 - TINY)).unsqueeze(1)
    k = torch.searchsorted(z, wanted).clamp(1, len(nodes) - 1)  # (S, 1)
    low, high = z.gather(1, k - 1), z.gather(1, k)
    share = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    below, above = nodes[k - 1], nodes[k]
    return torch.special.ndtr(below + share * (above - below)).squeeze(1)
