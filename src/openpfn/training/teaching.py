"""`TaughtLoss`: the loss of a network that learns classes from another network's answers."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.models.tabular.network import TabularPFN

OWN_CLASSES = ("is_real", "has_scores")
"""Latents of tasks of which a teacher is not asked."""


class TaughtLoss:
    """Cross-entropy to the probabilities that a teacher gives to the query rows' classes (Hinton et
    al. 2015), in place of the classes themselves; for numbers the network's own loss. Tasks of real
    tables (latent `is_real`) are learned from their own classes.

    So a network learns something new without forgetting what the teacher knows (Li and Hoiem
    2017), and from one task as much as from many labels.
    """

    def __init__(self, model: Any, teacher: TabularPFN) -> None:
        self.model, self.teacher = model, teacher

    def __call__(self, batch: TaskBatch) -> Float[Tensor, ""]:
        if batch.n_classes is None:
            return self.model.loss(batch)
        with torch.no_grad():
            wanted = self._wanted(batch)
        told = self.model(batch).log_softmax(-1)
        # classes that a task does not have: 0 times −inf
        return -(wanted * told.masked_fill(wanted == 0, 0)).sum(-1).mean()

    def _wanted(self, batch: TaskBatch) -> Float[Tensor, "B Q classes"]:
        """Return the probabilities to learn; the teacher is asked about synthetic tasks alone."""
        marked = [batch.latents[name] != 0 for name in OWN_CLASSES if name in batch.latents]
        if not marked:
            return self.teacher(batch).softmax(-1)
        n_classes = self.teacher.config.max_classes
        wanted = torch.nn.functional.one_hot(batch.y_query.long(), n_classes).float()
        asked = ~torch.stack(marked).any(0)
        if asked.any():
            wanted[asked] = self.teacher(batch.tasks(asked)).softmax(-1).float()
        return wanted


def loss_of(model: Any, teacher: str | None, device: torch.device) -> Any:
    """Return the loss that `model` is trained with: its own, or that of a pupil of the checkpoint
    `teacher`.

    Raises ValueError where one of the two is no table network that predicts as many classes as the
    other.
    """
    if teacher is None:
        return model.loss
    loaded = checkpoint.load(teacher).model
    for name, network in (("the network", model), (f"the teacher {teacher}", loaded)):
        if not isinstance(network, TabularPFN) or network.config.head is None:
            raise ValueError(
                f"{name} is no table network that predicts classes, so there is nothing to teach."
                " Leave teacher out, or take a checkpoint such as nano."
            )
    ours, theirs = model.config.max_classes, loaded.config.max_classes
    if ours != theirs:
        raise ValueError(
            f"the teacher {teacher} tells {theirs} classes apart and the network {ours}. Take"
            f" max_classes={theirs}, or another teacher."
        )
    return TaughtLoss(model, loaded.to(device).eval().requires_grad_(False))
