"""`UnsupervisedPFN`: a sequence of tokens or numbers in, a prediction of each from those before
out."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs.sequence import UnsupervisedConfig
from openpfn.heads.base import Predictive
from openpfn.models.inputs import (
    check_classes,
    check_finite,
    check_queries,
    check_temperature,
    check_tensors,
)
from openpfn.models.sequence.backbone import SequenceNetwork
from openpfn.models.sequence.generation import Generated, roll_out


class UnsupervisedPFN(SequenceNetwork):
    """Predicts each element of a sequence from those before it; the first from a learned start
    token.

    >>> model = UnsupervisedPFN(UnsupervisedConfig(d_model=16, n_layers=1, n_heads=2, d_vocab=3))
    >>> model(torch.tensor([[0, 2, 1]])).shape    # logits [:, i] are of element i
    torch.Size([1, 3, 3])
    """

    config: UnsupervisedConfig

    def __init__(self, config: UnsupervisedConfig) -> None:
        super().__init__(config)
        assert config.d_vocab is not None
        self.embed = (
            nn.Embedding(config.d_vocab, config.d_model)
            if config.input_type == "discrete"
            else nn.Linear(1, config.d_model)
        )
        nn.init.normal_(self.embed.weight)
        self.start = nn.Parameter(torch.randn(config.d_model))

    def forward(
        self,
        x: Float[Tensor, "B N"] | Int[Tensor, "B N"] | None,
        y: Float[Tensor, "B N"] | Int[Tensor, "B N"] | None = None,
        *,
        return_cache: bool = False,
    ) -> Any:
        """Logits (B, N, V) of each element from those before it. The sequence may be given alone,
        or as `y` after x = None.

        `return_cache` gives (logits, cache) with all activations by name.
        """
        if (x is None) == (y is None):
            raise ValueError("there is no x without supervision: call model(y), or model(None, y).")
        sequence = cast(Tensor, y if x is None else x)
        check_tensors(y=sequence)
        if sequence.dim() != 2:
            raise ValueError(
                f"the sequences have shape {tuple(sequence.shape)}, expected (B, N). One sequence"
                " is y.unsqueeze(0)."
            )
        if self.n_classes_read is not None:
            check_classes(sequence, self.n_classes_read)
        if return_cache:
            return self.run_with_cache(sequence)
        return self.unembed(
            self.contextual(
                self.tokens(sequence[:, :-1]),
                torch.arange(sequence.shape[1], device=sequence.device),
                None,
            )
        )

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Mean loss per element from `n_train` on, each given all elements before it."""
        check_queries(batch.n_train, batch.n_rows)
        return self.losses(self(batch.y), batch.y)[:, batch.n_train :].mean()

    def predictive(self, batch: TaskBatch) -> Predictive:
        """The distributions of the elements from `n_train` on, each given all elements before
        it."""
        return self.predictive_of(self(batch.y)[:, batch.n_train :])

    def prefixes(self, batch: TaskBatch) -> Predictive:
        """The distribution of every element given those before it, (B, N)."""
        return self.predictive_of(self(batch.y))

    @torch.no_grad()
    def predict_on_prompt(
        self,
        y: Float[Tensor, "... N"] | Int[Tensor, "... N"],
        *,
        temperature: float = 1.0,
        return_logits: bool = False,
        return_cache: bool = False,
    ) -> Any:
        """Return what the network believes about the element after the prompt `y`, with or without
        a leading batch axis.

        The answer is a `Predictive`, or logits with `return_logits`; with `return_cache` a pair of
        it and the cache. Raises ValueError for values that are missing or infinite.
        """
        check_temperature(temperature)
        check_tensors(y=y)
        check_finite(y=y)
        batched = y.dim() == 2
        sequence = F.pad(
            y if batched else y.unsqueeze(0), (0, 1)
        )  # a place for the element asked for
        logits, cache = self.run_with_cache(sequence) if return_cache else (self(sequence), None)
        logits = logits[:, -1] if batched else logits[0, -1]
        answer = logits / temperature if return_logits else self.predictive_of(logits, temperature)
        return (answer, cache) if return_cache else answer

    def generate(
        self,
        num_generate: int,
        prompt: Float[Tensor, "... P"] | Int[Tensor, "... P"] | None = None,
        sample: bool = True,
        temperature: float = 1.0,
        num_rollouts: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """`num_rollouts` continuations of a prompt, `y` (R, P + T), and `logits` (R, T, V) of the T
        generated elements.

        With a batch of prompts (B, P), a leading B on each. Without a prompt the first element is
        drawn from the prior predictive. `sample=False` takes the most probable value in place of a
        draw. All draws come from `generator`.
        """
        return roll_out(
            self, None, num_generate, None, prompt, sample, temperature, num_rollouts, generator
        )

    def tokens(self, y: Float[Tensor, "B n"] | Int[Tensor, "B n"]) -> Float[Tensor, "B T E"]:
        """The start token and a token per element."""
        embedded = (
            self.embed(y.long())
            if self.config.input_type == "discrete"
            else self.embed(y.to(self.start.dtype).unsqueeze(-1))
        )
        return torch.cat([self.start.expand(len(y), 1, -1), embedded], dim=1)
