"""Two-way table networks as believers: the context is read anew for each row, or frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.bayes.believers.base import Believer, Choose, as_numbers
from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical
from openpfn.models.inputs import check_classes, check_numbers
from openpfn.models.modes import in_evaluation
from openpfn.models.tabular.growing import GrowingContext
from openpfn.models.tabular.network import TabularPFN

MEASURED_ROLLOUTS = 16
"""Rollouts whose last prediction is also made exactly, to tell the error of frozen ones."""
LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Levels of the quantiles where the exact and the frozen distribution of a number are compared."""


@dataclass(frozen=True)
class View:
    """How one member of an ensemble sees rows and targets."""

    columns: Callable[[Float[Tensor, "S N D"]], Float[Tensor, "S N V"]]
    """From rows of the table to what the network reads."""
    classes: Int[Tensor, " C"] | None = None
    """The class that the network is shown for each of the table's; None for the same."""
    targets: Callable[[Float[Tensor, "S n"]], Float[Tensor, "S n"]] | None = None
    """From numbers of the table to those that the network is shown; None for the same."""
    categorical: Bool[Tensor, " V"] | None = None
    """Columns that hold category codes."""


class TableBeliever(Believer):
    """A network that reads a context and predicts query rows: a `TabularPFN`, or any with
    `predictive(batch)`.

    `views` is the ensemble whose log-probabilities of classes are averaged; of numbers the first
    view answers. With `refit` "each" every rollout
    shows the network all of its rows anew for each next one: exact. With "frozen" the given rows
    keep the state they had, and new ones are appended to it: many times faster, and approximate.
    """

    least_rows: ClassVar[int] = 1

    def __init__(
        self,
        model: Any,
        n_classes: int | None,
        refit: str = "each",
        views: tuple[View, ...] = (View(lambda x: x),),
        temperature: float = 1.0,
    ) -> None:
        self.model, self.n_classes, self.refit, self.views = model, n_classes, refit, views
        self.temperature = temperature
        if refit == "frozen":
            if not isinstance(model, TabularPFN):
                raise ValueError(
                    f"refit is 'frozen', but the network is a {type(model).__name__}: only a"
                    " TabularPFN keeps the state of its context. Use refit='each'."
                )
            self.approximation = "frozen context: earlier rows do not read appended ones"

    @property
    def device(self) -> torch.device:
        parameters = self.model.parameters() if hasattr(self.model, "parameters") else ()
        return next((p.device for p in parameters), torch.device("cpu"))

    def ask(self, x: Tensor | None, y: Tensor, x_query: Tensor | None) -> Predictive:
        assert x is not None
        assert x_query is not None
        with in_evaluation(self.model), torch.no_grad():
            rows = torch.cat([x, x_query], dim=1)
            return self._averaged([self._read(view, view.columns(rows), y) for view in self.views])

    def roll(
        self,
        x: Float[Tensor, "S N D"] | None,
        y: Float[Tensor, "S P"],
        n_new: int,
        choose: Choose,
    ) -> Float[Tensor, "S N"]:
        assert x is not None
        with in_evaluation(self.model), torch.no_grad():
            shown = [view.columns(x).to(self.device, torch.float32) for view in self.views]
            y = y.to(self.device)
            if self.refit == "frozen":
                return self._roll_frozen(shown, y, n_new, choose)
            for step in range(n_new):
                n = y.shape[1]
                answers = [
                    self._read(view, rows[:, : n + 1], y)
                    for view, rows in zip(self.views, shown, strict=True)
                ]
                chosen = choose(step, self._averaged(answers))
                y = torch.cat([y, chosen.to(y).view(-1, 1)], dim=1)
        return y

    def _roll_frozen(
        self, shown: list[Tensor], y: Float[Tensor, "S P"], n_new: int, choose: Choose
    ) -> Float[Tensor, "S N"]:
        n = y.shape[1]
        contexts = [
            GrowingContext(self.model, self._batch(view, rows[:, :n], y), n_new)
            for view, rows in zip(self.views, shown, strict=True)
        ]
        answer = None
        for step in range(n_new):
            answers = []
            for view, rows, context in zip(self.views, shown, contexts, strict=True):
                if step:
                    context.append(rows[:, n - 1 : n], self._as_shown(view, y[:, n - 1 : n]))
                logits = context.logits(rows[:, n : n + 1])
                answers.append(self.model.predictive_of(logits, context.scale))
            answer = self._averaged(answers)
            chosen = choose(step, answer)
            y, n = torch.cat([y, chosen.to(y).view(-1, 1)], dim=1), n + 1
        if answer is not None and self.approximation_error is None:
            self.approximation_error = self._error_of(answer, shown, y[:, :-1])
        return y

    def _error_of(self, frozen: Predictive, shown: list[Tensor], y: Float[Tensor, "S n"]) -> float:
        """The largest difference of a probability between the last frozen prediction and the exact
        one, averaged over a few rollouts."""
        few, n = slice(0, MEASURED_ROLLOUTS), y.shape[1] + 1
        exact = self._averaged(
            [
                self._read(view, rows[few, :n], y[few])
                for view, rows in zip(self.views, shown, strict=True)
            ]
        )
        if isinstance(frozen, Categorical):
            assert isinstance(exact, Categorical)
            apart = (frozen.probs[few] - exact.probs).abs().amax(dim=-1)
            return float(apart.mean())
        at = frozen.quantile(LEVELS)[:, few]  # (L, s, 1)
        levels = torch.tensor(LEVELS, dtype=torch.float64).view(-1, 1, 1).to(at.device)
        return float((exact.cdf(at) - levels).abs().amax(dim=0).mean())

    def _read(self, view: View, rows: Tensor, y: Float[Tensor, "S n"]) -> Predictive:
        return self.model.predictive(self._batch(view, rows, y))

    def _batch(self, view: View, rows: Tensor, y: Float[Tensor, "S n"]) -> TaskBatch:
        """The rows of a view, of which those with a target are the context."""
        n_tasks, n_rows, n = len(rows), rows.shape[1], y.shape[1]
        targets = torch.zeros(n_tasks, n_rows, device=self.device, dtype=torch.float64)
        targets[:, :n] = self._as_shown(view, y.to(self.device))
        dtype = torch.float64 if self.n_classes is None else torch.float32
        return TaskBatch(
            x=rows.to(self.device, torch.float32),
            y=targets.to(dtype),
            n_train=n,
            n_classes=None
            if self.n_classes is None
            else torch.full((n_tasks,), self.n_classes, device=self.device),
            categorical=None
            if view.categorical is None
            else view.categorical.to(self.device).expand(n_tasks, -1),
        )

    def _as_shown(self, view: View, y: Float[Tensor, "S n"]) -> Float[Tensor, "S n"]:
        if view.targets is not None:
            return view.targets(y)
        return y if view.classes is None else view.classes.to(y.device)[y.long()].to(y)

    def _averaged(self, answers: list[Predictive]) -> Predictive:
        if self.n_classes is None:
            return answers[0]
        mean = 0.0
        for view, answer in zip(self.views, answers, strict=True):
            assert isinstance(answer, Categorical)
            log_probs = answer.logits[..., : self.n_classes].double().log_softmax(dim=-1)
            if view.classes is not None:
                log_probs = log_probs[..., view.classes.to(log_probs.device)]
            mean = mean + log_probs / len(answers)
        assert isinstance(mean, Tensor)
        return Categorical(mean / self.temperature)

    def indices(self, y: Any) -> Float[Tensor, "..."]:
        found = as_numbers("y", y)
        if self.n_classes is None:
            check_numbers(found)
        else:
            check_classes(found, self.n_classes)
        return found

    def bytes_per_rollout(self, n_rows: int, n_columns: int) -> int:
        config = getattr(self.model, "config", None)
        width, layers = getattr(config, "d_model", 64), getattr(config, "n_layers", 4)
        cells = n_rows * (n_columns + 1) * len(self.views)
        return 4 * cells * width * (2 * layers + 2 if self.refit == "frozen" else 12)
