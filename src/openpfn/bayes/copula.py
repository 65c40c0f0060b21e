"""Copula updates: how a predictive goes on after a network has started it, with no further pass of
the network."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical

REACH, NODES = 6.0, 97
"""The distribution functions are kept at this many normal scores from −REACH to REACH."""


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


def shares_of_rows(
    x: Float[Tensor, "S T D"] | None, i: int, n_context: int, x_correlation: float
) -> Float[Tensor, "..."] | float:
    """Return how much the distributions at rows i + 1 … take from the row i: α of the row itself
    where x is alike, less where it is far (Fong et al. 2023, eq. 4.9)."""
    alpha = step_size(n_context + i + 1)
    if x is None:
        return alpha
    a, b, r = x[:, i + 1 :], x[:, i : i + 1], x_correlation
    # log density of the Gaussian copula between the normal scores of both rows, summed over columns
    quadratic = (r * r * (a.square() + b.square()) - 2 * r * a * b) / (2 * (1 - r * r))
    density = (-quadratic).sum(-1).sub(0.5 * x.shape[-1] * torch.log1p(torch.tensor(-r * r))).exp()
    weight = alpha * density  # (S, T − i − 1)
    return weight / (1 - alpha + weight)


def evolved_levels(
    u: Float[Tensor, "S T"],
    x: Float[Tensor, "S T D"] | None,
    n_context: int,
    correlation: float,
    x_correlation: float,
) -> Float[Tensor, "S T"]:
    """The level, in the distribution that the network gave, of each drawn target.

    Row i is drawn at the uniform number u_i of the distribution that the rows before have made of
    the network's own: P_{n+1}(y|x) = (1 − α) P_n(y|x) + α H_ρ(P_n(y|x), P_n(y_n|x_n)). The second
    argument of H is u_i itself, so all that evolves is a map of [0, 1] for each row to come, and
    the network is asked once.
    """
    n_sequences, n_rows = u.shape
    nodes = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    start = torch.special.ndtr(nodes)
    n_maps = n_rows if x is not None else 1
    maps = start.repeat(n_sequences, n_maps, 1)  # (S, T or 1, G): the level now at each node
    levels = torch.empty_like(u)
    for i in range(n_rows):
        now = maps[:, 0]
        levels[:, i] = _inverted(now, u[:, i], nodes)
        if x is not None:
            maps = maps[:, 1:]
        if i + 1 == n_rows:
            break
        share = shares_of_rows(x, i, n_context, x_correlation)
        moved = conditional_copula(
            maps.clamp(1e-15, 1 - 1e-15), u[:, i].view(-1, 1, 1), correlation
        )
        weight = share if isinstance(share, float) else share.unsqueeze(-1)
        maps = maps + weight * (moved - maps)
    return levels


def evolved_classes(
    u: Float[Tensor, "S T"],
    start: Float[Tensor, "S T C"],
    x: Float[Tensor, "S T D"] | None,
    n_context: int,
    correlation: float,
    x_correlation: float,
) -> Int[Tensor, "S T"]:
    """The same for classes: a drawn class takes the share α ρ of the probability of the others."""
    probs, classes = start.clone(), []
    for i in range(u.shape[1]):
        drawn = Categorical(probs[:, i].log()).icdf(u[:, i]).long()
        classes.append(drawn)
        if i + 1 == u.shape[1]:
            break
        share = shares_of_rows(x, i, n_context, x_correlation)
        weight = (
            share * correlation if isinstance(share, float) else share.unsqueeze(-1) * correlation
        )
        certain = torch.nn.functional.one_hot(drawn, probs.shape[-1]).to(probs).unsqueeze(1)
        probs[:, i + 1 :] = probs[:, i + 1 :] + weight * (certain - probs[:, i + 1 :])
    return torch.stack(classes, dim=1)


def standardised(
    x: Float[Tensor, "S T D"], context: Float[Tensor, "n D"]
) -> Float[Tensor, "S T D"]:
    """Rows in standard deviations of the context, or of themselves where it is empty; missing
    values are in the middle."""
    known = context if len(context) > 1 else x.flatten(0, 1)
    present = ~known.isnan()
    n = present.sum(0).clamp(min=1)
    mean = known.nan_to_num().sum(0) / n
    spread = ((known - mean).nan_to_num().square().sum(0) / n).sqrt()
    return ((x - mean) / torch.where(spread > 0, spread, 1.0)).nan_to_num().clamp(-6, 6)


def quantiles_by_place(
    start: Predictive, places: Int[Tensor, "S T"], levels: Float[Tensor, "S T"]
) -> Float[Tensor, "S T"]:
    """Quantiles at `levels` of the distributions (n,) that stand at `places`."""
    n = start.shape.numel()
    flat, order = places.flatten(), places.flatten().argsort(stable=True)
    counts = torch.bincount(flat, minlength=n)
    within = torch.arange(len(flat)) - (counts.cumsum(0) - counts)[flat[order]]
    table = torch.full((int(counts.max()), n), 0.5, dtype=torch.float64)
    table[within, flat[order]] = levels.flatten()[order]
    found = start.icdf(table.view(-1, *start.shape)).view(-1, n).double().cpu()
    answer = torch.empty(len(flat), dtype=torch.float64)
    answer[order] = found[within, flat[order]]
    return answer.view(places.shape)


def _tilted(z: Tensor, z_given: Tensor, correlation: float) -> Tensor:
    return (z - correlation * z_given) / (1 - correlation**2) ** 0.5


def _inverted(
    levels: Float[Tensor, "S G"], u: Float[Tensor, " S"], nodes: Float[Tensor, " G"]
) -> Float[Tensor, " S"]:
    """Return the original level at which the level now is `u`, linear in normal scores."""
    tiny = 1e-15
    z = torch.special.ndtri(levels.clamp(tiny, 1 - tiny)).contiguous()
    wanted = torch.special.ndtri(u.clamp(tiny, 1 - tiny)).unsqueeze(1)
    k = torch.searchsorted(z, wanted).clamp(1, len(nodes) - 1)  # (S, 1)
    low, high = z.gather(1, k - 1), z.gather(1, k)
    share = ((wanted - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    below, above = nodes[k - 1], nodes[k]
    return torch.special.ndtr(below + share * (above - below)).squeeze(1)
