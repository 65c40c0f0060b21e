"""Sparse attention against softmax attention with a dense mask."""

import math

import pytest
import torch
import torch.nn.functional as F

from openpfn.attention.sparse import SparseAttention


def pattern(attention: SparseAttention, n: int) -> torch.Tensor:
    """Which row reads which, as an n × n matrix, from what changes when a row changes."""
    context = torch.randn(1, n, 8)
    plain = attention.mix(context, attention.summarize(context))
    reads = torch.zeros(n, n, dtype=torch.bool)
    for row in range(n):
        state = attention.summarize(context)
        state.value[:, :, row] += 1
        reads[:, row] = ((attention.mix(context, state) - plain).abs() > 1e-6).any(dim=-1)
    return reads


def lively(**options) -> SparseAttention:
    attention = SparseAttention(8, 2, **options)
    for weight in attention.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return attention.requires_grad_(False)


@pytest.mark.parametrize("n", [12, 13, 21, 5, 3, 1])
def test_it_is_softmax_attention_under_its_pattern(n):
    attention = lively(block_rows=3, n_random_blocks=1)
    context = torch.randn(1, n, 8)
    state, q = attention.summarize(context), attention.split_heads(attention.to_query(context))
    mask = pattern(attention, n)
    expected = F.scaled_dot_product_attention(q, state.key, state.value, attn_mask=mask)
    torch.testing.assert_close(
        attention.mix(context, state),
        attention.to_out(attention.merge_heads(expected)),
        atol=1e-5,
        rtol=1e-5,
    )


def test_every_row_reads_its_block_and_random_others_and_is_read_as_often():
    reads = pattern(lively(block_rows=3, n_random_blocks=2), 18)
    assert reads.diagonal().all()
    assert (reads.sum(dim=0) == 9).all()
    assert (reads.sum(dim=1) == 9).all()
    blocks = {tuple(row.nonzero().flatten().tolist()) for row in reads}
    assert len(blocks) == 6, "rows of one block read the same rows"


def test_rows_read_all_others_where_there_are_as_many_random_blocks():
    assert pattern(lively(n_random_blocks=9), 20).all()
    assert pattern(lively(), 2).all()


@pytest.mark.slow
@pytest.mark.parametrize("n", [30, 80, 200])
def test_blocks_follow_the_context_so_that_few_rows_read_a_few(n):
    read = pattern(lively(), n).sum(dim=1)
    assert (read <= 3 * math.ceil(math.sqrt(n))).all()
    assert (read < 0.65 * n).all()


def test_blocks_hold_no_more_rows_than_asked_for():
    assert lively().blocks(10_000, torch.device("cpu"))[0].shape[1] <= 64
    assert lively(block_rows=5).blocks(200, torch.device("cpu"))[0].shape[1] == 5


def test_each_layer_deals_anew_and_always_alike():
    first, again, second = (
        pattern(lively(block_rows=3, n_random_blocks=1, layer=layer), 15) for layer in (0, 0, 1)
    )
    assert (first == again).all()
    assert (first != second).any()


def test_queries_read_every_row():
    attention = lively(block_rows=2, n_random_blocks=0)
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


def test_a_few_blocks_at_a_time_give_the_same(monkeypatch):
    attention = lively(block_rows=3, n_random_blocks=1)
    context = torch.randn(2, 23, 8)
    state = attention.summarize(context)
    expected = attention.mix(context, state)
    monkeypatch.setattr("openpfn.attention.base.ELEMENTS_AT_ONCE", 3 * 2 * 8 * 6)  # three blocks
    torch.testing.assert_close(attention.mix(context, state), expected)
