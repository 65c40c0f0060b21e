"""`Evaluation`: how good a network is on tasks that stay the same throughout a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.data.stream import TaskStream
from openpfn.heads.base import Rescaled
from openpfn.heads.categorical import Categorical
from openpfn.training.sources import is_prior, task_source

EVALUATION_START = 2**40
"""Index of the first evaluation batch in a prior's stream, far beyond any training batch."""


class Evaluation:
    """Figures of a network on fixed batches: all those of a `source` that has a length, such as a
    loader or a list, and `eval_batches` of any other.

    The batches come from `source` (a prior, an object that generates sequences, or an iterable of
    batches), or, if that is None, from `prior.for_evaluation()`, in a part of its stream that
    training never reaches. Of a `PriorDumpDataLoader` they are the last of its first epoch, with a
    warning where training comes to them too. Raises ValueError if there is neither.
    """

    def __init__(self, source: Any, prior: Any, config: TrainingConfig) -> None:
        self.every = config.eval_every
        if self.every is None and source is not None:
            self.every = config.log_every
        if source is None and self.every is not None and hasattr(prior, "batches_per_epoch"):
            source = _kept_apart(prior, config)
        if source is None and self.every is not None and not is_prior(prior):
            raise ValueError(
                f"eval_every is {config.eval_every}, but the tasks come from a"
                f" {type(prior).__name__}, which has no tasks to spare for evaluations. Give"
                " eval_data_generator, or set eval_every=None."
            )
        self.source, self.prior, self.config = source, prior, config
        self.batches: list[TaskBatch] | None = None

    @torch.no_grad()
    def __call__(self, model: Any, device: torch.device) -> dict[str, float]:
        """`eval_loss` (nats, or squared error of a point), `eval_accuracy`, `eval_auc` and
        `eval_mse`: see `figures`.

        Each batch counts the same, each task in the area under the curve. A figure is the mean over
        the batches where it has a meaning, which are classification or regression; NaN if there
        are none.
        """
        measured = [
            figures(model, batch.to(device), self.config.log_distributional_mse)
            for batch in self.draw()
        ]
        loss = sum(one["loss"] for one in measured) / len(measured)
        means = {"eval_loss": loss} | {
            f"eval_{name}": _mean_of_known([one[name] for one in measured])
            for name in ("accuracy", "mse")
        }
        return means | {"eval_auc": float(torch.cat([one["auc"] for one in measured]).nanmean())}

    def draw(self) -> list[TaskBatch]:
        """Return the fixed batches; drawn by the first call, which should not stand under
        autocast."""
        if self.batches is None:
            batches = self._all_batches()
            most = self.config.eval_batches if _length(batches) is None else None
            self.batches = list(islice(batches, most))
            if not self.batches:
                raise ValueError(
                    "eval_data_generator gave no batch. Give one that does, or leave it out to"
                    " evaluate on the prior."
                )
        return self.batches

    def _all_batches(self) -> Iterable[TaskBatch]:
        source = self.source
        if source is None:
            source = (
                self.prior.for_evaluation() if hasattr(self.prior, "for_evaluation") else self.prior
            )
        source = task_source(source, self.config.seq_len)
        if not is_prior(source):
            return source
        return TaskStream(
            source,
            self.config.batch_size,
            seed=self.config.seed,
            n_workers=0,
            start=EVALUATION_START,
        )


def _kept_apart(loader: Any, config: TrainingConfig) -> Any:
    """Return the batches of a dump that are evaluated where nothing else is given."""
    evaluated = loader.for_evaluation(config.eval_batches)
    n_seen = loader.position + config.num_steps * config.accumulation
    if n_seen > evaluated.first_position:
        warnings.warn(
            f"the evaluations use {len(evaluated)} of the {loader.batches_per_epoch} batches in"
            f" {loader.path}, which the training of {config.num_steps} steps reads too. Give tasks"
            " that it never sees as eval_data_generator.",
            stacklevel=4,
        )
    return evaluated


def _mean_of_known(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _length(source: Any) -> int | None:
    """Return how many batches an iterable gives; None where it does not know, or is endless."""
    try:
        return len(source)
    except TypeError:
        return None


def figures(model: Any, batch: TaskBatch, distributional_mse: bool = True) -> dict[str, Any]:
    """`loss`, `accuracy`, `mse` and, per task, `auc` of a network on one batch.

    Accuracy, and with inputs the area under the ROC curve of each class against the rest, where it
    answers with classes; the squared error of a point, or, if `distributional_mse`, of the mean of
    a distribution over numbers: of a table's, in the context's standard deviations, as tables have
    units of their own. NaN where there is none.
    """
    found: dict[str, Any] = {
        "loss": float(model.loss(batch)),
        "accuracy": math.nan,
        "mse": math.nan,
        "auc": torch.full((1,), math.nan),
    }
    if getattr(getattr(model, "config", None), "prediction_type", None) == "point":
        return found | {"mse": found["loss"]}
    if not hasattr(model, "predictive"):
        return found
    answer, y = model.predictive(batch), batch.y_query
    if isinstance(answer, Categorical):
        probabilities = answer.probs
        found["accuracy"] = float((probabilities.argmax(-1) == y).float().mean())
        return (
            found
            if batch.x is None
            else found | {"auc": areas_under_roc(probabilities.float(), y).cpu()}
        )
    if not distributional_mse:
        return found
    error = answer.mean - y
    if isinstance(answer, Rescaled):
        error = error / answer.scale
    return found | {"mse": float(error.square().mean())}


def areas_under_roc(
    probabilities: Float[Tensor, "B Q K"], y: Float[Tensor, "B Q"]
) -> Float[Tensor, " B"]:
    """Return per task, the mean over classes of the area under the ROC curve of each against the
    rest; NaN if all rows have one class.

    The area is the share of (row of the class, other row) pairs that the probabilities order
    rightly, ties counting half: from the ranks of the rows, Mann and Whitney 1947. Classes that no
    row or every row has are left out.
    """
    scores = probabilities.transpose(1, 2).contiguous()  # (B, K, Q)
    ordered = scores.sort(-1).values
    below = torch.searchsorted(ordered, scores, right=False)
    rank = (
        below + torch.searchsorted(ordered, scores, right=True) + 1
    ) / 2  # from 1; ties share the mean of their ranks
    is_class = y.unsqueeze(1) == torch.arange(scores.shape[1], device=y.device).view(1, -1, 1)
    n_in = is_class.sum(-1)
    n_out = y.shape[1] - n_in
    area = ((rank * is_class).sum(-1) - n_in * (n_in + 1) / 2) / (
        n_in * n_out
    )  # 0 / 0 where a class is left out
    return area.nanmean(-1)
