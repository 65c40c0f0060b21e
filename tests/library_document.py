"""What the tests of the pfn_transformers document share: its sizes, its function and rows."""

from __future__ import annotations

import torch

SIZES = {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_head": 32}
SHORT = {"batch_size": 2, "seq_len": 6, "num_steps": 2, "n_workers": 0, "device": "cpu"}
"""What is shortened of each training."""


def linear_fn(x, w):
    return (w * x).sum(dim=-1)


def rows(n: int = 3, d: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, n, d), torch.randn(2, n)
