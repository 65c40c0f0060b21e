"""Protocols: what the rest of the library asks of a network. One of your own needs no base class of
this package."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.heads.base import Predictive


@runtime_checkable
class Trainable(Protocol):
    """A network that `train` can train, and `checkpoint` write."""

    config: Any
    """The dataclass that `PFN` builds the network from."""

    def loss(self, batch: TaskBatch) -> Float[Tensor, ""]:
        """Return the training loss, a mean over the predicted rows."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """A network, or an exact posterior's stand-in for one, that says what it believes."""

    def predictive(self, batch: TaskBatch) -> Predictive:
        """The distribution of each query row's target given the context."""
        ...


@runtime_checkable
class ReadingSequences(Predicting, Protocol):
    """A network that predicts every row from those before it, too."""

    def prefixes(self, batch: TaskBatch) -> Predictive:
        """The distribution of each row's target given the rows before it, (B, N)."""
        ...


@runtime_checkable
class KeepingContext(Protocol):
    """A network that reads a context once and then answers any query rows: what estimators and
    exported programs build on."""

    config: Any

    def summarize(self, batch: TaskBatch) -> Any:
        """The state that the context rows leave, a NamedTuple of tensors and such states."""
        ...

    def read(self, x: Float[Tensor, "B Q D"], state: Any) -> Float[Tensor, "B Q outputs"]:
        """The logits of query rows."""
        ...
