"""Tests of texts run without a network, and with caches of their own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _alone(no_network, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENPFN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("OPENPFN_E5", raising=False)
