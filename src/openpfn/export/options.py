"""Options of an exported library: what computes, and how large its tables may be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from openpfn.export.prefix import PREFIX, check_prefix

Backend = Literal["f32", "int8", "int"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)


@dataclass(frozen=True)
class CodeOptions:
    """Arithmetic and largest tables of a library."""

    backend: Backend = "f32"
    """f32: weights and arithmetic in float32. int8: weights in 8 bits, arithmetic in float32. int:
    weights in 8 bits, arithmetic in integers, with exponents calibrated on tasks of the prior
    `mixture`."""
    max_features: int = 8
    """Most features of a table."""
    max_classes: int | None = None
    """Most classes of a table; the weights of further ones are left out. None: as many as the
    network tells apart."""
    prefix: str = PREFIX
    """What every function, type, macro and file of the library begins with; macros in capitals."""

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}, must be one of {', '.join(BACKENDS)}.")
        if not 1 <= self.max_features <= 254:
            raise ValueError(f"max_features is {self.max_features}, must lie between 1 and 254.")
        if self.max_classes is not None and self.max_classes < 2:
            raise ValueError(f"max_classes is {self.max_classes}, must be at least 2.")

    def for_network(self, network_classes: int) -> CodeOptions:
        """Return the options with `max_classes` settled for a network of `network_classes`.

        Raises ValueError where more are asked for than the network tells apart.
        """
        if self.max_classes is None:
            return replace(self, max_classes=network_classes)
        if self.max_classes > network_classes:
            raise ValueError(
                f"max_classes is {self.max_classes}, but the network tells at most"
                f" {network_classes} classes apart. Ask for fewer, or leave max_classes out."
            )
        return self
