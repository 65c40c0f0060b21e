"""Networks that answer while, perhaps, they are in training."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MODES = threading.Lock()
_ASKED: dict[int, tuple[int, bool]] = {}
"""How many calls read a model now, and whether it was in training before the first of them."""


@contextmanager
def in_evaluation(model: Any) -> Iterator[None]:
    """Run in evaluation mode; a model in training goes back to it after the last of the calls that
    read it, in whatever threads these are."""
    with _MODES:
        n_calls, was_training = _ASKED.get(id(model), (0, getattr(model, "training", False)))
        if n_calls == 0 and was_training:
            model.eval()
        _ASKED[id(model)] = n_calls + 1, was_training
    try:
        yield
    finally:
        with _MODES:
            n_calls, was_training = _ASKED.pop(id(model))
            if n_calls > 1:
                _ASKED[id(model)] = n_calls - 1, was_training
            elif was_training:
                model.train()
