"""Softmax attention against its definition."""

import torch
import torch.nn.functional as F

from openpfn.attention.base import short_attention
from openpfn.attention.softmax import SoftmaxAttention


def test_it_averages_values_by_the_softmax_of_scaled_products():
    torch.manual_seed(0)
    attention = SoftmaxAttention(4, 1)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 5, 4), torch.randn(1, 2, 4)
    key, value = attention.to_key_value(context).chunk(2, dim=-1)
    weights = (attention.to_query(rows) @ key.transpose(1, 2) / 2).softmax(dim=-1)
    torch.testing.assert_close(
        attention.read(rows, attention.summarize(context)), weights @ value, atol=1e-5, rtol=1e-5
    )


def test_the_written_out_form_equals_the_fused_kernel():
    q, key, value = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        short_attention(q, key, value),
        F.scaled_dot_product_attention(q, key, value),
        atol=1e-5,
        rtol=1e-5,
    )
