"""`SequencePFN` and `UnsupervisedPFN`: a task as a sequence of rows in, a prediction of each row's
target out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs.sequence import (
    ClassificationConfig,
    RegressionConfig,
    SequenceConfig,
    UnsupervisedConfig,
)
from openpfn.heads.bars import Bucketizer
from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import Gaussian, GaussianMixture, mixture_of, spread_out
from openpfn.models.hooks import HookedModule, HookPoint, transformer_lens_cache
from openpfn.models.inputs import (
    check_classes,
    check_columns,
    check_finite,
    check_queries,
    check_temperature,
    check_tensors,
)
from openpfn.models.sequence.generation import Generated, XDistribution, roll_out
from openpfn.models.sequence.masks import causal, context_and_queries, interleaved, positions
from openpfn.models.sequence.transformer import Block, Norm, Unembed

Config = RegressionConfig | ClassificationConfig | UnsupervisedConfig


class _Sequence(HookedModule):
    """A transformer over tokens, and what its outputs say about targets."""

    config: Any
    borders: Tensor | None
    n_classes_read: int | None
    """Classes or tokens that each y is read as one of; None where it is read as a number."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        reads_classes = (
            getattr(config, "y_type", None) == "categorical"
            or getattr(config, "input_type", None) == "discrete"
        )
        self.n_classes_read = config.n_outputs if reads_classes else None
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        self.has_positions = config.use_pos_emb and config.mask_type != "set"
        self.W_pos = (
            nn.Parameter(torch.randn(config.n_ctx, config.d_model) * 0.02)
            if self.has_positions
            else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = Norm(config)
        self.unembed = Unembed(config)
        if is_mixture(config):
            self.unembed.bias.data.copy_(
                spread_out(config.n_outputs // 3, *_middle_and_std(config))
            )
        self.register_buffer(
            "borders", _borders(config), persistent=False
        )  # the configuration holds them

    # answers

    def predictive_of(self, logits: Float[Tensor, "... V"], temperature: float = 1.0) -> Predictive:
        """The distribution that `logits` stand for, sharper with a `temperature` below 1 and
        flatter above.

        A point prediction stands for a normal distribution of variance `temperature` around it.
        """
        check_temperature(temperature)
        check_tensors(logits=logits)
        logits = logits.float()
        if is_point(self.config):
            mean = logits.squeeze(-1)
            return Gaussian(mean, torch.full_like(mean, temperature))
        if is_mixture(self.config):
            mixture = mixture_of(logits)
            return GaussianMixture(
                mixture.logits / temperature, mixture.means, mixture.variances * temperature
            )
        if self.borders is None:
            return Categorical(logits / temperature)
        return self.bucketizer.predictive(logits / temperature)

    def losses(
        self, logits: Float[Tensor, "... V"], y: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """−log probability of each `y` in nats, or its squared error for point predictions.

        Raises ValueError for a class that there is not, or a number beyond bounded buckets.
        """
        if is_point(self.config):
            return (logits.float().squeeze(-1) - y).square()
        if self.borders is not None and self.config.bucket_support == "bounded":
            low, high = float(y.min()), float(y.max())
            if low < self.borders[0] or high > self.borders[-1]:
                raise ValueError(
                    f"y reaches from {low:.4g} to {high:.4g}, but the buckets end at"
                    f" {float(self.borders[0]):.4g} and {float(self.borders[-1]):.4g}: no"
                    " probability lies beyond. Widen them, or use bucket_support='unbounded'."
                )
        if predicts_classes(self.config):
            check_classes(y, self.config.n_outputs)
        return -self.predictive_of(logits).log_prob(y)

    @property
    def bucketizer(self) -> Bucketizer:
        """Between numbers and buckets. Raises ValueError if the network predicts no buckets."""
        if self.borders is None:
            raise ValueError(
                "this network predicts no buckets. Use predictive_of(logits), or set"
                " bucket_type='uniform' or 'riemann'."
            )
        return Bucketizer(self.borders, self.config.bucket_support)

    def get_bucket_values(self) -> Float[Tensor, " K"]:
        """The representative value of each bucket."""
        return self.bucketizer.bucket_representatives

    def get_y_values(self, buckets: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The representative values of `buckets`."""
        return self.bucketizer.decode(buckets)

    def log_bucket_densities(self, logits: Float[Tensor, "... K"]) -> Float[Tensor, "... K"]:
        """Log-density at the representative value of each bucket."""
        return self.bucketizer.log_bucket_densities(logits)

    # the transformer

    def placed(
        self, tokens: Float[Tensor, "B T E"], places: Int[Tensor, " T"]
    ) -> Float[Tensor, "B T E"]:
        """Tokens with the embeddings of their positions."""
        if self.W_pos is None:
            return tokens
        if len(places) and int(places.max()) >= len(self.W_pos):
            raise ValueError(
                f"the sequence has a token at position {int(places.max())}, but n_ctx is"
                f" {len(self.W_pos)}. Give a shorter one, or build the network with a larger n_ctx"
                " or use_pos_emb=False."
            )
        return tokens + self.W_pos[places]

    def contextual(
        self,
        tokens: Float[Tensor, "B T E"],
        places: Int[Tensor, " T"],
        allowed: Bool[Tensor, "T T"] | None,
    ) -> Float[Tensor, "B T E"]:
        """The normalised residual stream at the end; `allowed[i, j]` says that token i reads token
        j, None is causal."""
        if not self.is_hooked:
            x = self.placed(tokens, places)
            for block in self.blocks:
                x = block(x, allowed)
            return self.ln_final(x)
        x = self.hook_embed(tokens)
        if self.W_pos is not None:
            moved = self.placed(torch.zeros_like(x), places)
            x = x + self.hook_pos_embed(moved)
        reads = causal(x.shape[1], x.device) if allowed is None else allowed
        for block in cast(list[Block], list(self.blocks)):
            x = block.hooked(x, reads)
        return self.ln_final(x)

    # TransformerLens' names

    @property
    def cfg(self) -> SimpleNamespace:
        """The sizes, by TransformerLens' names."""
        config: SequenceConfig = self.config
        return SimpleNamespace(
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            n_key_value_heads=None,
            d_head=config.d_head,
            d_model=config.d_model,
            d_mlp=config.d_mlp,
            d_vocab=config.n_outputs,
            d_vocab_out=config.n_outputs,
            n_ctx=config.n_ctx,
            act_fn=config.act_fn,
            normalization_type=config.normalization_type,
            attn_only=False,
            final_rms=config.normalization_type == "RMS",
            device=self.unembed.weight.device,
            dtype=self.unembed.weight.dtype,
            use_attn_result=True,
            output_logits_soft_cap=None,
        )

    @property
    def W_U(self) -> Float[Tensor, "E V"]:
        return self.unembed.W_U

    @property
    def b_U(self) -> Float[Tensor, " V"]:
        return self.unembed.b_U

    def make_cache(self, activations: dict[str, Tensor], has_batch_dim: bool) -> Any:
        return transformer_lens_cache(activations, self, has_batch_dim)


class SequencePFN(_Sequence):
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
        """What the network believes after a prompt. With y one shorter than x, about the last row;
        else about each row given those before.

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
        """What the (x, y) tokens have more than the x tokens."""
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


class UnsupervisedPFN(_Sequence):
    """Predicts each element of a sequence from those before it; the first from a learned start
    token.

    >>> model = UnsupervisedPFN(UnsupervisedConfig(d_model=16, n_layers=1, n_heads=2, d_vocab=3))
    >>> model(torch.tensor([[0, 2, 1]])).shape    # logits [:, i] are of element i
    torch.Size([1, 3, 3])
    """

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
        """What the network believes about the element after the prompt `y`, with or without a
        leading batch axis.

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


def is_point(config: Config) -> bool:
    return config.prediction_type == "point"


def predicts_classes(config: Config) -> bool:
    return (
        isinstance(config, ClassificationConfig)
        or getattr(config, "input_type", None) == "discrete"
    )


def is_mixture(config: Config) -> bool:
    return getattr(config, "bucket_type", None) == "mixture"


def _borders(config: Any) -> Tensor | None:
    kind = getattr(config, "bucket_type", None)
    if kind == "riemann":
        return torch.tensor(config.riemann_borders)
    return (
        torch.linspace(config.y_min, config.y_max, config.d_vocab + 1)
        if kind == "uniform"
        else None
    )


def _middle_and_std(config: Any) -> tuple[float, float]:
    """Where a mixture begins: y_min and y_max lie two standard deviations from its mean."""
    if config.y_min is None:
        return 0.0, 1.0
    return (config.y_min + config.y_max) / 2, (config.y_max - config.y_min) / 4


def build(config: Config) -> SequencePFN | UnsupervisedPFN:
    """The network of `config`, for `openpfn.models.PFN`."""
    return (
        UnsupervisedPFN(config) if isinstance(config, UnsupervisedConfig) else SequencePFN(config)
    )
