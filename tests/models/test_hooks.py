"""Hooks see and change activations, cost nothing when there are none, and leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from sequence_networks import regression, rows, unsupervised

from openpfn.batch import TaskBatch
from openpfn.configs import TabularConfig
from openpfn.models import PFN
from openpfn.models.hooks import ActivationCache

IN_A_BLOCK = (
    "hook_resid_pre ln1.hook_scale ln1.hook_normalized attn.hook_q attn.hook_k attn.hook_v"
    " attn.hook_attn_scores attn.hook_pattern attn.hook_z attn.hook_result hook_attn_out"
    " hook_resid_mid mlp.hook_pre mlp.hook_post hook_mlp_out hook_resid_post"
)
NAMES = {"hook_embed", "hook_pos_embed", "ln_final.hook_scale", "ln_final.hook_normalized"}
NAMES |= {f"blocks.1.{name}" for name in IN_A_BLOCK.split()}


def cached(model, *arguments, **options) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    return model.run_with_cache(*arguments, return_cache_object=False, **options)


@pytest.mark.parametrize("mask", ["autoregressive-pfn", "gpt2"])
@torch.no_grad()
def test_the_cache_holds_the_computation(mask):
    model, (x, y) = regression(mask_type=mask), rows()
    logits, cache = cached(model, x, y)
    torch.testing.assert_close(logits, model(x, y), atol=1e-5, rtol=0)
    assert set(cache) >= NAMES
    embedded = cache["hook_embed"] + cache["hook_pos_embed"]
    parts = [embedded] + [
        cache[f"blocks.{i}.hook_{part}_out"] for i in range(2) for part in ("attn", "mlp")
    ]
    torch.testing.assert_close(sum(parts), cache["blocks.1.hook_resid_post"], atol=1e-5, rtol=0)
    pattern = cache["blocks.1.attn.hook_pattern"]
    assert pattern.shape == (2, 2, 12, 12)
    torch.testing.assert_close(pattern.sum(-1), torch.ones(2, 2, 12))
    assert (pattern[..., 4, 2] == 0).all() == (mask == "autoregressive-pfn")  # x₂ does not read x₁
    torch.testing.assert_close(
        cache["blocks.0.attn.hook_result"].sum(2) + model.blocks[0].attn.b_O,
        cache["blocks.0.hook_attn_out"],
        atol=1e-5,
        rtol=0,
    )
    torch.testing.assert_close(
        cache["ln_final.hook_normalized"][:, 0::2] @ model.W_U + model.b_U,
        logits,
        atol=1e-5,
        rtol=0,
    )


def test_only_what_is_asked_for_is_kept():
    model, (x, y) = regression(), rows()
    assert set(cached(model, x, y, names_filter="hook_embed")[1]) == {"hook_embed"}
    assert set(cached(model, x, y, names_filter=["hook_embed", "ln_final.hook_scale"])[1]) == {
        "hook_embed",
        "ln_final.hook_scale",
    }
    patterns = {f"blocks.{i}.attn.hook_pattern" for i in (0, 1)}
    assert (
        set(cached(model, x, y, names_filter=lambda name: name.endswith("pattern"))[1]) == patterns
    )
    assert cached(model, x[:1], y[:1], remove_batch_dim=True)[1]["hook_embed"].shape == (12, 16)
    _, cache = model(x, y, return_cache=True)
    assert cache["blocks.0.attn.hook_z"].shape == (2, 12, 2, 8)
    assert not model.is_hooked


def test_a_hook_replaces_what_passes_and_is_gone_afterwards():
    model, (x, y) = regression(), rows()
    before = model(x, y)

    def without_heads(z, hook):
        assert hook.name == "blocks.1.attn.hook_z"
        assert hook.layer() == 1
        return torch.zeros_like(z)

    changed = model.run_with_hooks(x, y, fwd_hooks=[("blocks.1.attn.hook_z", without_heads)])
    assert (changed - before).abs().max() > 1e-2
    assert torch.equal(model(x, y), before)
    model.add_hook("blocks.1.attn.hook_z", without_heads)
    torch.testing.assert_close(model(x, y), changed)
    model.reset_hooks()
    assert torch.equal(model(x, y), before)


def test_hooks_are_gone_after_an_error_too():
    model, (x, y) = regression(), rows()

    def broken(value, hook):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        model.run_with_hooks(x, y, fwd_hooks=[(lambda name: "mlp" in name, broken)])
    assert not model.is_hooked
    with pytest.raises(KeyError, match=r"no hook point blocks\.7"):
        model.run_with_hooks(x, y, fwd_hooks=[("blocks.7.hook_mlp_out", broken)])


def test_gradients_can_be_seen():
    model, (x, y) = regression(), rows()
    gradients = {}
    with model.hooks(
        bwd_hooks=[
            ("blocks.0.hook_resid_post", lambda value, hook: gradients.update({hook.name: value}))
        ]
    ):
        model(x, y).sum().backward()
    assert gradients["blocks.0.hook_resid_post"].shape == (2, 12, 16)


def test_short_names_stand_for_the_one_that_fits():
    patterns = {f"blocks.{i}.attn.hook_pattern": torch.ones(i + 1) for i in range(2)}
    cache = ActivationCache({"hook_embed": torch.zeros(1), **patterns})
    assert len(cache["pattern", 1]) == len(cache["pattern", -1]) == 2
    assert len(cache["pattern", 0]) == len(cache["embed"]) == len(cache["hook_embed"]) == 1
    for unknown in (("z", 0), "z", ("pattern", 2)):
        with pytest.raises(KeyError, match="stands for nothing"):
            cache[unknown]
    with pytest.raises(KeyError, match=r"stands for blocks\.0\.attn\.hook_pattern and blocks\.1"):
        cache["pattern"]


def test_no_names_keep_nothing():
    assert cached(regression(), *rows(), names_filter=[])[1] == {}


def test_elements_have_hooks():
    model = unsupervised()
    logits, cache = cached(model, torch.tensor([[1, 2, 3]]))
    assert cache["blocks.0.attn.hook_pattern"].shape == (1, 2, 3, 3)
    torch.testing.assert_close(logits, model(torch.tensor([[1, 2, 3]])), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "options", [{}, {"attention_type": "linear"}, {"separate_query_weights": False}]
)
@torch.no_grad()
def test_a_table_network_answers_the_same_with_hooks(options):
    model = PFN(
        TabularConfig(d_model=16, n_heads=2, n_layers=2, d_mlp=16, max_classes=3, **options)
    )
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    batch = TaskBatch(torch.randn(2, 9, 3), torch.randint(0, 3, (2, 9)).float(), n_train=6)
    logits, cache = cached(model, batch)
    torch.testing.assert_close(logits, model(batch), atol=1e-4, rtol=1e-4)
    assert cache["hook_embed"].shape == (2, 4, 9, 16)
    assert cache["layers.0.column_attention.hook_pattern"].shape == (2, 9, 2, 4, 4)
    torch.testing.assert_close(
        cache["layers.0.hook_resid_pre"]
        + sum(cache[f"layers.0.hook_{part}_out"] for part in ("columns", "rows", "mlp")),
        cache["layers.0.hook_resid_post"],
        atol=1e-4,
        rtol=1e-4,
    )
    softmax = options.get("attention_type") != "linear"
    assert ("layers.1.hook_row_pattern" in cache) == softmax
    if softmax:
        assert cache["layers.1.hook_row_pattern"].shape == (8, 2, 9, 6)
