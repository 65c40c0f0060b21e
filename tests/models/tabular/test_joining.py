"""States of several batches as one: its tasks are read as they were alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.models.tabular.joining import joined
from tests.estimators.conftest import NUMBERS, random_network


def task(seed: int, n_tasks: int, numbers: bool) -> TaskBatch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_tasks, 20, 4, generator=generator)
    y = x[:, :, 0] if numbers else (x[:, :, 0] > 0).float()
    return TaskBatch(
        x=x,
        y=y,
        n_train=20,
        n_classes=None if numbers else torch.full((n_tasks,), 2),
        categorical=torch.rand(n_tasks, 4, generator=generator) < 0.5,
    )


def assert_joins(model: Any, numbers: bool) -> None:
    states = [model.summarize(task(seed, n, numbers)) for seed, n in enumerate((1, 2, 1))]
    query = torch.randn(4, 8, 4, generator=torch.Generator().manual_seed(9))
    apart = [model.read(x, s) for x, s in zip(query.split([1, 2, 1]), states, strict=True)]
    assert_close(model.read(query, joined(states)), torch.cat(apart), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mechanism", registry.names("attention"))
@pytest.mark.parametrize("numbers", [False, True])
@torch.inference_mode()
def test_tasks_are_read_as_before_whatever_the_attention(mechanism, numbers):
    assert_joins(random_network(replace(NUMBERS, attention_type=mechanism)), numbers)


@torch.inference_mode()
def test_tasks_are_read_as_before_where_columns_embed_their_neighbours():
    assert_joins(random_network(replace(NUMBERS, column_shifts=(0, 1, 3))), False)
