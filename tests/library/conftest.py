"""A folder and data for each example of the pfn_transformers document."""

from __future__ import annotations

import pytest
import torch
from library_document import linear_fn

from openpfn import DeterministicGenerator


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder of its own; W&B offline, its project named by the environment as under Best
    Practices."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENPFN_REGISTRY", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "my-project")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    return tmp_path


@pytest.fixture
def data_gen():
    return DeterministicGenerator(
        prior=torch.distributions.Normal(0.0, 1.0), function=linear_fn, input_dim=10, noise_std=0.1
    )
