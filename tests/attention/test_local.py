"""Local attention against softmax attention with a dense band."""

import pytest
import torch
import torch.nn.functional as F

from openpfn.attention.base import random_order
from openpfn.attention.local import LocalAttention


def lively(**options) -> LocalAttention:
    attention = LocalAttention(8, 2, **options)
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return attention.requires_grad_(False)


@pytest.mark.parametrize("layer", [0, 3])
@pytest.mark.parametrize(
    ("n", "window"), [(12, 3), (13, 3), (14, 3), (7, 6), (5, 9), (2, 1), (1, 1), (9, 1)]
)
def test_it_is_softmax_attention_within_a_band_of_the_random_order(n, window, layer):
    attention = lively(window=window, layer=layer)
    context = torch.randn(3, n, 8)
    place = random_order(n, layer, context.device).argsort()
    band = (
        place[:, None] - place
    ).abs() <= window  # at the two ends a row reads fewer, and nothing else
    state, q = attention.summarize(context), attention.split_heads(attention.to_query(context))
    expected = F.scaled_dot_product_attention(q, state.key, state.value, attn_mask=band)
    torch.testing.assert_close(
        attention.mix(context, state),
        attention.to_out(attention.merge_heads(expected)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_queries_read_every_row():
    attention = lively(window=1)
    context, rows = torch.randn(1, 9, 8), torch.randn(1, 3, 8)
    state = attention.summarize(context)
    expected = F.scaled_dot_product_attention(
        attention.split_heads(attention.to_query(rows)), state.key, state.value
    )
    torch.testing.assert_close(
        attention.read(rows, state),
        attention.to_out(attention.merge_heads(expected)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_a_few_windows_at_a_time_give_the_same(monkeypatch):
    attention = lively(window=3)
    context = torch.randn(2, 23, 8)
    state = attention.summarize(context)
    expected = attention.mix(context, state)
    monkeypatch.setattr("openpfn.attention.base.ELEMENTS_AT_ONCE", 3 * 2 * 8 * 9)  # three windows
    torch.testing.assert_close(attention.mix(context, state), expected)


def test_each_layer_shuffles_anew():
    context = torch.randn(1, 30, 8)
    first, second = (lively(window=2, layer=layer) for layer in (0, 1))
    second.load_state_dict(first.state_dict())
    state = first.summarize(context)
    assert (first.mix(context, state) - second.mix(context, state)).abs().max() > 1e-4
