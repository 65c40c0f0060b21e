"""The written out softmax attention against the fused kernel."""

import pytest
import torch

from openpfn.attention import scratch
from openpfn.attention.scratch import ScratchAttention
from openpfn.attention.softmax import SoftmaxAttention


@pytest.mark.parametrize("qassmax", [False, True])
def test_with_the_same_weights_it_is_softmax_attention(qassmax, monkeypatch):
    monkeypatch.setattr(scratch, "ROWS_AT_ONCE", 3)  # the last part is smaller
    softmax, written_out = (
        kind(16, 4, separate_query_weights=True, qassmax=qassmax)
        for kind in (SoftmaxAttention, ScratchAttention)
    )
    for weight in softmax.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    written_out.load_state_dict(softmax.state_dict())
    rows = torch.randn(5, 17, 16)
    torch.testing.assert_close(written_out(rows, 9)[0], softmax(rows, 9)[0], atol=1e-6, rtol=1e-5)


def test_it_averages_values_by_the_softmax_of_scaled_products():
    attention = ScratchAttention(4, 1)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 5, 4), torch.randn(1, 2, 4)
    key, value = attention.to_key_value(context).chunk(2, dim=-1)
    expected = (attention.to_query(rows) @ key.transpose(1, 2) / 2).softmax(dim=-1) @ value
    torch.testing.assert_close(
        attention.read(rows, attention.summarize(context)), expected, atol=1e-6, rtol=1e-5
    )


def test_large_scores_do_not_overflow():
    attention = ScratchAttention(4, 1)
    torch.nn.init.eye_(attention.to_out.weight)
    assert (
        attention.read(torch.full((1, 1, 4), 1e4), attention.summarize(torch.full((1, 3, 4), 1e4)))
        .isfinite()
        .all()
    )
