"""Pooled attention against its formula."""

import torch

from openpfn.attention.pooled import PooledAttention


def test_rows_read_softmax_averages_of_keys_and_values():
    attention = PooledAttention(4, 1, n_points=3)
    torch.nn.init.eye_(attention.to_out.weight)
    context, rows = torch.randn(1, 6, 4), torch.randn(1, 2, 4)
    key, value = attention.to_key_value(context).chunk(2, dim=-1)
    share = (attention.points @ key.transpose(1, 2) / 2).softmax(
        dim=-1
    )  # (1, 3, 6): of each point's average
    expected = (attention.to_query(rows) @ (share @ key).transpose(1, 2) / 2).softmax(dim=-1) @ (
        share @ value
    )
    torch.testing.assert_close(
        attention.read(rows, attention.finalize(attention.summarize(context))),
        expected,
        atol=1e-6,
        rtol=1e-5,
    )


def test_the_state_has_one_row_per_point_however_long_the_context():
    attention = PooledAttention(8, 2, n_points=5)
    for n in (1, 300):
        state = attention.finalize(attention.summarize(torch.randn(3, n, 8)))
        assert state.key.shape == state.value.shape == (3, 2, 5, 4)


def test_scores_far_apart_merge_without_overflow():
    attention = PooledAttention(4, 1, n_points=2)
    near, far = torch.randn(1, 3, 4), 1e4 * torch.randn(1, 3, 4)
    merged = attention.finalize(
        attention.merge(attention.summarize(near), attention.summarize(far))
    )
    whole = attention.finalize(attention.summarize(torch.cat([near, far], dim=1)))
    for a, b in zip(merged, whole, strict=True):
        assert a.isfinite().all()
        torch.testing.assert_close(a, b)
