"""`PublishedConfig`: the table networks whose weights were published as nanoTabPFN and TinyPFN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class PublishedConfig:
    """The post-norm table network of nanoTabPFN (softmax attention) and TinyPFN (linear
    attention)."""

    model: ClassVar[str] = "published"

    d_model: int = 96
    """Width of the cell embeddings."""
    n_heads: int = 4
    """Heads of both attentions."""
    n_layers: int = 3
    """Layers."""
    d_mlp: int = 192
    """Hidden width of the MLP of each layer and of the decoder."""
    max_classes: int = 2
    """Classes that the network can tell apart."""
    attention_type: str = "softmax"
    """Both attentions: softmax as in nanoTabPFN, or linear with relu features as in TinyPFN."""
    separate_query_weights: bool = False
    """Query rows read the context with projections of their own, as in the networks of "Making
    Attention Cheaper"."""

    def __post_init__(self) -> None:
        for name in ("d_model", "n_heads", "n_layers", "d_mlp", "max_classes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model is {self.d_model}, not a multiple of n_heads = {self.n_heads}. Change one"
                " of them."
            )
        if self.attention_type not in ("softmax", "linear"):
            raise ValueError(
                f"attention_type is {self.attention_type!r}, must be 'softmax' or 'linear'."
            )
