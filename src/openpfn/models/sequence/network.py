"""`SequencePFN`: a task as a sequence of rows in, a prediction of each row's target out."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs.sequence import ClassificationConfig, RegressionConfig, UnsupervisedConfig
from openpfn.heads.base import Predictive
from openpfn.models.inputs import (
    check_classes,
    check_columns,
    check_finite,
    check_queries,
    check_temperature,
    check_tensors,
)
from openpfn.models.sequence.backbone import Config, SequenceNetwork
from openpfn.models.sequence.generation import Generated, XDistribution, roll_out
from openpfn.models.sequence.masks import context_and_queries, interleaved, positions
from openpfn.models.sequence.transformer import Block
from openpfn.models.sequence.unsupervised import UnsupervisedPFN


class SequencePFN(SequenceNetwork):
    """Predicts the target of each row from its x and the rows before it (Müller et al. 2022; Garg
    et al. 2022).

    Tokens are x₀, (x₀, y₀), x₁, (x₁, y₁), …, each one linear map of x and y, with y = 0 in the x
    tokens and a learned vector that marks the others. `config.mask_type` says which token reads
    which: see `openpfn.models.sequence.masks`. With "set" rows before have no order and no
    positions: no permutation of them changes a prediction.

    >>> model = SequencePFN(
    ...     RegressionConfig(
    ...         d_model=16, n_layers=1, n_heads=2, input_dim=3, prediction_type="point"
    ...     )
    ... )
    >>> model(torch.randn(2, 5, 3), torch.randn(2, 5)).shape    # y_i from x_i and rows before
    torch.Size([2, 5, 1])
    >>> x_new = torch.randn(2, 7, 3)
    >>> model(torch.randn(2, 5, 3), torch.randn(2, 5), x_new).shape    # 7 other rows from these 5
    torch.Size([2, 7, 1])
    """

    def __init__(self, config: RegressionConfig | ClassificationConfig) -> None:
        super().__init__(config)
        self.n_y = self.n_classes_read or 1
        self.embed = nn.Linear(config.input_dim + self.n_y, config.d_model)
        nn.init.normal_(self.embed.weight, std=1.0)
        nn.init.normal_(self.embed.bias)
        with torch.no_grad():
            self.embed.weight[:, : config.input_dim] *= config.input_dim**-0.5
        self.known = nn.Parameter(torch.randn(config.d_model))

    def forward(
        self,
        x: Float[Tensor, "B N D"],
        y: Float[Tensor, "B N"] | Int[Tensor, "B N"],
        x_query: Float[Tensor, "B Q D"] | None = None,
        *,
        return_cache: bool = False,
    ) -> Any:
        """Logits (B, N, V) of each row's target from its x and the rows before; with `x_query`,
        logits (B, Q, V) of its rows from all N.

        `return_cache` gives (logits, cache) with all activations by name. In a set, hooks and
        caches need `x_query`.
        """
        if return_cache:
            return self.run_with_cache(x, y, x_query)
        self.check(x, y, x_query)
        dtype = self.embed.weight.dtype
        x, y = x.to(dtype), y.to(dtype)
        if x_query is not None:
            return self.read(x, y, x_query.to(dtype))
        if self.config.mask_type == "set":
            return self.read_growing_set(x, y)
        if self.config.mask_type == "autoregressive-pfn" and not self.is_hooked:
            return self.two_streams(x, y)
        return self.unembed(self.interleave(x, y)[:, 0::2])  # (B, N, V)

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Mean loss per predicted row; with `n_train` = 0, of each row from those before it, else
        of the query rows from the context.

        In training, a set with `n_train` = 0 is cut into context and query rows at a random place,
        the same for the whole batch.
        """
        x, n = self.x_of(batch), batch.n_train
        check_queries(n, batch.n_rows)
        if n == 0 and self.config.mask_type == "set" and self.training:
            n = int(torch.randint(batch.n_rows, ()))
            return self.losses(self(x[:, :n], batch.y[:, :n], x[:, n:]), batch.y[:, n:]).mean()
        return self.losses(self.logits(batch), batch.y[:, n:]).mean()

    def logits(self, batch: TaskBatch) -> Float[Tensor, "B Q V"]:
        """Logits of the query rows given the context, or, with `n_train` = 0, of each row given
        those before it."""
        x, n = self.x_of(batch), batch.n_train
        return self(x, batch.y) if n == 0 else self(x[:, :n], batch.y_context, x[:, n:])

    def predictive(self, batch: TaskBatch) -> Predictive:
        """The distributions of the query rows' targets given the context; with `n_train` = 0, as
        `prefixes`."""
        return self.predictive_of(self.logits(batch))

    def prefixes(self, batch: TaskBatch) -> Predictive:
        """The distribution of every row's target given the rows before it, (B, N); in a set, one
        pass for each row."""
        return self.predictive_of(self(self.x_of(batch), batch.y))

    @torch.no_grad()
    def predict_on_prompt(
        self,
        x: Float[Tensor, "... N D"],
        y: Float[Tensor, "... n"] | Int[Tensor, "... n"],
        *,
        temperature: float = 1.0,
        return_logits: bool = False,
        return_cache: bool = False,
    ) -> Any:
        """Return what the network believes after a prompt. With y one shorter than x, about the
        last row; else about each row given those before.

        Both with or without a leading batch axis. The answer is a `Predictive`, or logits with
        `return_logits`; with `return_cache` a pair of it and the cache. Raises ValueError for
        values that are missing or infinite.
        """
        check_temperature(temperature)
        check_tensors(x=x, y=y)
        check_finite(x=x, y=y)
        batched = x.dim() == 3
        if not batched:
            x, y = x.unsqueeze(0), y.unsqueeze(0)
        n = y.shape[1]
        if n not in (x.shape[1], x.shape[1] - 1):
            raise ValueError(
                f"x has {x.shape[1]} rows and y {n}; y must have as many, or one fewer to predict"
                " the last row."
            )
        inputs = (x, y, None) if n == x.shape[1] else (x[:, :n], y, x[:, n:])
        logits, cache = self.run_with_cache(*inputs) if return_cache else (self(*inputs), None)
        logits = logits if batched else logits[0]  # (..., N or 1, V)
        if n < x.shape[1]:
            logits = logits.squeeze(-2)
        answer = logits / temperature if return_logits else self.predictive_of(logits, temperature)
        return (answer, cache) if return_cache else answer

    def generate(
        self,
        x_distribution: XDistribution,
        num_generate: int,
        prompt_x: Float[Tensor, "... P D"] | None = None,
        prompt_y: Float[Tensor, "... P"] | None = None,
        sample: bool = True,
        temperature: float = 1.0,
        num_rollouts: int = 1,
        *,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """`num_rollouts` continuations of a prompt: rows with x from `x_distribution` and y from
        the network's own predictions.

        The answer has `x` (R, P + T, D), `y` (R, P + T), `logits` (R, T, V) of the T generated
        rows; with a batch of prompts (B, P, D) a leading B on each. Without a prompt the first row
        is drawn from the prior predictive. `sample=False` takes the most probable value in place of
        a draw. `x_distribution` is over a number, over rows of `input_dim` numbers, or a function
        (n_sequences, n_rows, generator) -> (n_sequences, n_rows, input_dim). All draws come from
        `generator`.
        """
        return roll_out(
            self,
            x_distribution,
            num_generate,
            prompt_x,
            prompt_y,
            sample,
            temperature,
            num_rollouts,
            generator,
        )

    # ways through the transformer

    def embedded(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N E"]:
        """The x tokens."""
        return F.linear(x, self.embed.weight[:, : self.config.input_dim], self.embed.bias)

    def embedded_y(self, y: Float[Tensor, "B N"]) -> Float[Tensor, "B N E"]:
        """Return what is added to the x tokens to make the (x, y) tokens."""
        if self.n_y > 1:
            return (
                F.embedding(y.long(), self.embed.weight[:, self.config.input_dim :].t())
                + self.known
            )
        return y.unsqueeze(-1) * self.embed.weight[:, -1] + self.known

    def interleave(
        self, x: Float[Tensor, "B N D"], y: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B T E"]:
        """Every token's stream at the end, the T = 2 N tokens in order."""
        tokens = self.embedded(x)
        tokens = torch.stack([tokens, tokens + self.embedded_y(y)], dim=2).flatten(1, 2)
        places = torch.arange(tokens.shape[1], device=x.device)
        mask = self.config.mask_type
        return self.contextual(
            tokens, places, None if mask == "gpt2" else interleaved(mask, x.shape[1], x.device)
        )

    def two_streams(
        self, x: Float[Tensor, "B N D"], y: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B N V"]:
        """`forward` under the mask "autoregressive-pfn": nobody reads x tokens, so they need not
        stand among the keys."""
        at_x = self.embedded(x)
        at_y = at_x + self.embedded_y(y)
        if self.W_pos is not None:
            places = torch.arange(0, 2 * x.shape[1], 2, device=x.device)
            at_y, at_x = self.placed(at_y, places + 1), self.placed(at_x, places)
        for i, block in enumerate(cast(list[Block], list(self.blocks))):
            at_x, at_y = block.two_streams(at_x, at_y, last=i == len(self.blocks) - 1)
        return self.unembed(self.ln_final(at_x))

    def read(
        self, x: Float[Tensor, "B n D"], y: Float[Tensor, "B n"], x_query: Float[Tensor, "B Q D"]
    ) -> Float[Tensor, "B Q V"]:
        """Logits of query rows; each reads the context and itself."""
        n, n_queries, mask = x.shape[1], x_query.shape[1], self.config.mask_type
        tokens = self.embedded(x)
        pairs = tokens + self.embedded_y(y)
        context = torch.stack([tokens, pairs], dim=2).flatten(1, 2) if mask == "gpt2" else pairs
        allowed = context_and_queries(mask, n, n_queries, x.device)
        places = positions(mask, n, n_queries, x.device)
        out = self.contextual(torch.cat([context, self.embedded(x_query)], dim=1), places, allowed)
        return self.unembed(out[:, out.shape[1] - n_queries :])

    def read_growing_set(
        self, x: Float[Tensor, "B N D"], y: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B N V"]:
        """Logits of each row given the set of those before: their embeddings change with every row,
        so each takes a pass."""
        if self.is_hooked:
            raise ValueError(
                "in a set each row takes a pass of its own. Give x_query, so that hooks see one"
                " pass."
            )
        return torch.cat(
            [self.read(x[:, :i], y[:, :i], x[:, i : i + 1]) for i in range(max(1, x.shape[1]))],
            dim=1,
        )

    def x_of(self, batch: TaskBatch) -> Float[Tensor, "B N D"]:
        if batch.x is None:
            raise ValueError(
                "the batch has no x. Train an UnsupervisedConfig on sequences without x."
            )
        return batch.x

    def check(self, x: Tensor, y: Tensor, x_query: Tensor | None = None) -> None:
        """Raise TypeError or ValueError unless these can be read."""
        check_tensors(x=x, y=y)
        check_columns("x", x, self.config.input_dim)
        if x.dim() != 3 or x.shape[:2] != y.shape:
            raise ValueError(
                f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}; expected (B, N, D) and"
                " (B, N)."
            )
        if x_query is not None:
            check_tensors(x_query=x_query)
            check_columns("x_query", x_query, self.config.input_dim)
            if x_query.dim() != 3 or len(x_query) != len(x):
                raise ValueError(
                    f"x_query has shape {tuple(x_query.shape)} and x {tuple(x.shape)}: both need"
                    " the same tasks."
                )
        if self.n_classes_read is not None:
            check_classes(y, self.n_classes_read)


def build(config: Config) -> SequencePFN | UnsupervisedPFN:
    """The network of `config`, for `openpfn.models.PFN`."""
    return (
        UnsupervisedPFN(config) if isinstance(config, UnsupervisedConfig) else SequencePFN(config)
    )
