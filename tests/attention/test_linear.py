"""Linear attention against its definition."""

import torch
import torch.nn.functional as F

from openpfn.attention.linear import LinearAttention


def test_it_averages_values_with_positive_weights():
    torch.manual_seed(0)
    attention = LinearAttention(4, 1)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 5, 4), torch.randn(1, 2, 4)
    key, value = attention.to_key_value(context).chunk(2, dim=-1)
    weights = (F.elu(attention.to_query(rows)) + 1) @ (F.elu(key) + 1).transpose(1, 2)
    expected = (weights / weights.sum(dim=-1, keepdim=True)) @ value
    torch.testing.assert_close(attention.read(rows, attention.summarize(context)), expected, atol=1e-5, rtol=1e-5)


def test_the_state_does_not_grow_with_the_context():
    attention = LinearAttention(8, 2)
    sizes = {n: [tensor.shape for tensor in attention.summarize(torch.randn(3, n, 8))] for n in (1, 1000)}
    assert sizes[1] == sizes[1000]
