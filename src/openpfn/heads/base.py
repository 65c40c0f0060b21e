"""`Predictive`: what a model or an exact posterior says about a target it has not seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Predictive(ABC):
    """A distribution per target, over leading axes `...` (usually tasks × query rows)."""

    @abstractmethod
    def log_prob(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Log-probability, or log-density, of `y` in nats."""

    @abstractmethod
    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        """One draw per target."""

    @abstractmethod
    def entropy(self) -> Float[Tensor, "..."]:
        """Entropy in nats."""


class Head(nn.Module, ABC):
    """Turns the final embedding of each target into a `Predictive`, by way of logits."""

    aliases: ClassVar[tuple[str, ...]] = ()
