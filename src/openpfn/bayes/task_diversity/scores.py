"""How near a network is to memorising and to generalising."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.task_diversity.experiment import Experiment

SEQUENCES_AT_ONCE = 256


@torch.no_grad()
def scores(
    model: Any, experiment: Experiment, n_tasks: int, seed: int = 0, n_rows: int | None = None
) -> dict[str, Float[Tensor, " N"]]:
    """Return squared errors and distances by the number of rows seen, divided by the number of
    columns.

    "mse_old" and "mse_new" are the network's mean squared errors on sequences of the pool's tasks
    and of new ones; "mse_old_dmmse", "mse_old_ridge" and so on those of the two Bayes answers;
    "old_to_dmmse", "old_to_ridge", "new_to_dmmse" and "new_to_ridge" the mean squared distances of
    the network's predictions from theirs (Raventós et al. 2023, eqs. 2 to 4).
    """
    total: dict[str, Tensor] = {}
    for old in (True, False):
        kind = "old" if old else "new"
        batch = experiment.batch(n_tasks, seed, old=old, n_rows=n_rows)
        for start in range(0, n_tasks, SEQUENCES_AT_ONCE):
            part = batch.tasks(slice(start, start + SEQUENCES_AT_ONCE))
            device = next(model.parameters()).device
            predicted = model.prefixes(part.to(device)).mean.double().cpu()
            answers = {
                "dmmse": experiment.memorising.prefixes(part.x, part.y).mean,
                "ridge": experiment.generalising.prefixes(part.x, part.y).mean,
            }
            found = {f"mse_{kind}": (predicted - part.y).square()}
            for name, answer in answers.items():
                found[f"mse_{kind}_{name}"] = (answer - part.y).square()
                found[f"{kind}_to_{name}"] = (predicted - answer).square()
            for name, values in found.items():
                share = values.sum(0) / (n_tasks * experiment.task_size)
                total[name] = total.get(name, torch.zeros(()).double()) + share
    return total


def row_of(result: dict[str, Any]) -> dict[str, Any]:
    """A result as one row of the table."""
    row = {name: value for name, value in result.items() if name != "by_row"}
    for name, values in result["by_row"].items():
        row[name] = sum(values) / len(values)
    for name, values in result["by_row"].items():
        row |= {f"{name}_{i}": value for i, value in enumerate(values)}
    return row
