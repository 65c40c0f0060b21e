"""Tasks with stacked scores among their columns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from openpfn.configs.prior import PriorConfig
from openpfn.priors.mixture import MixturePrior
from openpfn.scm.noise import Noise
from openpfn.scm.stacked import with_scores

SHAPE = PriorConfig(min_features=2, max_features=5, max_seq_len=60)


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def batch(regression_share: float, n_tasks: int = 6):
    prior = MixturePrior(replace(SHAPE, regression_share=regression_share))
    return prior.sample(n_tasks, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("regression_share", [0.0, 1.0])
def test_scores_stand_among_the_columns_that_were_there(regression_share):
    before = batch(regression_share)
    after = with_scores(before, 1.0, noise())
    assert after.latents["has_scores"].all()
    for b in range(before.n_tasks):
        old, new = int(before.n_features[b]), int(after.n_features[b])
        n_targets = 1
        if not regression_share and before.n_classes[b] > 2:
            n_targets = int(before.n_classes[b])
        assert new == old + 3 * n_targets
        columns = {tuple(c.tolist()) for c in after.x[b, :, :new].nan_to_num(9.0).T}
        assert all(tuple(c.tolist()) in columns for c in before.x[b, :, :old].nan_to_num(9.0).T)
        assert after.categorical[b, :new].sum() == before.categorical[b, :old].sum()
        assert not after.x[b, :, new:].any()
        assert not after.categorical[b, new:].any()
    assert torch.equal(after.y, before.y)
    assert after.n_train == before.n_train


def test_no_target_of_a_query_row_is_read():
    before = batch(1.0)
    other = before.y.clone()
    other[:, before.n_train :] = 7.0
    after = [with_scores(b, 1.0, noise()).x for b in (before, replace(before, y=other))]
    assert torch.equal(*(x.nan_to_num(9.0) for x in after))


def test_the_share_decides_how_many_tasks_have_scores():
    before = batch(0.0, 40)
    none = with_scores(before, 0.0, noise())
    assert torch.equal(none.x.nan_to_num(9.0), before.x.nan_to_num(9.0))
    some = with_scores(before, 0.5, noise())
    has = some.latents["has_scores"]
    assert 10 < int(has.sum()) < 30
    wider = some.x.shape[2] > before.x.shape[2]
    assert wider
    assert [a > b for a, b in zip(some.n_features, before.n_features, strict=True)] == has.tolist()


def test_the_mixture_adds_them_by_its_configuration():
    drawn = MixturePrior(replace(SHAPE, stacking_share=1.0)).sample(
        4, torch.Generator().manual_seed(1)
    )
    assert drawn.latents["has_scores"].all()
    with pytest.raises(ValueError, match="stacking_share"):
        PriorConfig(stacking_share=1.5)
