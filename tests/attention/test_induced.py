"""Induced attention against PyTorch's own multi-head attention."""

import torch
import torch.nn.functional as F
from torch import nn

from openpfn.attention.induced import InducedAttention


def multi_head(query, source, to_query, to_key_value, to_out, n_heads):
    """softmax attention by `nn.MultiheadAttention` with the given maps."""
    reference = nn.MultiheadAttention(query.shape[-1], n_heads, bias=False, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([to_query.weight, to_key_value.weight]))
        reference.out_proj.weight.copy_(to_out.weight)
    return reference(query, source, source)[0]


def test_points_attend_to_the_context_and_think_and_rows_attend_to_the_points():
    attention = InducedAttention(8, 2, n_points=3)
    for weight in attention.parameters():
        nn.init.normal_(weight, std=0.5)
    context, rows = torch.randn(2, 6, 8), torch.randn(2, 4, 8)
    points = attention.points.expand(2, -1, -1)
    points = points + multi_head(
        points, context, attention.point_query, attention.to_key_value, attention.point_out, 2
    )
    hidden = F.gelu(attention.point_hidden(F.rms_norm(points, (8,))))
    points = points + attention.point_mlp_out(hidden)
    expected = multi_head(
        rows,
        F.rms_norm(points, (8,)),
        attention.to_query,
        attention.point_key_value,
        attention.to_out,
        2,
    )
    read = attention.read(rows, attention.finalize(attention.summarize(context)))
    torch.testing.assert_close(read, expected, atol=1e-5, rtol=1e-5)


def test_the_state_has_one_row_per_point_however_long_the_context():
    attention = InducedAttention(8, 2, n_points=5)
    for n in (1, 300):
        state = attention.finalize(attention.summarize(torch.randn(3, n, 8)))
        assert state.key.shape == state.value.shape == (3, 2, 5, 4)
