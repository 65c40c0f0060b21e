"""Sentences that stand for the cells and targets of a table, in TabSTAR's two versions (Arazi et
al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MISSING = "Unknown Value"
"""What a cell without a value says."""
TemplateName = Literal["v1", "v1.1"]


@dataclass(frozen=True)
class Template:
    """How cells become sentences, and how many numbers go with each."""

    name: TemplateName
    n_numbers: int
    """Numbers of a cell: the standardised value, or six of `NumberScale.six`."""
    says_bins: bool
    """Whether the sentence of a number says in which tenth of the training values it lies."""

    def cell(self, column: str, value: str | None) -> str:
        """Return the sentence of a cell; `value` None says that there is none."""
        return f"Predictive Feature: {column}\nFeature Value: {MISSING if value is None else value}"

    def number(self, column: str) -> str:
        """Return the sentence of a number where it says no bin."""
        return f"Numerical Feature: {column}"

    def class_token(self, target: str, label: str) -> str:
        """Return the sentence of a class."""
        return f"Target Feature: {target}\nFeature Value: {label}"

    def number_token(self, target: str) -> str:
        """Return the sentence of a target that is a number."""
        return f"Numerical Target Feature: {target}"


TEMPLATES: dict[str, Template] = {
    "v1": Template("v1", 1, says_bins=True),
    "v1.1": Template("v1.1", 6, says_bins=False),
}


def find_template(name: str) -> Template:
    """Return the template called `name`. Raises ValueError for an unknown one."""
    if name not in TEMPLATES:
        raise ValueError(f"template is {name!r}. Choose one of {', '.join(TEMPLATES)}.")
    return TEMPLATES[name]
