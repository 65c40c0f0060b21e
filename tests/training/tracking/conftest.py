"""The place where runs are tracked in these tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, with no tracker set from outside."""
    for name in ("OPENPFN_REGISTRY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path
