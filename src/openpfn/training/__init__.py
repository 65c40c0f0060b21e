"""Training: one loop for every model."""

from openpfn.training.loop import TrainingStopped, train
from openpfn.training.tracking import TrainingEvent

__all__ = ["TrainingEvent", "TrainingStopped", "train"]
