"""Short names for saving and loading the checkpoints of a training loop of your own."""

from openpfn.training.state_dicts import CheckpointMetadata, load_checkpoint, save_checkpoint

__all__ = ["CheckpointMetadata", "load_checkpoint", "save_checkpoint"]
