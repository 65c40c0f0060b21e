"""`TaskPrior`: a distribution over tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig


class TaskPrior(ABC):
    """A distribution over tasks. A subclass in its own file of this folder is found by the name of the file.

    Instances are picklable (worker processes receive a copy) and hold no random state of their own.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type] = PriorConfig
    """What the command line makes the prior with, as `Class(config)`."""

    @abstractmethod
    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        """`n_tasks` tasks, vectorised; all randomness comes from `generator`, on whose device they are made."""

    def for_evaluation(self) -> TaskPrior:
        """The prior whose tasks tell how good a network is that was trained on this one's.

        It is this one where every task is new; a prior over a limited table keeps some of it apart.
        """
        return self
