"""Short names for finding and loading what was trained, at Weights & Biases or in a registry on
disk."""

from openpfn.training.tracking.names import ParsedRunName, RunNameScheme, create_run_name
from openpfn.training.tracking.pretrained import (
    CheckpointInfo,
    ModelInfo,
    get_checkpoint_metadata,
    list_available_models,
    list_checkpoints,
    load_by_config,
    load_from_pretrained,
)
from openpfn.training.tracking.registry import RunRegistry
from openpfn.training.tracking.weights_and_biases import WandbLogger

__all__ = [
    "CheckpointInfo",
    "ModelInfo",
    "ParsedRunName",
    "RunNameScheme",
    "RunRegistry",
    "WandbLogger",
    "create_run_name",
    "get_checkpoint_metadata",
    "list_available_models",
    "list_checkpoints",
    "load_by_config",
    "load_from_pretrained",
]
