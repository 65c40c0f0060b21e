"""`SequenceNetwork`: a transformer over tokens and the head that reads its outputs, which all
sequence networks share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn import registry
from openpfn.configs.sequence import (
    ClassificationConfig,
    RegressionConfig,
    SequenceConfig,
    UnsupervisedConfig,
)
from openpfn.heads.bars import BarHead, Bucketizer
from openpfn.heads.base import Head, Predictive
from openpfn.heads.gaussian import Gaussian
from openpfn.models.hooks import HookedModule, HookPoint, transformer_lens_cache
from openpfn.models.inputs import check_classes, check_temperature, check_tensors
from openpfn.models.sequence.masks import causal
from openpfn.models.sequence.transformer import Block, Norm, Unembed

Config = RegressionConfig | ClassificationConfig | UnsupervisedConfig


class SequenceNetwork(HookedModule):
    """A transformer over tokens, and what its outputs say about targets."""

    config: Config
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
        self.W_pos: Tensor | None = (
            nn.Parameter(torch.randn(config.n_ctx, config.d_model) * 0.02)
            if self.has_positions
            else None
        )
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.ln_final = Norm(config)
        head = make_head(config)
        self.unembed = Unembed(config.d_model, head.n_outputs)
        self.unembed.bias.data.copy_(head.first_outputs())
        self.head = head

    @property
    def borders(self) -> Float[Tensor, " K1"] | None:
        """Borders of the buckets; None where the network predicts none."""
        return self.head.borders if isinstance(self.head, BarHead) else None

    # answers

    def predictive_of(self, logits: Float[Tensor, "... V"], temperature: float = 1.0) -> Predictive:
        """The distribution that `logits` stand for, sharper with a `temperature` below 1 and
        flatter above.

        A point prediction stands for a normal distribution of variance `temperature` around it.
        """
        check_temperature(temperature)
        check_tensors(logits=logits)
        return self.head.tempered(logits.float(), temperature)

    def losses(
        self, logits: Float[Tensor, "... V"], y: Float[Tensor, "..."] | Int[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Return the training loss for each `y`: −log probability in nats, the squared error of
        point predictions, or what else the head says.

        Raises ValueError for a class that there is not, or a number beyond bounded buckets.
        """
        if isinstance(self.head, BarHead) and self.head.support == "bounded":
            low, high, borders = float(y.min()), float(y.max()), self.head.borders
            if low < borders[0] or high > borders[-1]:
                raise ValueError(
                    f"y reaches from {low:.4g} to {high:.4g}, but the buckets end at"
                    f" {float(borders[0]):.4g} and {float(borders[-1]):.4g}: no"
                    " probability lies beyond. Widen them, or use bucket_support='unbounded'."
                )
        if self.head.predicts == "classes":
            check_classes(y, self.head.n_outputs)
        return self.head.loss(logits.float(), y)

    @property
    def bucketizer(self) -> Bucketizer:
        """Between numbers and buckets. Raises ValueError if the network predicts no buckets."""
        if not isinstance(self.head, BarHead):
            raise ValueError(
                "this network predicts no buckets. Use predictive_of(logits), or set"
                " bucket_type='uniform' or 'riemann'."
            )
        return Bucketizer(self.head.borders, self.head.support)

    def get_bucket_values(
        self, y: Float[Tensor, "..."] | None = None
    ) -> Float[Tensor, " K"] | Int[Tensor, "..."]:
        """The bucket that each `y` falls into; without `y`, the representative value of each
        bucket."""
        if y is None:
            return self.bucketizer.bucket_representatives
        return self.bucketizer.bucketize(y)

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
            d_vocab=self.head.n_outputs,
            d_vocab_out=self.head.n_outputs,
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


class PointHead(Head):
    """A point prediction: the mean alone, trained by the squared error.

    As a distribution it stands for a normal one around it, whose variance is the temperature.
    """

    def __init__(self) -> None:
        super().__init__(n_outputs=1)

    def predictive(self, logits: Float[Tensor, "... 1"]) -> Gaussian:
        return self.tempered(logits, 1.0)

    def tempered(self, logits: Float[Tensor, "... 1"], temperature: float) -> Gaussian:
        mean = logits.squeeze(-1)
        return Gaussian(mean, torch.full_like(mean, temperature))

    def loss(
        self, logits: Float[Tensor, "... 1"], y: Float[Tensor, "..."] | Int[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """The squared error of each `y`."""
        return (logits.squeeze(-1) - y).square()


def make_head(config: Config) -> Head:
    """The head of `config`, which reads the logits that the unembedding gives."""
    if isinstance(config, ClassificationConfig) or predicts_tokens(config):
        return registry.find("heads", "categorical", Head)(None, None, config.n_outputs)
    if config.prediction_type == "point":
        return PointHead()
    kind = registry.find("heads", config.bucket_type, Head)
    size = () if config.d_vocab is None else (config.d_vocab,)
    return kind(None, None, *size, **_fixed_by(config))


def predicts_tokens(config: Config) -> bool:
    return isinstance(config, UnsupervisedConfig) and config.input_type == "discrete"


def _fixed_by(config: Any) -> dict[str, Any]:
    """Return what the configuration fixes of its head: borders, or where a mixture begins."""
    if config.bucket_type == "uniform":
        borders = torch.linspace(config.y_min, config.y_max, config.d_vocab + 1)
        return {"borders": borders, "support": config.bucket_support}
    if config.bucket_type == "riemann":
        borders = torch.tensor(config.riemann_borders)
        return {"borders": borders, "support": config.bucket_support}
    if config.bucket_type == "mixture" and config.y_min is not None:
        # y_min and y_max lie two standard deviations from the mean of the means
        middle, reach = (config.y_min + config.y_max) / 2, (config.y_max - config.y_min) / 2
        return {"mean": middle, "std": reach / 2}
    return {}
