"""Every test runs with checked shapes, one torch thread, fixed seeds and no display."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

if (
    os.environ.get("JAXTYPING_DISABLE") != "1"
):  # torch.compile cannot trace the checks: those tests run in a second pass without them
    from jaxtyping import install_import_hook

    install_import_hook("openpfn", "checked_types.check")

import random

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("quick", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("thorough", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    """No test depends on the tests that ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (scikit-learn's own checks draw from the global state)
    torch.manual_seed(0)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection fails: nothing may leave the machine unasked."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("a test opened a network connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(f"socket.socket.{name}", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
