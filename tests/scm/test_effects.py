"""Laws of functions of columns, of levels, and of numeric targets."""

from __future__ import annotations

import pytest
import torch

from openpfn.scm.effects import DENSE, TERMS, draw_effects
from openpfn.scm.levels import draw_codes, draw_n_levels, share_levels
from openpfn.scm.noise import Noise
from openpfn.scm.targets import draw_targets

B, D, N = 150, 6, 120


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n_features", [1, 2, D])
def test_scores_are_finite_and_of_unit_scale(n_features: int) -> None:
    source = noise()
    views = source.normal(B, 2, D, N) * 3
    scores = draw_effects(views, torch.full((B,), n_features), 4, source)
    assert scores.shape == (B, 4, N)
    assert scores.isfinite().all()
    varies = scores.std(2) > 1e-3
    assert varies.float().mean() > 0.8
    assert scores.std(2)[varies].median() < 1.5


def test_columns_beyond_the_used_ones_do_not_act() -> None:
    source, other = noise(), noise()
    views = noise(7).normal(B, 1, D, N)
    changed = views.clone()
    changed[:, :, 3:] = 9.0
    n_features = torch.full((B,), 3)
    torch.testing.assert_close(
        draw_effects(views, n_features, 2, source), draw_effects(changed, n_features, 2, other)
    )


def test_a_good_share_of_targets_has_no_marginal_effect() -> None:
    """Some scores are correlated with none of the columns that they are functions of."""
    source = noise()
    views = source.normal(400, 1, 4, 1000)
    scores = draw_effects(views, torch.full((400,), 4), 1, source)
    z = (views[:, 0] - views[:, 0].mean(2, keepdim=True)) / views[:, 0].std(2, keepdim=True)
    correlation = (z * scores).mean(2) / scores.std(2).clamp(min=1e-3)
    strongest = correlation.abs().amax(1)
    assert 0.07 < float((strongest < 0.12).float().mean()) < 0.5
    assert float((strongest < 0.3).float().mean()) > 0.2
    assert float((strongest > 0.4).float().mean()) > 0.2


def test_every_structure_has_a_share() -> None:
    shares = [*DENSE.values(), *(law.share for law in TERMS.values())]
    assert min(shares) > 0
    assert abs(sum(shares) - 1) < 1e-6


def test_levels_are_few_in_most_columns_and_many_in_some() -> None:
    source = noise()
    n_levels = draw_n_levels(torch.zeros(B, 1, dtype=torch.bool), D, source)
    assert 2 <= n_levels.min() <= n_levels.median() <= 10
    assert 30 < n_levels.max() <= 50
    codes = draw_codes(n_levels.flatten(), 1000, source)
    assert (codes.amax(1) < n_levels.flatten()).all()
    share = torch.stack([(codes == level).float().mean(1) for level in range(2)])
    assert (share[0] > 3 * share[1].clamp(min=0.01)).float().mean() > 0.2  # rare levels
    assert ((share[0] - share[1]).abs() < 0.05).float().mean() > 0.3  # equally common ones


def test_causes_that_share_levels_take_few_values_together() -> None:
    source = noise()
    before = source.normal(B, 8, N)
    after = share_levels(before.clone(), source, share=1.0)
    n_values = torch.tensor([[len(cause.unique()) for cause in task] for task in after])
    assert 0.2 < float((n_values < N // 2).float().mean()) < 0.8
    assert torch.equal(share_levels(before.clone(), source, share=0.0), before)


def test_targets_are_finite_and_of_many_shapes() -> None:
    source = noise()
    targets = draw_targets(source.normal(600, 4, N), source)
    assert targets.isfinite().all()
    whole = (targets == targets.round()).all(1)
    n_values = torch.tensor([len(row.unique()) for row in targets])
    mean, deviation = targets.mean(1), targets.std(1).clamp(min=1e-9)
    z = (targets - mean.unsqueeze(1)) / deviation.unsqueeze(1)
    shares = {
        "counts": whole & (targets >= 0).all(1),
        "ties": n_values < N // 2,
        "skewed": z.pow(3).mean(1).abs() > 1.5,
        "tailed": z.abs().amax(1) > 5,
        "offset": mean.abs() > 3 * deviation,
        "large": deviation > 20,
        "small": deviation < 0.05,
        "plain": (n_values == N) & (z.pow(3).mean(1).abs() < 0.5) & (z.abs().amax(1) < 4),
    }
    found = {name: float(hit.float().mean()) for name, hit in shares.items()}
    assert min(found.values()) > 0.03, found
    assert found["plain"] > 0.25, found


def test_the_first_score_decides_most_of_a_target() -> None:
    source = noise()
    scores = source.normal(400, 4, N)
    targets = draw_targets(scores, source)
    ranks, of_score = (v.argsort(1).argsort(1).float() for v in (targets, scores[:, 0]))
    correlation = torch.stack(
        [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(ranks, of_score, strict=True)]
    ).abs()
    assert correlation.median() > 0.6
