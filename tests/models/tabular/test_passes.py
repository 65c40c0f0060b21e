"""A context of any length in bounded memory: the state is that of all cells held at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from openpfn.batch import TaskBatch
from openpfn.models.tabular import passes
from openpfn.models.tabular.passes import goes_in_passes, summarize_in_passes
from tests.estimators.conftest import NUMBERS, random_network


def task(n_rows: int, numbers: bool) -> TaskBatch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n_rows, 4, generator=generator)
    y = x[:, :, 0] if numbers else (x[:, :, 0] > 0).float()
    return TaskBatch(x=x, y=y, n_train=n_rows, n_classes=None if numbers else torch.tensor([2, 2]))


@pytest.mark.parametrize("mechanism", ["linear", "ridge", "pooled"])
@pytest.mark.parametrize("numbers", [False, True])
@torch.inference_mode()
def test_passes_give_the_state_of_all_cells(mechanism, numbers, monkeypatch):
    monkeypatch.setattr(passes, "CELLS_PER_TILE", 70)  # 7 rows at a time
    model = random_network(replace(NUMBERS, attention_type=mechanism))
    batch = task(100, numbers)
    query = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    whole, tiled = model.summarize(batch), summarize_in_passes(model, batch)
    assert_close(model.read(query, tiled), model.read(query, whole), atol=1e-5, rtol=1e-5)


def test_rows_that_read_each_other_cannot_go_in_passes():
    for mechanism, can in {"linear": True, "softmax": True, "sparse": False}.items():
        model = random_network(replace(NUMBERS, attention_type=mechanism))
        assert goes_in_passes(model) == can


@torch.inference_mode()
def test_little_memory_makes_it_go_in_passes(monkeypatch):
    model = random_network(replace(NUMBERS, attention_type="linear"))
    calls = []

    def told(model, batch):
        calls.append(len(batch.y))
        return summarize_in_passes(model, batch)

    monkeypatch.setattr("openpfn.models.tabular.network.summarize_in_passes", told)
    model.summarize(task(100, False), most_bytes=4 * 16 * 2 * 5 * 100)
    assert not calls
    model.summarize(task(100, False), most_bytes=4 * 16 * 2 * 5 * 100 - 1)
    assert calls == [2]
