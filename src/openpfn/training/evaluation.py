"""`Evaluation`: how good a network is on tasks that stay the same throughout a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch

from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.priors_io.stream import TaskStream

EVALUATION_START = 2**40
"""Index of the first evaluation batch in a prior's stream, far beyond any training batch."""


class Evaluation:
    """Mean loss and accuracy on `eval_batches` fixed batches.

    The batches come from `source`, or, if that is None, from `prior`, in a part of its stream that training never
    reaches. Raises ValueError if there is neither.
    """

    def __init__(self, source: Iterable[TaskBatch] | None, prior: Any, config: TrainingConfig) -> None:
        if source is None and config.eval_every is not None and not is_prior(prior):
            raise ValueError(
                f"eval_every is {config.eval_every}, but the tasks come from a {type(prior).__name__}, which has no tasks to spare "
                "for evaluations. Give eval_data_generator, or set eval_every=None."
            )
        self.source, self.prior, self.config = source, prior, config
        self.batches: list[TaskBatch] | None = None

    @torch.no_grad()
    def __call__(self, model: Any, device: torch.device) -> dict[str, float]:
        """`eval_loss` in nats and `eval_accuracy` (NaN where the model's answers are no classes); each batch counts the same."""
        results = [evaluate_batch(model, batch.to(device)) for batch in self.draw()]
        losses, accuracies = zip(*results, strict=True)
        return {"eval_loss": sum(losses) / len(losses), "eval_accuracy": sum(accuracies) / len(accuracies)}

    def draw(self) -> list[TaskBatch]:
        """The fixed batches; drawn by the first call, which should not stand under autocast."""
        if self.batches is None:
            self.batches = list(islice(self._all_batches(), self.config.eval_batches))
            if not self.batches:
                raise ValueError("eval_data_generator gave no batch. Give one that does, or leave it out to evaluate on the prior.")
        return self.batches

    def _all_batches(self) -> Iterable[TaskBatch]:
        if self.source is not None:
            return self.source
        return TaskStream(self.prior, self.config.batch_size, seed=self.config.seed, n_workers=0, start=EVALUATION_START)


def evaluate_batch(model: Any, batch: TaskBatch) -> tuple[float, float]:
    """Loss and accuracy on one batch."""
    loss = float(model.loss(batch))
    probabilities = getattr(model.predictive(batch), "probs", None) if hasattr(model, "predictive") else None
    if probabilities is None:
        return loss, math.nan
    return loss, float((probabilities.argmax(-1) == batch.y_query).float().mean())


def is_prior(source: Any) -> bool:
    """Whether tasks are drawn from `source` with `.sample`, rather than by iterating over it."""
    return hasattr(source, "sample")
