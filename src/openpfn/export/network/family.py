"""`Family`: what the C code of one kind of network is made of, in flash, in memory and in work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from openpfn.export.network.mechanisms import RowMechanism, Weights
from openpfn.export.options import Backend

Macros = dict[str, Any]
"""Whole numbers, or C source, by the names of the macros that stand for them."""


@dataclass(frozen=True)
class Family(ABC):
    """What the C code of one network depends on; a subclass for each kind of network."""

    name: ClassVar[str]
    """What the names of the kind's runtime files begin with."""
    config: Any
    """The network's configuration."""

    @property
    def n_passes(self) -> int:
        """How many layers a row passes, those of every loop."""
        return self.config.n_layers

    @property
    @abstractmethod
    def mechanism(self) -> RowMechanism:
        """The attention between rows. Raises ValueError for one that the C code does not carry."""

    @property
    @abstractmethod
    def backends(self) -> tuple[Backend, ...]:
        """Backends that carry the network; raises as `mechanism` does."""

    @abstractmethod
    def check(self, backend: Backend) -> None:
        """Raise ValueError, saying what the C code carries, where the configuration asks for
        more."""

    @abstractmethod
    def gather(self, model: Any, max_classes: int) -> Weights:
        """Return the weights of `model` as the C structs name them, with the rows of the first
        `max_classes` classes."""

    @abstractmethod
    def macros(self) -> Macros:
        """Return the macros of pfn_model.h beside the sizes that every network has."""

    @abstractmethod
    def arithmetic(self, backend: Backend) -> list[str]:
        """Return the names of the runtime files with the arithmetic, in order."""

    @abstractmethod
    def matrices(self, n_classes: int) -> list[tuple[int, int]]:
        """Return the rows and columns of every matrix in flash."""

    def layer_matrices(self) -> list[tuple[int, int]]:
        """Return those of one layer: two attentions and an MLP."""
        width, hidden = self.config.d_model, self.config.d_mlp
        attention = [(width, width), (2 * width, width), (width, width)]
        return attention * 2 + [(hidden, width), (width, hidden)]

    @abstractmethod
    def plain_bytes(self, n_classes: int, backend: Backend) -> int:
        """Return the flash of the weights that stand in no matrix, such as biases."""

    @abstractmethod
    def own_context_bytes(self) -> int:
        """Return what a context holds beside the fields that every network has."""

    @abstractmethod
    def working_bytes(self, max_features: int, max_classes: int, backend: Backend) -> int:
        """Return the scratch memory beside the row of values."""

    @abstractmethod
    def column_operations(self, n_columns: int, asking: int) -> int:
        """Return the pairs of multiplication and addition by which `asking` of a row's columns read
        all of them."""

    @abstractmethod
    def embedding_operations(self, n_columns: int) -> int:
        """Return the pairs that embed a row."""
