"""What the tests of the pfn_transformers document share: its sizes, its data, a folder for each example."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from openpfn import DeterministicGenerator

SIZES = {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_head": 32}
SHORT = {"batch_size": 2, "seq_len": 6, "num_steps": 2, "n_workers": 0, "device": "cpu"}
"""What is shortened of each training."""


def isolate(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in `folder`; W&B offline, its project named by the environment as under Best Practices."""
    monkeypatch.chdir(folder)
    for name in ("OPENPFN_REGISTRY", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "my-project")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


def linear_fn(x, w):
    return (w * x).sum(dim=-1)


def linear_data() -> DeterministicGenerator:
    return DeterministicGenerator(prior=torch.distributions.Normal(0.0, 1.0), function=linear_fn, input_dim=10, noise_std=0.1)


def rows(n: int = 3, d: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(2, n, d), torch.randn(2, n)
