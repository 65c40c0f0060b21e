"""Hybrid attention is its two parts."""

import pytest
import torch

from openpfn.attention.hybrid import HybridAttention
from openpfn.attention.linear import LinearAttention
from openpfn.attention.softmax import SoftmaxAttention


def lively(attention):
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return attention


@pytest.mark.parametrize("separate", [False, True])
def test_context_rows_mix_linearly_and_query_rows_read_by_softmax(separate):
    attention = lively(HybridAttention(16, 4, separate_query_weights=separate))
    mixing, reading = LinearAttention(16, 4), SoftmaxAttention(16, 4)
    mixing.load_state_dict(attention.mixing.state_dict())
    reading.load_state_dict(attention.reading.state_dict())
    rows = torch.randn(3, 12, 16)
    joint, _ = attention(rows, 8)
    torch.testing.assert_close(joint[:, :8], mixing(rows, 8)[0][:, :8])
    torch.testing.assert_close(joint[:, 8:], reading(rows, 8)[0][:, 8:])


def test_without_separate_weights_both_parts_use_the_same():
    shared, separate = HybridAttention(16, 4), HybridAttention(16, 4, separate_query_weights=True)
    assert sum(weight.numel() for weight in shared.parameters()) == 4 * 16 * 16
    assert sum(weight.numel() for weight in separate.parameters()) == 8 * 16 * 16
    assert shared.reading.to_key_value is shared.mixing.to_key_value


def test_shared_weights_are_still_shared_after_loading():
    saved, loaded = lively(HybridAttention(16, 4)), HybridAttention(16, 4)
    loaded.load_state_dict(saved.state_dict())
    rows = torch.randn(3, 12, 16)
    torch.testing.assert_close(loaded(rows, 8)[0], saved(rows, 8)[0], atol=0, rtol=0)


def test_the_parts_are_chosen_by_name():
    attention = lively(HybridAttention(16, 4, mixing="Sparse", reading="ridge"))
    assert attention.order_matters
    assert not attention.mixes_rows_alone
    assert attention.mixing.to_query is attention.reading.to_query
    assert attention(torch.randn(2, 9, 16), 6)[0].isfinite().all()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"mixing": "hybrid"}, "mixing is 'hybrid', which lacks"), ({"reading": "x"}, "unknown")],
)
def test_parts_that_cannot_be_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        HybridAttention(16, 4, **options)


def test_qassmax_goes_to_the_reading_part():
    attention = HybridAttention(16, 4, qassmax=True)
    assert attention.reading.qassmax
    assert not attention.mixing.qassmax
    with pytest.raises(ValueError, match="LinearAttention has none"):
        HybridAttention(16, 4, reading="linear", qassmax=True)
