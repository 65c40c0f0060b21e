"""The states of several batches of tasks as the state of one batch of all these tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from openpfn.models.tabular.network import TableState


def joined(states: list[TableState]) -> TableState:
    """Return the state of the tasks of all `states`, in turn. They must be of one network, and
    their tasks of as many columns and context rows.

    A task is read as before: no operation of the network mixes tasks.
    """
    first = states[0]
    if len(states) == 1:
        return first
    neighbours = [s.statistics.neighbours for s in states if s.statistics.neighbours is not None]
    statistics = _joined([state.statistics._replace(neighbours=None) for state in states])
    if neighbours:  # whose shifts come before the tasks
        statistics = statistics._replace(neighbours=torch.cat(neighbours, dim=1))
    rest = _joined([state._replace(statistics=None) for state in states])
    return rest._replace(statistics=statistics)


def _joined(parts: list[Any]) -> Any:
    """Return tensors one after the other along their first axis, in NamedTuples and lists of such;
    what is no tensor must be the same in all parts."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(parts)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(_joined(list(same)) for same in zip(*parts, strict=True)))
    if isinstance(first, list):
        return [_joined(list(same)) for same in zip(*parts, strict=True)]
    assert all(part == first for part in parts), "tasks of as many rows and columns leave alike"
    return first
