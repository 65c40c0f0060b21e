"""`BoostedTrees`: gradient boosting whose answers to rows of left-out folds cost little more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from openpfn.tables.stacking.arrays import Arrays
from openpfn.tables.stacking.partings import partings
from openpfn.tables.stacking.questions import Questions, leaf_numbers

MOST_TREES = 300
MOST_QUESTIONS = 5
"""Questions of a tree, at most: each has a random number of them."""
N_CANDIDATES = 64
"""Random questions of which each tree asks the best."""
RATE = 0.1
RIDGE = 1.0
"""Rows of the mean that are added to each leaf."""
ROWS_SHARE = 0.8
"""Share of the rows that each tree is grown from, chosen at random (Friedman 2002)."""
PATIENCE = 30
"""Trees without a smaller error for left-out rows after which no more are grown."""
UNITS = 2047
"""Integers that the largest residual is rounded to, so that sums over 4,000 rows are exact in
single precision: trees are the same whatever order a processor adds in."""
BLOCK = 32
"""Trees that are read together."""


@dataclass(frozen=True)
class BoostedTrees(Arrays):
    """Squared-error boosting (Friedman 2001) of oblivious trees (Prokhorenkova et al. 2018): all
    rows of a tree are asked the same few questions, of which the targets choose each from random
    ones. M models, each grown without one fold of the rows, go through their trees side by side;
    other rows are told their mean.
    """

    base: Float[np.ndarray, "M T"]
    """Means of the targets."""
    column: Int[np.ndarray, "trees M S"]
    """Of which value of a row each question is."""
    threshold: Float[np.ndarray, "trees M S"]
    """Whether the value is above this; infinite beyond a tree's last question."""
    step: Float[np.ndarray, "trees M leaves T"]
    """What a row's leaf adds to its answer."""

    @classmethod
    def fit(
        cls,
        values: Float[np.ndarray, "n A"],
        weight: Float[np.ndarray, " A"],
        targets: Float[np.ndarray, "n T"],
    ) -> tuple[BoostedTrees, Float[np.ndarray, "n T"]]:
        """Return the models, and what those that were grown without a row say of it. A question
        about a column of `values` is as likely as its `weight` says. There are as many trees as
        are best for left-out rows."""
        random = np.random.default_rng(0)
        questions, growing = Questions(values, weight, random), _Growing(targets)
        trees = [growing.no_tree()]
        n_best, best = 0, growing.left_out()
        least = growing.error(best)
        while questions.part_rows and len(trees) <= min(MOST_TREES, n_best + PATIENCE):
            column, threshold = questions.draw(N_CANDIDATES)
            depth = int(random.integers(1, MOST_QUESTIONS + 1))
            sampled = random.random(len(values)) < ROWS_SHARE
            chosen, step = growing.add_tree(values[:, column] > threshold, depth, sampled)
            is_asked = np.arange(MOST_QUESTIONS) < depth
            trees.append((column[chosen], np.where(is_asked, threshold[chosen], np.inf), step))
            left_out = growing.left_out()
            error = growing.error(left_out)
            if error < least:
                n_best, best, least = len(trees) - 1, left_out, error
        parts = (np.stack(part) for part in zip(*trees[: n_best + 1], strict=True))
        return cls(growing.base, *(part[1:] for part in parts)), best

    def __call__(self, values: Float[np.ndarray, "N A"]) -> Float[np.ndarray, "N T"]:
        """Return what all models together say of rows."""
        total = np.tile(self.base.sum(axis=0), (len(values), 1))
        for i in range(0, len(self.step), BLOCK):
            leaf = leaf_numbers(values, self.column[i : i + BLOCK], self.threshold[i : i + BLOCK])
            step = self.step[i : i + BLOCK].reshape(-1, *self.step.shape[2:])
            leaf = leaf.reshape(len(values), len(step))  # of the trees of all models
            total += step[np.arange(len(step)), leaf].sum(axis=1, dtype=float)
        return total / len(self.base)


class _Growing:
    """M models that boost side by side, each without the rows of its own fold."""

    def __init__(self, targets: Float[np.ndarray, "n T"]) -> None:
        folds = [fold for parting in partings(targets) for fold in parting]
        self.targets = targets
        self.scale = np.maximum(targets.std(axis=0), 1e-12)
        self.is_out = np.zeros((len(folds), len(targets)), dtype=bool)
        for model, fold in enumerate(folds):
            self.is_out[model, fold] = True
        self.base = np.stack([targets[~out].mean(axis=0) for out in self.is_out])
        self.residual = targets - self.base[:, None]  # (M, n, T)

    def left_out(self) -> Float[np.ndarray, "n T"]:
        """Return what the models say of rows of their own folds, the mean over the partings."""
        residual = (self.residual * self.is_out[:, :, None]).sum(axis=0)
        return self.targets - residual / self.is_out.sum(axis=0)[:, None]

    def error(self, said: Float[np.ndarray, "n T"]) -> float:
        """Return the mean squared error of answers, in variances of the targets."""
        return float((((said - self.targets) / self.scale) ** 2).mean())

    def no_tree(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `trees` begin with, for its shapes."""
        n_models, n_targets = self.base.shape
        asked = n_models, MOST_QUESTIONS
        step = np.zeros((n_models, 1 << MOST_QUESTIONS, n_targets), dtype=np.float32)
        return np.zeros(asked, dtype=np.int64), np.full(asked, np.inf), step

    def add_tree(
        self, answers: Bool[np.ndarray, "n C"], depth: int, sampled: Bool[np.ndarray, " n"]
    ) -> tuple[Int[np.ndarray, "M S"], Float[np.ndarray, "M leaves T"]]:
        """Grow a tree of each model from the `sampled` rows that it sees. Return which of the C
        candidates were asked (0 where none was), and the steps of their leaves."""
        n_models, n_rows, n_targets = self.residual.shape
        seen = sampled & ~self.is_out
        residual = self.residual.transpose(0, 2, 1) * seen[:, None]
        unit = np.abs(residual).max(axis=(1, 2), keepdims=True, initial=1e-30) / UNITS
        # what is summed up in each leaf: the residuals of all targets, and the rows
        summed = np.empty((n_models, n_targets + 1, n_rows), dtype=np.float32)
        summed[:, :-1] = np.rint(residual / unit)
        summed[:, -1] = seen
        is_yes = answers.astype(np.float32)
        leaf = np.zeros((n_models, n_rows), dtype=np.int64)
        chosen = np.zeros((n_models, MOST_QUESTIONS), dtype=np.int64)
        for level in range(depth):
            in_leaf = leaf[:, None] == np.arange(1 << level)[:, None]
            parted = in_leaf[:, :, None] * summed[:, None]  # (M, leaves, T + 1, n)
            yes = (parted.reshape(-1, n_rows) @ is_yes).reshape(*parted.shape[:3], -1)
            no = parted.sum(axis=3)[..., None] - yes
            gain = _explained(yes) + _explained(no)
            chosen[:, level] = gain.sum(axis=1).argmax(axis=1)
            leaf |= answers[:, chosen[:, level]].T.astype(np.int64) << level
        step = self._steps(leaf, seen)
        self.residual -= step[np.arange(n_models)[:, None], leaf]
        return chosen, step

    def _steps(
        self, leaf: Int[np.ndarray, "M n"], seen: Bool[np.ndarray, "M n"]
    ) -> Float[np.ndarray, "M leaves T"]:
        n_models, _, n_targets = self.residual.shape
        n_leaves = 1 << MOST_QUESTIONS
        place = (leaf + n_leaves * np.arange(n_models)[:, None])[seen]
        rows = np.bincount(place, minlength=n_models * n_leaves) + RIDGE
        sums = [
            np.bincount(place, self.residual[seen, t], minlength=len(rows))
            for t in range(n_targets)
        ]
        step = RATE * np.stack(sums, axis=1) / rows[:, None]
        return step.reshape(n_models, n_leaves, n_targets).astype(np.float32)


def _explained(sums: Float[np.ndarray, "M leaves T1 C"]) -> Float[np.ndarray, "M leaves C"]:
    """Return by how much squared errors shrink, of the residuals' sums and the number of rows."""
    return np.square(sums[:, :, :-1], dtype=float).sum(axis=2) / (sums[:, :, -1] + RIDGE)
