"""The kind of network that a configuration belongs to."""

from __future__ import annotations

from typing import Any

from openpfn.configs.published import PublishedConfig
from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.family import Family
from openpfn.export.network.published import PublishedFamily
from openpfn.export.network.tabular import TabularFamily


def family_of(config: Any) -> Family:
    """Return the family of a network's configuration. Raises ValueError where the C code carries
    none such."""
    if isinstance(config, TabularConfig):
        return TabularFamily(config)
    if isinstance(config, PublishedConfig):
        return PublishedFamily(config)
    raise ValueError(
        f"the network is a {type(config).__name__}; C code is written for the two-way table"
        " network (TabularConfig) and for imported ones with linear attention (PublishedConfig)."
    )
