"""`shipped_names`: the checkpoints inside the package, by the kind of their networks."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

from openpfn.checkpoint.header import read_header
from openpfn.checkpoint.location import locate, todays_names


def shipped_names(model: Literal["tabular", "text"] | None = None) -> list[str]:
    """Return the names of the checkpoints inside the package; of a kind of network alone where
    `model` names one: "tabular" for those that `PFNClassifier` or `PFNRegressor` takes, "text" for
    those that read words."""
    return [name for name in todays_names() if model in (None, _kind_of(locate(name)))]


@cache
def _kind_of(path: Path) -> str:
    return read_header(path).model
