"""`predicted`: what training a network costs on so many GPUs, by arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openpfn.benchmark.scale.config import CostConfig

BYTES_OF_STATE = 4 * 4
"""Bytes a parameter takes beside activations: weight, gradient and two moments, in float32."""


@dataclass(frozen=True)
class Counted:
    """What is counted, not assumed, of one network and size of task."""

    n_parameters: int
    gflop: float
    """Of a task: forward and backward."""
    activation_mb: float
    """Of a task: what the backward pass keeps, in float32."""


@dataclass(frozen=True)
class Predicted:
    """Training on `gpus` GPUs."""

    gpus: int
    step_ms: float
    """Of which `sync_ms` are spent averaging gradients."""
    sync_ms: float
    tasks_per_second: float
    efficiency: float
    """Tasks per second of a GPU, as a share of those of a single one."""
    gigabytes: float
    """Memory of each GPU."""
    cores: int
    """Cores that draw the tasks as fast as they are used."""
    hours: float
    dollars: float


def count(config: CostConfig) -> Counted:
    """Count parameters, floating-point operations and kept activations of the network on tasks of
    the given size, by running a step of one small task on two numbers of rows.

    All parts are linear or quadratic in the rows, so three counts fix the polynomial, which gives
    the figure for `rows` without the memory that `rows` would take.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from openpfn.batch import TaskBatch
    from openpfn.configs import preset
    from openpfn.models import PFN

    model = PFN(preset(config.preset)).train()
    flops, kept = [], []
    sizes = (64, 128, 256)
    for rows in sizes:
        x = torch.randn(1, rows, config.columns)
        batch = TaskBatch(x=x, y=(x[..., 0] > 0).float(), n_train=rows // 2)
        held: dict[int, int] = {}  # several operations may keep one storage

        def keep(tensor: Any, held: dict[int, int] = held) -> Any:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
            return tensor

        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.loss(batch).backward()
        flops.append(counter.get_total_flops())
        kept.append(sum(held.values()))
    return Counted(
        sum(parameter.numel() for parameter in model.parameters()),
        _at(sizes, flops, config.rows) / 1e9,
        _at(sizes, kept, config.rows) / 1e6,
    )


def predicted(config: CostConfig, counted: Counted) -> list[Predicted]:
    """Return the figures for each number of GPUs."""
    compute_ms = config.batch_size * counted.gflop / (config.tflops * config.utilisation)
    alone = 1e3 * config.batch_size / compute_ms
    found = []
    for gpus in config.gpus:
        sync_ms = _sync_ms(config, counted.n_parameters, gpus)
        step_ms = compute_ms + sync_ms
        speed = 1e3 * gpus * config.batch_size / step_ms
        hours = config.tasks / speed / 3600
        found.append(
            Predicted(
                gpus,
                step_ms,
                sync_ms,
                speed,
                speed / gpus / alone,
                (
                    config.batch_size * counted.activation_mb / 1e3 / 2  # in bfloat16
                    + counted.n_parameters * BYTES_OF_STATE / 1e9
                ),
                math.ceil(speed / config.draws_per_core),
                hours,
                hours * gpus * config.dollars,
            )
        )
    return found


def lines(config: CostConfig, counted: Counted, rows: Sequence[Predicted]) -> Iterator[str]:
    """The page's lines in Markdown."""
    yield (
        f"`{config.preset}` has {counted.n_parameters:,} parameters. A task of {config.rows:,} rows"
        f" × {config.columns} columns takes {counted.gflop:,.1f} GFLOP forward and backward and"
        f" keeps {counted.activation_mb:,.0f} MB of activations in float32."
    )
    yield ""
    yield (
        "| GPUs | step | of it averaging | tasks/s | efficiency | memory a GPU | cores that draw |"
        f" hours for {config.tasks:,.0f} tasks | cost |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        yield (
            f"| {row.gpus} | {row.step_ms:.1f} ms | {row.sync_ms:.2f} ms |"
            f" {row.tasks_per_second:,.0f} | {row.efficiency:.1%} | {row.gigabytes:.1f} GB |"
            f" {row.cores:,} | {row.hours:.2f} | ${row.dollars:,.2f} |"
        )


def _sync_ms(config: CostConfig, n_parameters: int, gpus: int) -> float:
    """Return the time of one ring all-reduce of float32 gradients: each GPU sends and receives
    2 (W − 1) / W of them, in 2 (W − 1) messages, over the slowest link on the way."""
    if gpus == 1:
        return 0.0
    is_local = gpus <= config.gpus_per_machine
    gbyte = config.local_gbyte if is_local else config.link_gbit / 8
    volume = 2 * (gpus - 1) / gpus * n_parameters * 4 / 1e9
    return 1e3 * volume / gbyte + 2 * (gpus - 1) * config.latency_us / 1e3


def _at(sizes: Sequence[int], values: Sequence[float], wanted: int) -> float:
    """Return at `wanted` the polynomial of degree 2 through three points (Lagrange)."""
    total = 0.0
    for i, size in enumerate(sizes):
        others = [other for j, other in enumerate(sizes) if j != i]
        weight = math.prod((wanted - other) / (size - other) for other in others)
        total += weight * values[i]
    return total
