"""Linear attention against its definition."""

import pytest
import torch
import torch.nn.functional as F

from openpfn.attention.linear import FEATURES, LinearAttention


def feature_map(attention: LinearAttention, u: torch.Tensor) -> torch.Tensor:
    """φ as the documentation says it."""
    if attention.features == "elu":
        return F.elu(u) + 1
    if attention.features == "relu":
        return u.clamp(min=0) + 0.001
    turned = u @ attention.feature_map[0]
    return torch.cat(
        [
            turned.exp() / turned.exp().sum(-1, keepdim=True),
            (-turned).exp() / (-turned).exp().sum(-1, keepdim=True),
        ],
        dim=-1,
    )


@pytest.fixture(params=FEATURES)
def features(request) -> str:
    return request.param


def test_it_averages_values_with_positive_weights(features):
    attention = LinearAttention(4, 1, features=features)
    for weight in attention.parameters():
        torch.nn.init.normal_(weight)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 5, 4), torch.randn(1, 2, 4)
    key, value = attention.to_key_value(context).chunk(2, dim=-1)
    weights = feature_map(attention, attention.to_query(rows)) @ feature_map(
        attention, key
    ).transpose(1, 2)
    assert (weights > 0).all()
    expected = (weights / weights.sum(dim=-1, keepdim=True)) @ value
    torch.testing.assert_close(
        attention.read(rows, attention.summarize(context)), expected, atol=1e-5, rtol=1e-5
    )


def test_states_merge_with_every_feature_map(features):
    attention = LinearAttention(8, 2, features=features)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(3, 9, 8), torch.randn(3, 4, 8)
    merged = attention.merge(
        attention.summarize(context[:, :4]), attention.summarize(context[:, 4:])
    )
    torch.testing.assert_close(
        attention.read(rows, merged),
        attention.read(rows, attention.summarize(context)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_gradients_reach_every_weight_and_bfloat16_is_close_with_every_feature_map(features):
    attention = LinearAttention(8, 2, features=features)
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    rows = torch.randn(3, 12, 8)
    exact, _ = attention(rows, 9)
    exact.square().mean().backward()
    assert all(
        weight.grad.isfinite().all() and weight.grad.abs().max() > 0
        for weight in attention.parameters()
    )
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = attention(rows, 9)
    assert (rough.float() - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_unknown_features_list_the_choices():
    with pytest.raises(ValueError, match="features is 'gelu', must be one of elu, relu, learned"):
        LinearAttention(8, 2, features="gelu")


def test_the_state_does_not_grow_with_the_context(features):
    attention = LinearAttention(8, 2, features=features)
    sizes = {
        n: [tensor.shape for tensor in attention.summarize(torch.randn(3, n, 8))] for n in (1, 1000)
    }
    assert sizes[1] == sizes[1000]
