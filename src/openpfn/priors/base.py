"""`TaskPrior`: a distribution over tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig


class TaskPrior(ABC):
    """A distribution over tasks. A subclass in its own file of this folder is found by the name of
    the file.

    Instances are picklable (worker processes receive a copy) and hold no random state of their own.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type | None] = PriorConfig
    """What the command line makes the prior with, as `Class(config)`; None where a prior is made in
    Python alone."""

    @abstractmethod
    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        """`n_tasks` tasks, vectorised; all randomness comes from `generator`, on whose device they
        are made."""

    def for_evaluation(self) -> TaskPrior:
        """The prior whose tasks tell how good a network is that was trained on this one's.

        It is this one where every task is new; a prior over a limited table keeps some of it apart.
        """
        return self

    def of_length(self, seq_len: int) -> TaskPrior:
        """This prior with tasks of `seq_len` rows; itself where the prior decides about rows."""
        return self

    def task_pools(self) -> dict[str, Tensor]:
        """The finite pools (M, …) that parameters of tasks are taken from, by name; empty where
        every task is new."""
        return {}


def made(name: Any, config: Any) -> TaskPrior:
    """Return the prior that `name` stands for, made with `config`; an instance ("module:object", or
    itself) as it is.

    Raises ValueError for the name of a prior that is made in Python alone.
    """
    if isinstance(name, str) and name in _made_in_python_alone():
        raise _made_in_python(name, f"{name.title()}Generator")
    found = registry.find("priors", name, TaskPrior)
    if isinstance(found, TaskPrior):
        return found
    if found.config_class is None:
        raise _made_in_python(name, found.__name__)
    return found(config)


def _made_in_python_alone() -> set[str]:
    return set(registry.names("generators")) - set(registry.names("priors"))


def _made_in_python(name: str, kind: str) -> ValueError:
    return ValueError(
        f"{name!r} is made in Python, not from options. Make one in a file of yours, prior ="
        f" {kind}(…) in my_prior.py, and give 'my_prior:prior'."
    )
