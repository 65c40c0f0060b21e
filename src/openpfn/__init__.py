"""OpenPFN: prior-fitted networks from the prior to the microcontroller."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "TaskBatch": "batch",
    "TaskPrior": "priors.base",
    "BayesianGenerator": "generators.bayesian",
    "DatasetGenerator": "generators.dataset",
    "DeterministicGenerator": "generators.deterministic",
    "MixtureGenerator": "generators.mixture",
    "ProgramGenerator": "generators.program",
    "UnsupervisedBayesian": "generators.unsupervised",
    "sample_batch": "generators.base",
    "sample_rows": "estimators.unsupervised.generation",
    "ClassificationConfig": "configs.sequence",
    "PriorConfig": "configs.prior",
    "RealTableConfig": "configs.real_table",
    "RegressionConfig": "configs.sequence",
    "TabularConfig": "configs.tabular",
    "TrainingConfig": "configs.training",
    "UnsupervisedConfig": "configs.sequence",
    "DistilledClassifier": "estimators.distilling.distilled",
    "DistilledRegressor": "estimators.distilling.distilled",
    "FineTuneOptions": "configs.fine_tuning",
    "PFN": "models",
    "PFNClassifier": "estimators",
    "PFNExplainer": "estimators.inspection.explainer",
    "PFNImputer": "estimators.unsupervised.imputer",
    "PFNOutlierDetector": "estimators.unsupervised.outliers",
    "PFNRegressor": "estimators",
    "PriorDumpDataLoader": "data.dump_reader",
    "TextTableClassifier": "estimators.text_tables",
    "TextTableRegressor": "estimators.text_tables",
    "create_h5_prior_from_dataset": "data.real_table_dump",
    "estimate_riemann_borders": "heads.bars",
    "get_default_device": "device",
    "plot_metric": "plots.metric",
    "train": "training",
    "WandbLogger": "training.tracking.weights_and_biases",
}

_FACES = ("bayes", "checkpointing", "configs", "generators", "wandb")
"""Modules that the document of pfn_transformers has users reach from here."""

__all__ = ["__version__", *_FACES, *_HOME]  # pyright: ignore[reportUnsupportedDunderAll] (the types stand in __init__.pyi)


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: importing openpfn alone loads no torch."""
    if name in _HOME:
        return getattr(importlib.import_module(f"openpfn.{_HOME[name]}"), name)
    if name in _FACES:
        return importlib.import_module(f"openpfn.{name}")
    raise AttributeError(f"module 'openpfn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
