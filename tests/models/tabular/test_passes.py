"""A context of any length in bounded memory: the state is that of all cells held at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from openpfn.batch import TaskBatch
from openpfn.models.tabular import network
from openpfn.models.tabular.passes import can_go_in_passes, states_in_passes
from tests.estimators.conftest import NUMBERS, random_network


def task(n_rows: int, numbers: bool) -> TaskBatch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n_rows, 4, generator=generator)
    y = x[:, :, 0] if numbers else (x[:, :, 0] > 0).float()
    return TaskBatch(x=x, y=y, n_train=n_rows, n_classes=None if numbers else torch.tensor([2, 2]))


@pytest.mark.parametrize("mechanism", ["linear", "ridge", "pooled"])
@pytest.mark.parametrize("numbers", [False, True])
@torch.inference_mode()
def test_little_memory_gives_the_state_of_all_cells(mechanism, numbers, monkeypatch):
    monkeypatch.setattr(network, "CELLS_PER_TILE", 70)  # 7 rows at a time
    model: Any = random_network(replace(NUMBERS, attention_type=mechanism))
    batch = task(100, numbers)
    query = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    whole, tiled = model.summarize(batch), model.summarize(batch, most_bytes=1000)
    assert_close(model.read(query, tiled), model.read(query, whole), atol=1e-5, rtol=1e-5)


def test_rows_that_read_each_other_cannot_go_in_passes():
    for mechanism, can in {"linear": True, "softmax": True, "sparse": False}.items():
        model: Any = random_network(replace(NUMBERS, attention_type=mechanism))
        assert can_go_in_passes(model.stack) == can


@torch.inference_mode()
def test_cells_go_in_passes_only_where_they_do_not_fit(monkeypatch):
    model: Any = random_network(replace(NUMBERS, attention_type="linear"))
    calls = []

    def told(*parts):
        calls.append(parts)
        return states_in_passes(*parts)

    monkeypatch.setattr(network, "states_in_passes", told)
    n_bytes = 4 * model.config.d_model * 2 * 5 * 100
    model.summarize(task(100, False), most_bytes=n_bytes)
    assert not calls
    model.summarize(task(100, False), most_bytes=n_bytes - 1)
    assert len(calls) == 1
