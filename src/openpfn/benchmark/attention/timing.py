"""Costs of a mechanism: a training step, fitting a context of n rows, reading query rows;
mechanisms take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.benchmark.attention.tasks import TaskSource
from openpfn.device import pick_device
from openpfn.estimators.network import nested_bytes
from openpfn.models import PFN
from openpfn.training.optimizers import Optimizers
from openpfn.training.process import keep_freed_memory

ROUNDS = 5
STEPS_PER_ROUND = 4
LONG_ENOUGH = 10.0
"""Seconds after which a mechanism is not timed again at one number of rows."""


def step_seconds(
    config: AttentionConfig, batches: Sequence[TaskBatch]
) -> Iterator[tuple[str, float]]:
    """(mechanism, seconds of one training step), a value per round. The first of the batches warms
    up."""
    device = pick_device(config.device)
    keep_freed_memory()
    batches = [batch.to(device) for batch in batches]
    steps = {name: training_step(config, name, device) for name in config.mechanisms}
    for step in steps.values():
        step(batches[0])
    for turn in range(ROUNDS):
        chosen = [
            batches[1 + (turn * STEPS_PER_ROUND + i) % (len(batches) - 1)]
            for i in range(STEPS_PER_ROUND)
        ]
        for name, step in steps.items():
            yield (
                name,
                sum(seconds_of(partial(step, batch), device)[0] for batch in chosen) / len(chosen),
            )


def training_step(
    config: AttentionConfig, name: str, device: torch.device
) -> Callable[[TaskBatch], None]:
    """One optimizer step of a fresh network with the mechanism `name`."""
    model = network(config, name).to(device).train()
    optimizers = Optimizers(model, config.training(0))

    def step(batch: TaskBatch) -> None:
        model.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(optimizers.parameters, 1.0)
        optimizers.step(1.0)
        optimizers.zero_grad()

    return step


@torch.no_grad()
def inference_costs(config: AttentionConfig) -> Iterator[dict[str, Any]]:
    """Per mechanism and number of context rows: seconds of the fit and of reading `query_rows`, and
    the bytes kept between them.

    The seconds of one round are a row; where rounds take long there are fewer of them.
    """
    device = pick_device(config.device)
    models = {name: network(config, name).to(device).eval() for name in config.mechanisms}
    n_columns = TaskSource(config).max_features
    for n_rows in sorted(config.inference_rows):
        context, queries = table_of(n_rows, n_columns, config.query_rows)
        context, queries = context.to(device), queries.to(device)
        spent = dict.fromkeys(models, 0.0)
        for turn in range(ROUNDS + 1):  # the first warms up, and counts only where no other follows
            for name, model in models.items():
                if turn and spent[name] > LONG_ENOUGH:
                    continue
                fit, state = seconds_of(partial(model.summarize, context), device)
                read, _ = seconds_of(partial(model.read, queries, state), device)
                spent[name] += fit + read
                if turn or spent[name] > LONG_ENOUGH:
                    yield {
                        "mechanism": name,
                        "n_context": n_rows,
                        "fit": fit,
                        "read": read,
                        "state_bytes": nested_bytes(state.layers),
                    }


def table_of(n_rows: int, n_columns: int, n_query: int) -> tuple[TaskBatch, Float[Tensor, "1 Q D"]]:
    """A context of `n_rows` random rows, and query rows."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, n_rows + n_query, n_columns, generator=generator)
    y = (x[:, :n_rows, 0] > 0).float()
    return TaskBatch(x=x[:, :n_rows], y=y, n_train=n_rows, n_classes=torch.tensor([2])), x[
        :, n_rows:
    ]


def network(config: AttentionConfig, name: str) -> Any:
    """A fresh network with the mechanism `name`."""
    torch.manual_seed(0)
    return PFN(replace(config.network, attention_type=name))


def seconds_of(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    """Wall time of `call`, the device's work included, and its value."""
    began = time.perf_counter()
    value = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began, value
