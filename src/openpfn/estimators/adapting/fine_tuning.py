"""`fine_tune`: a few steps on folds of a table's own rows, taken up where held-out rows say so."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from openpfn.configs.fine_tuning import FineTuneOptions
from openpfn.estimators.adapting.difference import WeightDifference
from openpfn.estimators.adapting.fold_training import Fold, FoldTraining
from openpfn.estimators.network import Network, with_difference
from openpfn.estimators.views.ensemble import Member

FEWEST_ROWS = 30
"""With fewer rows the network stays as it is: their held-out losses could not tell whether
fine-tuning helped."""


@dataclass(frozen=True)
class FineTuning:
    """How fine-tuning went."""

    n_steps: int
    """Steps whose weights were taken up; 0 for none."""
    losses: Mapping[int, float]
    """Mean loss of the held-out rows after so many steps: log-loss, or CRPS in standard deviations
    of the target."""
    errors: Mapping[int, float]
    """Standard error of the difference to the loss after 0 steps, over rows."""
    ended: str
    """Why no further steps were taken: "n_steps", "patience", "time_limit", "few rows", or
    "diverged"."""

    @property
    def gain(self) -> float:
        """By how much the held-out loss fell."""
        return self.losses[0] - self.losses[self.n_steps] if self.losses else 0.0

    def __str__(self) -> str:
        if not self.losses:
            return "no fine-tuning: too few rows"
        before, best = self.losses[0], min(self.losses.values())
        if not self.n_steps:
            return (
                "fine-tuning left the network as it is: held-out loss"
                f" {before:.4f}, at best {best:.4f} after it"
            )
        return f"fine-tuned by {self.n_steps} steps: held-out loss {before:.4f} before, {best:.4f}"

    def record(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> FineTuning:
        """Return what `record` was made of."""
        losses, errors = (
            {int(step): float(value) for step, value in record[name].items()}
            for name in ("losses", "errors")
        )
        return cls(int(record["n_steps"]), losses, errors, str(record["ended"]))


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned network, and how it came about."""

    network: Network
    """The network to use: the one given where fine-tuning did not help."""
    answers: Float[np.ndarray, "n V"] | None
    """Answers to each row by a network that its fold did not train; None where there are none."""
    history: FineTuning
    """How it went."""


def fine_tune(
    judge: Any,
    network: Network,
    members: list[Member],
    judging: list[Member],
    folds: list[Fold],
    targets: np.ndarray,
    options: FineTuneOptions,
    seed: int,
) -> FineTuned:
    """Return `network` after some steps on each fold's context, its weights averaged over folds.

    `judge` is the estimator: its `make_context` shows rows to a network, its `row_losses` tells how
    wrong the answers of the members `judging` are. All folds take the same number of steps: the one
    of those evaluated whose networks answer the held-out rows best, and none unless that is better
    than the network as it is by `options.margin` standard errors of the rows' differences. Weights
    that lie so near each other answer, averaged, as the networks do on average (Wortsman et al.
    2022), at the cost of one.
    """
    if len(targets) < FEWEST_ROWS:
        warnings.warn(
            f"X has {len(targets)} rows, too few to tell whether fine-tuning helps: the network"
            f" stays as it is. Give at least {FEWEST_ROWS}, or fine_tune=False.",
            stacklevel=4,
        )
        return FineTuned(network, None, FineTuning(0, {}, {}, "few rows"))
    check_trainable(network)
    with torch.random.fork_rng(_cuda_devices(network)):
        torch.manual_seed(seed)
        trainings = [
            FoldTraining(network, members, fold, judge.make_context, options, seed + i)
            for i, fold in enumerate(folds)
        ]
        run = _Run(judge, network, judging, trainings, targets, options)
        with _progress(options) as advance:
            ended = run.train(advance)
    return run.outcome(ended)


def check_trainable(network: Network) -> None:
    """Raise ValueError for a network that has no weights or no loss."""
    model = network.model
    is_one = isinstance(model, nn.Module) and any(True for _ in model.parameters())
    if not (is_one and hasattr(model, "loss")):
        raise ValueError(
            f"{network} has no weights or no loss(batch), so it cannot be fine-tuned. Use a"
            " checkpoint, or fine_tune=False."
        )


class _Run:
    """One run of `fine_tune`."""

    def __init__(
        self,
        judge: Any,
        network: Network,
        judging: list[Member],
        trainings: list[FoldTraining],
        targets: np.ndarray,
        options: FineTuneOptions,
    ) -> None:
        self.began = time.monotonic()
        self.judge, self.network, self.judging = judge, network, judging
        self.trainings, self.targets, self.options = trainings, targets, options
        self.row_losses: dict[int, Float[np.ndarray, " n"]] = {}
        self.best: tuple[float, int, Any, WeightDifference | None] | None = None
        self.before: Any = None

    def train(self, advance: Callable[[int], None]) -> str:
        """Train all folds by turns, and return why it ended."""
        options, waited, step = self.options, 0, 0
        self.evaluate(0)
        while step < options.n_steps:
            n_steps = min(options.evaluate_every, options.n_steps - step)
            began = time.monotonic()
            for training in self.trainings:
                for _ in range(n_steps):
                    if self.is_late():
                        return "time_limit"
                    if not training.take_step():
                        return "diverged"
                    advance(1)
            step += n_steps
            waited = 0 if self.evaluate(step) else waited + 1
            if waited >= options.patience and step < options.n_steps:
                return "patience"
            if step < options.n_steps and self.is_late(time.monotonic() - began):
                return "time_limit"
        return "n_steps"

    def is_late(self, ahead: float = 0.0) -> bool:
        """Return whether the time is over in so many seconds."""
        limit = self.options.time_limit
        return limit is not None and time.monotonic() + ahead - self.began > limit

    def evaluate(self, step: int) -> bool:
        """Measure the folds' networks, and return whether they are better than before."""
        parts = [training.answer(self.judging) for training in self.trainings]
        answers = np.empty((len(self.targets), parts[0][0].shape[1]))
        for training, (some, _) in zip(self.trainings, parts, strict=True):
            answers[training.fold.held_out] = some
        self.row_losses[step] = losses = self.judge.row_losses(answers, self.targets)
        loss = float(losses.mean())
        if step == 0:
            self.before = answers
        if not math.isfinite(loss) or (self.best is not None and loss >= self.best[0]):
            return False
        difference = None
        if step:
            base = self.network.model.state_dict()
            difference = WeightDifference.between(base, [weights for _, weights in parts])
        self.best = loss, step, answers, difference
        return True

    def outcome(self, ended: str) -> FineTuned:
        """Take up the best weights if they are better beyond chance."""
        base = self.row_losses[0]
        losses = {step: float(rows.mean()) for step, rows in self.row_losses.items()}
        errors = {
            step: float((rows - base).std() / math.sqrt(len(base)))
            for step, rows in self.row_losses.items()
        }
        loss, step, answers, difference = self.best or (losses[0], 0, None, None)
        if difference is None or not losses[0] - loss > self.options.margin * errors[step]:
            return FineTuned(self.network, self.before, FineTuning(0, losses, errors, ended))
        network = with_difference(self.network, difference)
        return FineTuned(network, answers, FineTuning(step, losses, errors, ended))


@contextmanager
def _progress(options: FineTuneOptions) -> Iterator[Callable[[int], None]]:
    """Yield a function that moves the progress bar on by steps, if there is one."""
    if not options.progress:
        yield lambda n_steps: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("fine-tuning", total=options.n_steps * options.n_folds)
        yield lambda n_steps: bar.advance(task, n_steps)


def _cuda_devices(network: Network) -> list[torch.device]:
    return [network.device] if network.device.type == "cuda" else []
