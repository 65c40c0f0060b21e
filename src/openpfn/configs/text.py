"""`TextConfig` and `TextTrainingConfig`: the network that reads tables as text, and its
pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from openpfn.configs.checks import check_fields, check_least


@dataclass(frozen=True)
class TextConfig:
    """The network of TabSTAR: a text encoder, numbers fused into it, and attention between the
    cells of a row and the target tokens. The defaults are its published sizes."""

    model: ClassVar[str] = "text"

    d_model: int = 384
    """Width of the cells once text and number are fused."""
    n_layers: int = 6
    """Layers of the interaction encoder."""
    n_heads: int = 6
    """Heads of its attention."""
    d_mlp: int = 1536
    """Hidden width of its MLPs and of the heads."""
    dropout: float = 0.1
    """Share of activations left out in training."""
    d_text: int = 384
    """Width of the text encoder's embeddings."""
    version: Literal["v1", "v1.1"] = "v1"
    """How cells are verbalized and numbers enter: v1 has one number per cell, fused by attention,
    and predicts a number by its mean; v1.1 has six, which are added, and predicts a distribution,
    too."""
    matching: bool = False
    """Set the tokens of the classes apart, and add to each class's logit its match with the mean
    cell: not in TabSTAR, and far sooner trained."""
    set_apart: Literal["tokens", "texts"] = "tokens"
    """Where `matching` sets the classes apart: in their tokens, or in the embeddings of their
    sentences. Of a frozen text encoder these pass no gradient, which the division by small
    differences would otherwise enlarge a hundredfold."""
    n_buckets: int = 200
    """Buckets of the standardised target between −10 and 10, in version v1.1."""
    encoder: str = "e5"
    """Name of the text encoder, as in `openpfn.text.encoders.load_encoder`."""
    unfrozen_layers: int = 0
    """Last layers of the text encoder that are trained, too; 0 leaves it frozen, so that each
    string of a table is encoded once."""
    encoder_fingerprint: str = ""
    """Fingerprint of the text encoder that the weights were trained with; empty before any
    training."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_least(
            self,
            d_model=1,
            n_layers=1,
            n_heads=1,
            d_mlp=1,
            d_text=1,
            n_buckets=2,
            unfrozen_layers=0,
        )
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(
                f"d_model is {self.d_model}, must be even and a multiple of n_heads ="
                f" {self.n_heads}. Change one of them."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}, must lie in [0, 1).")

    @property
    def n_numbers(self) -> int:
        """Numbers that come with each cell."""
        return 1 if self.version == "v1" else 6

    @property
    def n_regression_outputs(self) -> int:
        """Outputs of the head of numbers: the mean, and the logits of the buckets if any."""
        return 1 if self.version == "v1" else 1 + self.n_buckets


@dataclass(frozen=True)
class TextTrainingConfig:
    """How a network that reads text is pretrained on a corpus; batch size, rates and places stand
    in `TrainingConfig`."""

    n_epochs: int = 50
    """Passes over the corpus."""
    max_rows: int = 20_000
    """Rows of a table that are read at most, drawn at random."""
    rows_per_epoch: int = 2048
    """Rows of a table that an epoch takes, drawn anew; all of a smaller table."""
    validation_share: float = 0.05
    """Rows of each table that are held out for validation."""
    max_validation_rows: int = 1000
    """Rows of a table that are held out at most."""
    patience: int = 3
    """Epochs without a better mean of AUC and R² after which training stops."""
    gradient_checkpointing: bool = False
    """Compute activations twice and keep fewer: less memory, a third more time."""
    column_dropout: float = 0.0
    """Share of the columns that a training batch leaves out, drawn per batch up to this."""
    other_targets: int = 0
    """Columns of each table that are predicted from the others in tasks of their own, beside its
    target."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_least(
            self,
            n_epochs=1,
            max_rows=2,
            rows_per_epoch=1,
            max_validation_rows=1,
            patience=1,
            other_targets=0,
        )
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share is {self.validation_share}, must lie between 0 and 1."
            )
        if not 0 <= self.column_dropout < 1:
            raise ValueError(f"column_dropout is {self.column_dropout}, must lie in [0, 1).")


@dataclass(frozen=True)
class FineTuneConfig:
    """How a pretrained network is adapted to one table."""

    adapt: Literal["lora", "all"] = "lora"
    """Train low-rank adapters beside the weights (Hu et al. 2022), or all weights themselves."""
    lora_rank: int = 32
    """Rank of the adapters."""
    lora_alpha: float = 64.0
    """Scale of the adapters, times their rank."""
    lora_dropout: float = 0.1
    """Share of the adapters' inputs left out in training."""
    learning_rate: float = 1e-3
    """Peak rate of AdamW: a linear warm-up, then half a cosine."""
    weight_decay: float = 1e-3
    """Decoupled weight decay."""
    batch_size: int = 64
    """Rows per gradient."""
    accumulation: int = 2
    """Gradients per step."""
    max_epochs: int = 50
    """Passes over the training rows."""
    patience: int = 5
    """Epochs without a lower validation loss after which training stops."""
    n_averaged: int = 3
    """Epochs with the lowest validation loss whose weights are averaged."""
    validation_share: float = 0.1
    """Rows that are held out to choose the epochs."""
    max_validation_rows: int = 1000
    """Rows that are held out at most."""

    def __post_init__(self) -> None:
        check_fields(self)
        check_least(
            self,
            lora_rank=1,
            batch_size=1,
            accumulation=1,
            max_epochs=1,
            patience=1,
            n_averaged=1,
            max_validation_rows=1,
            weight_decay=0,
        )
        for name in ("learning_rate", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive.")
        if not 0 < self.validation_share < 1:
            raise ValueError(
                f"validation_share is {self.validation_share}, must lie between 0 and 1."
            )
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}, must lie in [0, 1).")


TEXT_PRESETS: dict[str, TextConfig] = {
    "text-small": TextConfig(
        d_model=128,
        n_layers=3,
        n_heads=4,
        d_mlp=256,
        dropout=0.0,
        version="v1.1",
        matching=True,
        set_apart="texts",
        encoder="minilm",
    ),
    "tabstar": TextConfig(unfrozen_layers=6),
}
"""text-small trains on two cores with a frozen encoder; tabstar has the published size and trains
the last six layers of e5-small-v2."""


def text_preset(name: str) -> TextConfig:
    """The configuration called `name`. Raises ValueError for an unknown one, listing the
    choices."""
    if name not in TEXT_PRESETS:
        raise ValueError(f"unknown preset {name!r}. Choose one of {', '.join(TEXT_PRESETS)}.")
    return TEXT_PRESETS[name]
