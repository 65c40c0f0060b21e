"""TransformerLens' own tools on a network that has learned linear regression; run with the extra
[interp] installed."""

from __future__ import annotations

import importlib

import pytest
import torch

from openpfn.batch import TaskBatch
from openpfn.configs import RegressionConfig
from openpfn.models import PFN
from openpfn.models.sequence.lens import LensModel

pytestmark = pytest.mark.interp


def tasks(n_tasks: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n_tasks, 8, 1)
    return x, (x * torch.randn(n_tasks, 1, 1)).squeeze(-1) + 0.1 * torch.randn(n_tasks, 8)


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    model = PFN(
        RegressionConfig(d_model=32, n_layers=2, n_heads=2, input_dim=1, prediction_type="point")
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        model.loss(TaskBatch(*tasks(64), n_train=0)).backward()
        optimizer.step()
    x, y = tasks(500)
    errors = (model(x, y).detach().squeeze(-1) - y).square().mean(0)
    assert float(errors[-1]) < 0.3 * float(errors[0])  # it has learned to use the rows before
    return model.eval()


@torch.no_grad()
def test_the_cache_is_theirs_and_the_logit_lens_ends_at_the_answer(trained):
    x, y = tasks(4)
    logits, cache = trained.run_with_cache(x, y)
    assert isinstance(cache, importlib.import_module("transformer_lens").ActivationCache)
    stack, labels = cache.accumulated_resid(return_labels=True, apply_ln=True)
    assert labels == ["0_pre", "1_pre", "final_post"]
    seen = (stack @ trained.W_U + trained.b_U)[:, :, 0::2]  # x tokens: (3, B, N, 1)
    torch.testing.assert_close(seen[-1], logits, atol=1e-4, rtol=0)
    errors = (seen.squeeze(-1) - y).square()[..., -1].mean(-1)
    assert errors[-1] < errors[0]  # what the layers know grows


@torch.no_grad()
def test_heads_and_the_rest_add_up_to_the_residual_stream(trained):
    _, cache = trained.run_with_cache(*tasks(4))
    heads, labels = cache.stack_head_results(return_labels=True, incl_remainder=True)
    assert labels == ["L0H0", "L0H1", "L1H0", "L1H1", "remainder"]
    torch.testing.assert_close(heads.sum(0), cache["resid_post", 1], atol=1e-4, rtol=0)
    parts = cache.decompose_resid()
    torch.testing.assert_close(parts.sum(0), cache["resid_post", 1], atol=1e-4, rtol=0)
    scaled = cache.apply_ln_to_stack(heads)
    normalized = scaled.sum(0) * trained.ln_final.w + trained.ln_final.b
    torch.testing.assert_close(normalized, cache["ln_final.hook_normalized"], atol=1e-3, rtol=0)


@torch.no_grad()
def test_patching_finds_where_the_slope_enters(trained):
    patching = importlib.import_module("transformer_lens.patching")
    lens = LensModel(trained)
    x = tasks(1)[0]
    x[0, -1] = 1.5
    clean, corrupted = lens.to_tokens(x, 2 * x.squeeze(-1)), lens.to_tokens(x, -2 * x.squeeze(-1))
    clean_logits, clean_cache = lens.run_with_cache(clean)
    corrupted_logits = lens(corrupted)

    def recovered(logits: torch.Tensor) -> torch.Tensor:
        return ((logits - corrupted_logits) / (clean_logits - corrupted_logits))[0, -2, 0]

    effect = patching.get_act_patch_resid_pre(lens, corrupted, clean_cache, recovered)
    assert effect.shape == (2, 16)
    asked = 14  # the x token of the last row
    assert effect[0, asked].abs() < 1e-4  # it holds no y before the first layer
    assert effect[0, 1:asked:2].max() > 0.02  # pairs do
    assert effect[1, asked] > 0.05  # after one layer it has read some of it
    assert effect[:, 0:asked:2].abs().max() < 1e-4  # nobody reads the x tokens before
    assert effect[:, asked + 1].abs().max() < 1e-4  # nor what comes after
