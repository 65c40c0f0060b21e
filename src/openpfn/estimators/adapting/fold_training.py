"""`FoldTraining`: a copy of the network that learns from all rows but those of one fold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs.fine_tuning import FineTuneOptions
from openpfn.configs.training import TrainingConfig
from openpfn.estimators.network import Network
from openpfn.estimators.views.ensemble import Member, View
from openpfn.training.optimizers import Optimizers

QUERY_SHARES = (0.3, 0.6)
"""Share of a step's rows that are its query, drawn anew for each step."""
LEAST_ROWS = 64
"""Rows of a step, where there are so many, however wide the table."""
WEIGHT_DECAY = 1e-5
AVERAGE_DECAY = 0.8
"""Decay of the average of the weights that answers and is kept: few noisy steps leave much noise in
the weights themselves."""
LARGEST_GRADIENT = 1.0
"""Norm at which a gradient is cut off."""


@dataclass(frozen=True)
class Fold:
    """Rows of one fold as the network reads them, and those of the others."""

    rows: Float[np.ndarray, "n S"]
    """Rows of the other folds, which are the context."""
    targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"]
    """Their targets."""
    categorical: Bool[np.ndarray, " S"]
    """Columns of codes."""
    held_out: Bool[np.ndarray, " N"]
    """Which rows of the table the fold holds out."""
    query: Float[np.ndarray, "q S"]
    """The rows that it holds out."""


class FoldTraining:
    """A copy of a network in training on one fold's context.

    Each step draws some rows, one view of them as the ensemble has it with an order of columns and
    a shift of classes of its own, and raises the probability of the targets of a part of the rows
    given the others.
    """

    def __init__(
        self,
        network: Network,
        members: list[Member],
        fold: Fold,
        make_context: Callable[..., Any],
        options: FineTuneOptions,
        seed: int,
    ) -> None:
        self.fold, self.members, self.options = fold, members, options
        self.make_context = make_context
        self.model: Any = copy.deepcopy(network.model).requires_grad_(True)
        self.network = replace(network, model=self.model, source=None, fingerprint=None)
        self.optimizers = Optimizers(
            self.model,
            TrainingConfig(
                learning_rate=options.learning_rate,
                weight_decay=WEIGHT_DECAY,
                average_decay=AVERAGE_DECAY,
            ),
        )
        self.random = np.random.default_rng(seed)
        self.step = 0

    def take_step(self) -> bool:
        """Learn from one task; False, and no step, where its loss or gradient is not finite."""
        self.model.train()
        self.optimizers.zero_grad()
        loss = self.model.loss(self.draw())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.optimizers.parameters, LARGEST_GRADIENT)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            return False
        self.optimizers.step(min(1.0, (self.step + 1) / max(1, self.options.warmup_steps)))
        self.step += 1
        return True

    def draw(self) -> TaskBatch:
        """Return a task of the fold's context rows."""
        context, query = self.split()
        member = self.member(self.step)
        known = self.fold.targets[context]
        view = View.fit(member, self.fold.rows[context], self.fold.categorical, known)
        task = self.make_context(
            self.network, [member], self.fold.rows[context], known, self.fold.categorical
        )
        rows = np.concatenate([context, query])
        shown = task.shown(view, self.fold.targets[rows])
        device = self.network.device
        x = view(self.fold.rows[rows])[None]
        return task.batch(x, shown[None], [view], len(context), device.type).to(device)

    def split(self) -> tuple[Int[np.ndarray, " c"], Int[np.ndarray, " q"]]:
        """Return the rows of a step's context and of its query, whose classes the context has."""
        at_once = self.options.cells_per_step // (self.fold.rows.shape[1] + 1)
        n_rows = min(len(self.fold.rows), max(at_once, LEAST_ROWS))
        chosen = self.random.permutation(len(self.fold.rows))[:n_rows]
        n_query = int(n_rows * self.random.uniform(*QUERY_SHARES))
        n_query = min(max(n_query, 1), n_rows - 1)
        query, context = chosen[:n_query], chosen[n_query:]
        if self.fold.targets.dtype.kind != "f":
            unseen = ~np.isin(self.fold.targets[query], self.fold.targets[context])
            if unseen.all():
                unseen[-1] = False
            context, query = np.concatenate([context, query[unseen]]), query[~unseen]
        return context, query

    def member(self, step: int) -> Member:
        """Return the ensemble's next member with another order of columns and shift of classes."""
        member = self.members[step % len(self.members)]
        other = self.members[self.random.integers(len(self.members))]
        return replace(member, shift=other.shift, seed=int(self.random.integers(2**31)))

    def answer(self, judging: list[Member]) -> tuple[Float[np.ndarray, "q V"], dict[str, Tensor]]:
        """Return what the averaged weights answer to the held-out rows, and these weights."""
        fold = self.fold
        with self.optimizers.exported() if self.step else nullcontext():
            context = self.make_context(
                self.network, judging, fold.rows, fold.targets, fold.categorical
            )
            answers = context.mean_answers(fold.query)
            weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        return answers, weights
