"""Sequence networks as believers: rollouts with cached keys and values."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.bayes.believers.base import Believer, Choose
from openpfn.configs.sequence import ClassificationConfig, UnsupervisedConfig
from openpfn.heads.base import Predictive
from openpfn.models.inputs import check_columns, check_finite
from openpfn.models.modes import in_evaluation
from openpfn.models.sequence.backbone import SequenceNetwork, predicts_tokens
from openpfn.models.sequence.generation import continued


class SequenceBeliever(Believer):
    """A `SequencePFN` or an `UnsupervisedPFN`. Without `cached` each row is predicted by a pass of
    the whole sequence: slower, and the same to rounding."""

    reads_prefixes: ClassVar[bool] = True

    def __init__(self, model: SequenceNetwork, cached: bool = True) -> None:
        config = model.config
        if config.prediction_type == "point":
            raise ValueError(
                "this network predicts the mean alone, so there is no distribution to draw from."
                " Train one with prediction_type='distribution'."
            )
        self.model, self.cached = model, cached
        self.reads_x = not isinstance(config, UnsupervisedConfig)  # pyright: ignore[reportAttributeAccessIssue]
        tells_classes = isinstance(config, ClassificationConfig) or predicts_tokens(config)
        self.n_classes = config.n_outputs if tells_classes else None
        if model.W_pos is not None:
            self.most_rows = len(model.W_pos) // (2 if self.reads_x else 1)

    @property
    def device(self) -> torch.device:
        return self.model.unembed.weight.device

    def ask(self, x: Tensor | None, y: Tensor, x_query: Tensor | None) -> Predictive:
        model: Any = self.model
        with in_evaluation(model), torch.no_grad():
            if not self.reads_x:
                followed = self._own(torch.nn.functional.pad(y, (0, 1)))
                return model.predictive_of(model(followed)[:, -1:])
            assert x is not None
            assert x_query is not None
            return model.predictive_of(model(self._own(x), self._own(y), self._own(x_query)))

    def roll(
        self,
        x: Float[Tensor, "S N D"] | None,
        y: Float[Tensor, "S P"],
        n_new: int,
        choose: Choose,
    ) -> Float[Tensor, "S N"]:
        step = 0

        def next_target(logits: Tensor) -> Tensor:
            nonlocal step
            chosen = choose(step, self.model.predictive_of(logits))
            step += 1
            return chosen.to(logits)

        own_x = None if x is None else self._own(x)
        return continued(self.model, own_x, self._own(y), n_new, next_target, cached=self.cached)[0]

    def joint_log_prob(
        self, x: Float[Tensor, "S N D"] | None, y: Float[Tensor, "S N"], n_given: int
    ) -> Float[Tensor, " S"]:
        model: Any = self.model
        with in_evaluation(model), torch.no_grad():
            own = self._own(y)
            logits = model(own) if x is None else model(self._own(x), own)
            every = model.predictive_of(logits).log_prob(own)  # (S, N)
            return every[:, n_given:].sum(-1).double().cpu()

    def features(self, rows: Any) -> Float[Tensor, "..."]:
        found = super().features(rows)
        check_columns("x", found, self.model.config.input_dim)
        check_finite(x=found)
        return found

    def bytes_per_rollout(self, n_rows: int, n_columns: int) -> int:
        config = self.model.config
        assert config.d_head is not None
        assert config.d_mlp is not None
        cached = 4 * config.n_layers * config.n_heads * config.d_head * n_rows
        logits = n_rows * self.model.head.n_outputs
        widest = 16 * config.d_model + 2 * config.d_mlp + 8 * self.model.head.n_outputs
        if not self.cached or config.mask_type == "set":
            cached, widest = 0, n_rows * (widest + 2 * config.n_heads * n_rows)
        return 4 * (cached + logits + widest + n_rows * (config.d_model + n_columns))

    def _own(self, values: Tensor) -> Tensor:
        return values.to(self.device, torch.float32)
