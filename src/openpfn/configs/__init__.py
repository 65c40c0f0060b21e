"""Frozen configurations: each is the command line's options, the checkpoint's record and the docs
table."""

from openpfn.configs.presets import PRESETS, preset
from openpfn.configs.prior import PriorConfig
from openpfn.configs.real_table import RealTableConfig
from openpfn.configs.sequence import ClassificationConfig, RegressionConfig, UnsupervisedConfig
from openpfn.configs.tabular import TabularConfig
from openpfn.configs.training import TrainingConfig

Regression = RegressionConfig
Classification = ClassificationConfig
Unsupervised = UnsupervisedConfig

__all__ = [
    "PRESETS",
    "Classification",
    "ClassificationConfig",
    "PriorConfig",
    "RealTableConfig",
    "Regression",
    "RegressionConfig",
    "TabularConfig",
    "TrainingConfig",
    "Unsupervised",
    "UnsupervisedConfig",
    "preset",
]
