"""Softmax attention against its definition."""

import torch

from openpfn.attention import softmax
from openpfn.attention.softmax import SoftmaxAttention


def test_long_and_short_contexts_follow_one_formula(monkeypatch):
    torch.manual_seed(0)
    attention = SoftmaxAttention(8, 2)
    torch.nn.init.eye_(attention.to_out.weight)
    rows = torch.randn(2, 7, 8)
    written_out = attention.read(rows, attention.summarize(rows))
    monkeypatch.setattr(softmax, "LONGEST_EXPLICIT", 0)
    torch.testing.assert_close(attention.read(rows, attention.summarize(rows)), written_out, atol=1e-5, rtol=1e-5)
