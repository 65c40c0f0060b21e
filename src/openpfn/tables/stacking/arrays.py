"""`Arrays`: what is made of arrays alone, and saved as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

Kind = TypeVar("Kind", bound="Arrays")


class Arrays:
    """Base of dataclasses whose fields are arrays."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all fields by name."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls: type[Kind], arrays: Mapping[str, np.ndarray]) -> Kind:
        """Return that whose `arrays()` these were."""
        return cls(**arrays)
