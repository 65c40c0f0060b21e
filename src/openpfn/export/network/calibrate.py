"""Measure how large the numbers inside a network become on tasks of a prior."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior

PRIOR, SEED, N_BATCHES, TASKS_PER_BATCH, MOST_ROWS, MOST_FEATURES = "mixture", 0, 8, 8, 128, 32


def measured_ranges(model: Any, max_features: int, max_classes: int) -> dict[str, float]:
    """Return the largest size of each kind of number in a `TabularPFN` on tasks of the prior
    `mixture`, always the same ones.

    Kinds: queries, keys and values of the attention between columns and rows (column_query, …), and
    hidden, the inner layer of MLPs before its activation; the largest of all layers. Queries
    between columns include 1/√(head width) and log₂ e.
    """
    ranges: dict[str, float] = {}

    def watch(module: nn.Module, kinds: tuple[str, ...], scale: float = 1.0) -> Any:
        def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            for kind, part in zip(kinds, output.chunk(len(kinds), dim=-1), strict=True):
                ranges[kind] = max(ranges.get(kind, 0.0), float(part.abs().max()) * scale)

        return module.register_forward_hook(note)

    handles = []
    width = model.config.d_model // model.config.n_heads
    for layer in model.layers:
        handles.append(
            watch(layer.column_attention.to_query, ("column_query",), width**-0.5 * 1.4427)
        )
        handles.append(watch(layer.column_attention.to_key_value, ("column_key", "column_value")))
        handles.append(watch(layer.row_attention.to_key_value, ("row_key", "row_value")))
        asking = [layer.row_attention.to_query] + (
            [layer.row_attention.read_query] if layer.row_attention.separate_query_weights else []
        )
        handles += [watch(module, ("row_query",)) for module in asking]
        handles.append(watch(layer.mlp.hidden, ("hidden",)))
    handles.append(watch(model.head.hidden, ("hidden",)))
    try:
        with torch.inference_mode():
            for batch in calibration_tasks(max_features, max_classes):
                model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return ranges


@cache
def calibration_tasks(max_features: int, max_classes: int) -> tuple[TaskBatch, ...]:
    """Return the tasks on which the ranges are measured."""
    prior: type[TaskPrior] = registry.find("priors", PRIOR, TaskPrior)
    config = PriorConfig(
        max_features=min(max_features, MOST_FEATURES),
        min_seq_len=16,
        max_seq_len=MOST_ROWS,
        max_classes=max_classes,
    )
    generator = torch.Generator().manual_seed(SEED)
    return tuple(prior(config).sample(TASKS_PER_BATCH, generator) for _ in range(N_BATCHES))  # pyright: ignore[reportCallIssue]
