"""Models: `PFN(config)` builds the network that a configuration describes."""

from __future__ import annotations

import importlib
from typing import Any

from openpfn.models.tabular.network import TableState, TabularPFN

__all__ = ["PFN", "TableState", "TabularPFN"]


def PFN(config: Any) -> Any:
    """The network that `config` describes, with fresh weights."""
    module = getattr(type(config), "model", None)
    if module is None:
        raise TypeError(
            f"got a {type(config).__name__}; expected a model configuration such as TabularConfig"
            " or RegressionConfig."
        )
    return importlib.import_module(f"openpfn.models.{module}.network").build(config)
