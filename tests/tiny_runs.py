"""A table network that trains in a blink, for the tests of tracking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toy_training import ToyPrior

from openpfn.configs import TabularConfig, TrainingConfig
from openpfn.training import train

NETWORK = TabularConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=2)


def config(folder: Path, **changes: Any) -> TrainingConfig:
    fields = {
        "num_steps": 4,
        "batch_size": 2,
        "log_every": 2,
        "save_every": 2,
        "n_workers": 0,
        "checkpoint_dir": str(folder),
    }
    return TrainingConfig(**fields | changes)


def trained(
    folder: Path,
    network: TabularConfig = NETWORK,
    data_config: Any = None,
    prior: Any = None,
    **changes: Any,
) -> Any:
    """A network of one short run; keywords are fields of its TrainingConfig."""
    return train(prior or ToyPrior(), network, config(folder, **changes), data_config=data_config)
