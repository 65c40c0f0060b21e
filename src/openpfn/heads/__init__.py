"""Heads: from embeddings to a `Predictive`; one kind of distribution, one file."""

from openpfn.heads.base import Head, Predictive
from openpfn.heads.categorical import Categorical

__all__ = ["Categorical", "Head", "Predictive"]
