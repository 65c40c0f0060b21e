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
    """Why no further steps were taken: "n_steps", "patience", "time_limit", "diverged" or "few
    rows"."""

    @property
    def gain(self) -> float:
        """By how much the held-out loss fell."""
        return self.losses[0] - self.losses[self.n_steps] if self.losses else 0.0

    def __str__(self) -> str:
        if not self.losses:
            return f"no fine-tuning: {self.ended}"
        before, after = self.losses[0], self.losses[self.n_steps]
        if not self.n_steps:
            best = min(self.losses.values())
            return (
                "fine-tuning left the network as it is: held-out loss"
                f" {before:.4f}, at best {best:.4f} with it"
            )
        return (
            f"fine-tuned by {self.n_steps} steps: held-out loss {before:.4f} before,"
            f" {after:.4f} after"
        )

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
    folds: list[Fold],
    targets: np.ndarray,
    options: FineTuneOptions,
    seed: int,
) -> FineTuned:
    """Return `network` after some steps on each fold's context, its weights averaged over folds.

    `judge` is the estimator: its `make_context` shows rows to a network, its `row_losses` tells how
    wrong answers are. All folds take the same number of steps: of
    those evaluated, the one that lowers the loss of held-out rows most, less `options.margin`
    standard errors of the rows' differences; none unless that is more than nothing. Weights that
    lie so near each other answer, averaged, as the networks do on average (Wortsman et al. 2022),
    at the cost of one.
    """
    check_trainable(network)
    if len(targets) < FEWEST_ROWS:
        warnings.warn(
            f"no fine-tuning: X has {len(targets)} rows, at least {FEWEST_ROWS} are needed to tell"
            " whether it helps. The network stays as it is.",
            stacklevel=6,
        )
        return FineTuned(network, None, FineTuning(0, {}, {}, "few rows"))
    with torch.random.fork_rng(_cuda_devices(network)):
        torch.manual_seed(seed)
        trainings = [
            FoldTraining(network, fold, judge.make_context, options, seed + i)
            for i, fold in enumerate(folds)
        ]
        run = _Run(judge, network, trainings, targets, options)
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
        trainings: list[FoldTraining],
        targets: np.ndarray,
        options: FineTuneOptions,
    ) -> None:
        self.began = time.monotonic()
        self.judge, self.network, self.trainings = judge, network, trainings
        self.targets, self.options = targets, options
        self.losses: dict[int, float] = {}
        self.errors: dict[int, float] = {}
        self.row_losses: Any = None
        self.before: Any = None
        self.sure_gain = 0.0
        self.best: tuple[int, np.ndarray, WeightDifference] | None = None

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
        parts = [training.answer() for training in self.trainings]
        answers = np.empty((len(self.targets), parts[0][0].shape[1]))
        for training, (some, _) in zip(self.trainings, parts, strict=True):
            answers[training.fold.held_out] = some
        losses = self.judge.row_losses(answers, self.targets)
        self.losses[step] = loss = float(losses.mean())
        if step == 0:
            self.before, self.row_losses, self.errors[0] = answers, losses, 0.0
            return True
        change = losses - self.row_losses
        self.errors[step] = error = float(change.std() / math.sqrt(len(change)))
        sure_gain = -float(change.mean()) - self.options.margin * error
        if sure_gain > self.sure_gain:
            base = self.network.model.state_dict()
            difference = WeightDifference.between(base, [weights for _, weights in parts])
            self.sure_gain, self.best = sure_gain, (step, answers, difference)
        return loss < min(value for other, value in self.losses.items() if other < step)

    def outcome(self, ended: str) -> FineTuned:
        """Take up the best weights if any are better beyond chance."""
        if self.best is None:
            history = FineTuning(0, self.losses, self.errors, ended)
            return FineTuned(self.network, self.before, history)
        step, answers, difference = self.best
        network = with_difference(self.network, difference)
        return FineTuned(network, answers, FineTuning(step, self.losses, self.errors, ended))


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
