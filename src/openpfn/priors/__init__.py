"""Priors over tasks: one prior, one file; found by the file's name."""

from openpfn.priors.base import TaskPrior

__all__ = ["TaskPrior"]
