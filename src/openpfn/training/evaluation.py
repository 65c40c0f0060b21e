"""`Evaluation`: how good a network is on tasks that stay the same throughout a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.priors_io.stream import TaskStream

EVALUATION_START = 2**40
"""Index of the first evaluation batch in a prior's stream, far beyond any training batch."""


class Evaluation:
    """Mean loss, accuracy and area under the ROC curve on `eval_batches` fixed batches.

    The batches come from `source`, or, if that is None, from `prior.for_evaluation()`, in a part of its stream that
    training never reaches. Raises ValueError if there is neither.
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
        """`eval_loss` in nats, `eval_accuracy` and `eval_auc`, the area under the ROC curve of each class against the rest.

        Each batch counts the same in the first two, each task in the last. NaN where the model's answers are no classes.
        """
        results = [evaluate_batch(model, batch.to(device)) for batch in self.draw()]
        losses, accuracies, areas = zip(*results, strict=True)
        means = {"eval_loss": sum(losses) / len(losses), "eval_accuracy": sum(accuracies) / len(accuracies)}
        return means | {"eval_auc": float(torch.cat(areas).nanmean())}

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
        prior = self.prior.for_evaluation() if hasattr(self.prior, "for_evaluation") else self.prior
        return TaskStream(prior, self.config.batch_size, seed=self.config.seed, n_workers=0, start=EVALUATION_START)


def evaluate_batch(model: Any, batch: TaskBatch) -> tuple[float, float, Float[Tensor, " B"]]:
    """Loss, accuracy, and the area under the ROC curve of each task on one batch."""
    loss = float(model.loss(batch))
    probabilities = getattr(model.predictive(batch), "probs", None) if hasattr(model, "predictive") else None
    if probabilities is None:
        return loss, math.nan, torch.full((1,), math.nan)
    accuracy = float((probabilities.argmax(-1) == batch.y_query).float().mean())
    return loss, accuracy, areas_under_roc(probabilities.float(), batch.y_query).cpu()


def areas_under_roc(probabilities: Float[Tensor, "B Q K"], y: Float[Tensor, "B Q"]) -> Float[Tensor, " B"]:
    """Per task, the mean over classes of the area under the ROC curve of each against the rest; NaN if all rows have one class.

    The area is the share of (row of the class, other row) pairs that the probabilities order rightly, ties counting half:
    from the ranks of the rows, Mann and Whitney 1947. Classes that no row or every row has are left out.
    """
    scores = probabilities.transpose(1, 2).contiguous()                       # (B, K, Q)
    ordered = scores.sort(-1).values
    below = torch.searchsorted(ordered, scores, right=False)
    rank = (below + torch.searchsorted(ordered, scores, right=True) + 1) / 2  # from 1; ties share the mean of their ranks
    is_class = y.unsqueeze(1) == torch.arange(scores.shape[1], device=y.device).view(1, -1, 1)
    n_in = is_class.sum(-1)
    n_out = y.shape[1] - n_in
    area = ((rank * is_class).sum(-1) - n_in * (n_in + 1) / 2) / (n_in * n_out)    # 0 / 0 where a class is left out
    return area.nanmean(-1)


def is_prior(source: Any) -> bool:
    """Whether tasks are drawn from `source` with `.sample`, rather than by iterating over it."""
    return hasattr(source, "sample")
