"""A distribution over classes, and the decoder that gives its logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.heads.base import Head, OverLogits, Values, as_tensor


class Categorical(OverLogits):
    """Class probabilities per target. `logits` (..., C); classes that a task does not have carry
    −inf.

    As numbers the classes are 0 … C − 1: `mean`, `quantile`, `crps` and their like mean something
    where that order does, as for 0 and 1.
    """

    def __init__(self, logits: Float[Tensor, "... C"]) -> None:
        self.logits = logits

    @property
    def mode(self) -> Int[Tensor, "..."]:
        """The most probable class."""
        return self.logits.argmax(dim=-1)

    @property
    def codes(self) -> Float[Tensor, " C"]:
        """The classes as numbers."""
        return torch.arange(
            self.logits.shape[-1], device=self.logits.device, dtype=self.logits.dtype
        )

    @property
    def y_grid(self) -> Float[Tensor, " C"]:
        """`codes` by another name: the values that `probs` belong to."""
        return self.codes

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return (self.probs * self.codes).sum(dim=-1)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        return (self.probs * (self.codes - self.mean.unsqueeze(-1)).square()).sum(dim=-1)

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.logits)
        log_probs, last = self.logits.log_softmax(dim=-1), self.logits.shape[-1] - 1
        shape = torch.broadcast_shapes(y.shape, self.shape)
        label = y.nan_to_num().clamp(0, last).long()
        found = (
            log_probs.expand(*shape, -1).gather(-1, label.expand(shape).unsqueeze(-1)).squeeze(-1)
        )
        return torch.where(y == label, found, torch.where(y.isnan(), torch.nan, -torch.inf))

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        y = as_tensor(y, self.logits)
        return torch.where(
            y.isnan(), torch.nan, (self.probs * (self.codes <= y.unsqueeze(-1))).sum(dim=-1)
        )

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        reached = self.probs.cumsum(dim=-1)[..., :-1]  # the last class holds the rest
        return (
            (reached < p.to(reached.device, reached.dtype).unsqueeze(-1))
            .sum(dim=-1)
            .to(reached.dtype)
        )

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        flat = self.probs.reshape(-1, self.logits.shape[-1])  # (targets, C)
        return (
            torch.multinomial(flat, 1, generator=generator).view(self.shape).to(self.logits.dtype)
        )

    def entropy(self) -> Float[Tensor, "..."]:
        return torch.special.entr(self.probs).sum(dim=-1)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """As in `Predictive`; exact: the ranked probability score of the classes as numbers.

        Between two classes the cdf is level, so what it adds is split at `y`; beyond the last one
        only the distance counts.
        """
        y = as_tensor(y, self.logits).unsqueeze(-1)
        reached = self.probs.cumsum(dim=-1)[..., :-1]
        below = (y - self.codes[:-1]).clamp(0, 1)  # share of each gap that lies below y
        beyond = (y - y.clamp(0, self.logits.shape[-1] - 1)).abs().squeeze(-1)
        return (below * reached.square() + (1 - below) * (1 - reached).square()).sum(
            dim=-1
        ) + beyond


class CategoricalHead(Head):
    """Two-layer decoder from the embedding of a query row's target to the logits of `max_classes`
    classes."""

    predicts = "classes"

    def __init__(self, d_model: int | None, d_hidden: int | None, max_classes: int) -> None:
        super().__init__(d_model, d_hidden, max_classes)
        self.max_classes = max_classes

    def forward(
        self, rows: Float[Tensor, "B Q E"], n_classes: Int[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B Q C"]:
        logits = super().forward(rows)  # (B, Q, C)
        if n_classes is None:
            return logits
        absent = (
            torch.arange(self.max_classes, device=logits.device) >= n_classes[:, None]
        )  # (B, C)
        return logits.masked_fill(absent[:, None, :], -torch.inf)

    def predictive(self, logits: Float[Tensor, "... C"]) -> Categorical:
        return Categorical(logits)

    def tempered(self, logits: Float[Tensor, "... C"], temperature: float) -> Categorical:
        return Categorical(logits / temperature)

    def loss(
        self, logits: Float[Tensor, "... C"], y: Float[Tensor, "..."] | Int[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """As in `Head`; `y` must hold classes."""
        flat = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(flat, y.flatten().long(), reduction="none").view(y.shape)
