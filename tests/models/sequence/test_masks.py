"""Masks let each token read what its name says."""

from __future__ import annotations

import pytest
import torch

from openpfn.models.sequence.masks import context_and_queries, interleaved, positions


def test_a_pair_is_read_by_later_tokens_and_an_x_token_by_itself_alone():
    allowed = interleaved("autoregressive-pfn", 5)
    for i in range(10):
        for j in range(10):
            assert allowed[i, j] == (i == j or (j < i and j % 2 == 1))


def test_gpt2_is_causal():
    assert torch.equal(interleaved("gpt2", 4), torch.ones(8, 8).tril().bool())


def test_a_set_has_no_order_of_tokens():
    with pytest.raises(ValueError, match="mask_type is 'set'"):
        interleaved("set", 3)


@pytest.mark.parametrize("mask", ["autoregressive-pfn", "gpt2", "set"])
def test_queries_read_the_context_and_never_each_other(mask):
    n = 6 if mask == "gpt2" else 3
    allowed = context_and_queries(mask, 3, 2)
    assert allowed[n:, :n].all()
    assert torch.equal(allowed[n:, n:], torch.eye(2).bool())
    assert not allowed[:n, n:].any()
    assert bool(allowed[:n, :n].all()) == (mask == "set")
    assert positions(mask, 3, 2).tolist() == (
        [0, 1, 2, 3, 4, 5, 6, 6] if mask == "gpt2" else [1, 3, 5, 6, 6]
    )
