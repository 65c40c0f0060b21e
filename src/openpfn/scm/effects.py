"""`draw_effects`: random functions of a table's columns, from dense linear ones to parities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.labels import standardise
from openpfn.scm.noise import Noise, change_rows

COMPONENTS = (0.6, 0.28, 0.12)
"""Shares of the tasks whose scores are sums of one, two and three structures."""
NOISY_SHARE = 0.65
LARGEST = 4.0
"""Values beyond count as this: no single row may decide a product."""


@dataclass(frozen=True)
class Law:
    """Laws of the terms of one structure: what happens to a value, to the values of a term, and to
    the terms."""

    share: float
    elements: tuple[str, ...]
    within: tuple[str, ...] = ("product",)
    across: tuple[str, ...] = ("sum",)
    sizes: tuple[float, ...] = (1.0,)
    """Weights of terms of 1, 2 … columns."""
    most_terms: int = 6
    fewest_terms: int = 1
    equal: float = 0.3
    """Share of the tasks whose terms weigh the same."""


ELEMENTS = ("value", "step", "sign", "square", "wave", "distance", "ramp", "squash")
DENSE = {"linear": 0.22, "smooth": 0.1}
TERMS = {
    "products": Law(0.15, ("value",), sizes=(0, 0.8, 0.2)),
    "parity": Law(0.07, ("sign",), sizes=(0, 0.6, 0.3, 0.1), most_terms=2),
    "rules": Law(0.12, ("step",), across=("sum", "max"), sizes=(0, 0.4, 0.4, 0.2), most_terms=8),
    "least": Law(0.07, ("value",), ("least",), ("max", "sum"), (0, 0.5, 0.5), 5),
    "counts": Law(0.07, ("step",), most_terms=12, fewest_terms=3, equal=1.0),
    "distance": Law(0.07, ("square", "distance"), most_terms=12, fewest_terms=2, equal=0.7),
    "additive": Law(0.08, ELEMENTS, most_terms=8),
    "free": Law(0.05, ELEMENTS, ("product", "least"), ("sum", "max"), (0.3, 0.4, 0.2, 0.1), 8),
}
"""Structures by name. Those of `DENSE` look at all columns, or a random share of them, at once."""
MOST_TERMS = (12, 8, 6, 4)
"""Most terms of 1, 2, 3 and 4 columns."""
N_WAVES = 12


def draw_effects(
    views: Float[Tensor, "B F D N"], n_features: Int[Tensor, " B"], n_scores: int, noise: Noise
) -> Float[Tensor, "B S N"]:
    """`n_scores` standardised scores of each row, of equal structure but with their own parameters.

    `views` holds F views of each column. They are the same for a number; a category shows another
    effect of its levels in each, and every place where a score looks at a column picks a view.
    """
    n_tasks, _, _, n_rows = views.shape
    views = views.clamp(-LARGEST, LARGEST)
    total = torch.zeros(n_tasks, n_scores, n_rows, device=views.device)
    n_components = noise.choice(list(COMPONENTS), n_tasks) + 1
    for number in range(len(COMPONENTS)):
        tasks = (n_components > number).nonzero().squeeze(1)
        if len(tasks):
            part = standardise(_component(views[tasks], n_features[tasks], n_scores, noise))
            total[tasks] += part * noise.uniform(0.3, 1, len(tasks), 1, 1)
    jitter = noise.normal_rows(n_tasks * n_scores, n_rows).view_as(total)
    amount = noise.log_uniform(0.05, 1, n_tasks, 1, 1)
    amount = amount * noise.flags(NOISY_SHARE, n_tasks, 1, 1)
    return standardise(total).addcmul_(jitter, amount)


def _component(
    views: Float[Tensor, "B F D N"], n_features: Int[Tensor, " B"], n_scores: int, noise: Noise
) -> Float[Tensor, "B S N"]:
    """Scores of one random structure per task."""
    n_tasks, _, _, n_rows = views.shape
    scores = torch.zeros(n_tasks, n_scores, n_rows, device=views.device)
    shares = [*DENSE.values(), *(law.share for law in TERMS.values())]
    structure = noise.choice(shares, n_tasks)
    for number, dense in enumerate((_linear, _smooth)):
        tasks = (structure == number).nonzero().squeeze(1)
        if len(tasks):
            scores[tasks] = dense(views[tasks], n_features[tasks], n_scores, noise)
    law = (structure - len(DENSE)).clamp(min=0)
    size = _per_law(law, noise, lambda one: one.sizes, n_tasks)
    for number in range(len(MOST_TERMS)):
        tasks = ((structure >= len(DENSE)) & (size == number)).nonzero().squeeze(1)
        if len(tasks):
            scores[tasks] = _terms(
                views[tasks], n_features[tasks], law[tasks], number + 1, n_scores, noise
            )
    return scores


def _linear(
    views: Float[Tensor, "B F D N"], n_features: Int[Tensor, " B"], n_scores: int, noise: Noise
) -> Float[Tensor, "B S N"]:
    n_tasks, n_views, n_columns, n_rows = views.shape
    weight = _weights(n_tasks, n_views, n_features, n_columns, n_scores, noise)
    return torch.bmm(weight, views.reshape(n_tasks, -1, n_rows))


def _smooth(
    views: Float[Tensor, "B F D N"], n_features: Int[Tensor, " B"], n_scores: int, noise: Noise
) -> Float[Tensor, "B S N"]:
    """Sums of waves in random directions: samples of a Gaussian process, nearly."""
    n_tasks, n_views, n_columns, n_rows = views.shape
    n_waves = n_scores * N_WAVES
    weight = _weights(n_tasks, n_views, n_features, n_columns, n_waves, noise)
    weight = weight / torch.linalg.vector_norm(weight, dim=2, keepdim=True).clamp(min=1e-6)
    weight *= noise.normal(n_tasks, n_waves, 1).abs() * noise.log_uniform(0.5, 3, n_tasks, 1, 1)
    phase = noise.uniform(0, 6.3, n_tasks, n_waves, 1)
    waves = torch.baddbmm(phase, weight, views.reshape(n_tasks, -1, n_rows)).cos_()
    height = noise.normal(n_tasks, n_scores, N_WAVES, 1)
    return (waves.view(n_tasks, n_scores, N_WAVES, n_rows) * height).sum(2)


def _weights(
    n_tasks: int,
    n_views: int,
    n_features: Int[Tensor, " B"],
    n_columns: int,
    n_outputs: int,
    noise: Noise,
) -> Float[Tensor, "B M V"]:
    """Weights of all views of all columns: one view of each column in each output, and in half of
    the tasks a share of the columns only."""
    shape = (n_tasks, n_outputs, n_columns)
    weight = noise.normal(*shape)
    kind = noise.choice([0.45, 0.25, 0.15, 0.15], n_tasks).view(-1, 1, 1)
    weight = torch.where(kind == 1, weight.sign(), weight)
    weight = torch.where(kind == 2, weight * weight.abs(), weight)
    weight = torch.where(kind == 3, weight.abs(), weight)
    real = torch.arange(n_columns, device=noise.device) < n_features.unsqueeze(1)
    share = noise.log_uniform(0.1, 1, n_tasks, 1).where(noise.flags(0.5, n_tasks, 1), 1.0)
    key = noise.uniform(0, 1, n_tasks, n_columns).masked_fill(~real, 2.0)
    first = key == key.amin(1, keepdim=True)  # at least one column acts
    acts = (real & (key < share)) | first
    weight = weight * acts.unsqueeze(1)
    view = torch.arange(n_views, device=noise.device).view(1, 1, -1, 1)
    picked = noise.integers(n_views, *shape).unsqueeze(2) == view  # (B, M, F, D)
    return (weight.unsqueeze(2) * picked).flatten(2)


def _terms(
    views: Float[Tensor, "B F D N"],
    n_features: Int[Tensor, " B"],
    law: Int[Tensor, " B"],
    size: int,
    n_scores: int,
    noise: Noise,
) -> Float[Tensor, "B S N"]:
    """Sums or maxima of terms of `size` columns each: products, parities, rules and the like."""
    n_tasks, n_views, n_columns, n_rows = views.shape
    n_terms = MOST_TERMS[size - 1]
    shape = (n_tasks, n_scores, n_terms, size)
    # Terms use different columns as long as there are some left.
    real = torch.arange(n_columns, device=noise.device) < n_features.unsqueeze(1)
    key = noise.uniform(0, 1, n_tasks, n_scores, n_columns)
    order = key.masked_fill_(~real.unsqueeze(1), 2.0).argsort(2)  # (B, S, D)
    slot = torch.arange(n_terms * size, device=noise.device) % n_features.unsqueeze(1)
    column = order.gather(2, slot.unsqueeze(1).expand(-1, n_scores, -1)).view(shape)
    task = torch.arange(n_tasks, device=noise.device).view(-1, 1, 1, 1)
    row = (task * n_views + noise.integers(n_views, *shape)) * n_columns + column
    values = views.reshape(-1, n_rows).index_select(0, row.flatten())  # (B·S·M·J, N)
    own = noise.flags(0.5, n_tasks, 1, 1, 1)  # in half of the tasks each place has an element
    kinds = _per_law(law, noise, lambda one: _among(ELEMENTS, one.elements), *shape)
    kinds = torch.where(own, kinds, kinds[:, :1, :1, :1]).flatten()
    for number, name in enumerate(ELEMENTS):
        change_rows(
            values,
            (kinds == number).nonzero().squeeze(1),
            lambda z, name=name: _element(z, name, noise),
        )
    values = values.view(*shape, n_rows)
    least = _per_law(law, noise, lambda one: _among(("product", "least"), one.within), n_tasks)
    terms = torch.where(least.view(-1, 1, 1, 1) == 1, values.amin(3), values.prod(3))
    return _combined(terms, law, noise)


def _combined(
    terms: Float[Tensor, "B S M N"], law: Int[Tensor, " B"], noise: Noise
) -> Float[Tensor, "B S N"]:
    """The weighted sum of a random number of the terms, or the largest of them."""
    n_tasks, n_scores, n_terms, _ = terms.shape
    laws = list(TERMS.values())
    fewest, most = (
        torch.tensor([getattr(one, field) for one in laws], device=noise.device)[law]
        for field in ("fewest_terms", "most_terms")
    )
    number = fewest + noise.below(most - fewest + 1)
    kept = torch.arange(n_terms, device=noise.device) < number.unsqueeze(1)  # (B, M)
    equal = torch.tensor([one.equal for one in laws], device=noise.device)[law]
    weight = noise.normal(n_tasks, n_scores, n_terms)
    weight = torch.where(noise.flags(equal.view(-1, 1, 1), n_tasks, 1, 1), 1.0, weight)
    total = (terms * (weight * kept.unsqueeze(1)).unsqueeze(3)).sum(2)
    largest = terms.masked_fill(~kept.view(n_tasks, 1, n_terms, 1), float("-inf")).amax(2)
    across = _per_law(law, noise, lambda one: _among(("sum", "max"), one.across), n_tasks)
    return torch.where(across.view(-1, 1, 1) == 1, largest, total)


def _element(z: Float[Tensor, "R N"], name: str, noise: Noise) -> Float[Tensor, "R N"]:
    """A random function of single values; thresholds and centres lie among the values."""
    pair = z.gather(1, noise.integers(z.shape[1], len(z), 2)).mean(1, keepdim=True)
    centre = torch.where(noise.flags(0.5, len(z), 1), 0.5 * noise.normal(len(z), 1), pair)
    sign = torch.where(noise.flags(0.5, len(z), 1), 1.0, -1.0)
    if name == "value":
        return z * sign
    if name == "step":
        return ((z - centre) * sign > 0).to(z.dtype)
    if name == "sign":
        return torch.where(z > 0.5 * centre, 1.0, -1.0)
    if name == "square":
        return (z - centre).square().neg()
    if name == "wave":
        return (z * noise.uniform(1, 4, len(z), 1) + noise.uniform(0, 6.3, len(z), 1)).sin()
    if name == "distance":
        return (z - centre).abs().neg()
    if name == "ramp":
        return ((z - centre) * sign).relu()
    assert name == "squash"
    return ((z - centre) * noise.uniform(1, 4, len(z), 1)).tanh()


def _among(names: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(float(name in allowed) for name in names)


def _per_law(
    law: Int[Tensor, " B"],
    noise: Noise,
    weights: Callable[[Law], tuple[float, ...]],
    *shape: int,
) -> Tensor:
    """Indices drawn with the weights that each task's law gives; `shape` begins with B."""
    rows = [weights(one) for one in TERMS.values()]
    width = max(map(len, rows))
    table = torch.tensor([[*row, *[0.0] * (width - len(row))] for row in rows], device=noise.device)
    bounds = table.cumsum(1)[law]  # (B, W)
    draws = noise.uniform(0, 1, shape[0], *shape[1:]).view(shape[0], -1) * bounds[:, -1:]
    return torch.searchsorted(bounds, draws, right=True).clamp_(max=width - 1).view(shape)
