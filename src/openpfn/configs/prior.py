"""`PriorConfig`: the shapes and column types of the tasks that a tabular prior draws."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PriorConfig:
    """Shapes and column types of tabular classification tasks. Names and defaults follow TinyPFN's document."""

    min_features: int = 1
    """Fewest columns."""
    max_features: int = 100
    """Most columns."""
    min_seq_len: int | None = None
    """Fewest rows; None makes every task `max_seq_len` long."""
    max_seq_len: int = 1024
    """Most rows, context and query together."""
    min_classes: int = 2
    """Fewest classes."""
    max_classes: int = 10
    """Most classes."""
    min_context_share: float = 0.1
    """Smallest share of rows that is context."""
    max_context_share: float = 0.9
    """Largest share of rows that is context."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_features <= self.max_features:
            raise ValueError(f"min_features {self.min_features} and max_features {self.max_features} must satisfy 1 ≤ min ≤ max.")
        if not 2 <= self.min_classes <= self.max_classes:
            raise ValueError(f"min_classes {self.min_classes} and max_classes {self.max_classes} must satisfy 2 ≤ min ≤ max.")
        if self.max_seq_len < 4 or not 4 <= (self.min_seq_len or self.max_seq_len) <= self.max_seq_len:
            raise ValueError(f"min_seq_len {self.min_seq_len} and max_seq_len {self.max_seq_len} must satisfy 4 ≤ min ≤ max.")
        if not 0 < self.min_context_share <= self.max_context_share < 1:
            raise ValueError(f"min_context_share {self.min_context_share} and max_context_share {self.max_context_share} must satisfy 0 < min ≤ max < 1.")
