"""Row attention: one mechanism, one file; found by the file's name."""

from openpfn.attention.base import RowAttention, State

__all__ = ["RowAttention", "State"]
