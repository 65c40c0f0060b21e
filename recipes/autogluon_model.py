"""OpenPFN as a model of AutoGluon, and so of TabArena: give the class where a model's name goes.

from autogluon.tabular import TabularPredictor
from autogluon_model import OpenPFNModel
TabularPredictor("species").fit(table, hyperparameters={OpenPFNModel: [{}, {"fine_tune": True}]})
"""

from __future__ import annotations

from typing import Any

import numpy as np
from autogluon.core.models import AbstractModel  # pyright: ignore[reportMissingImports]

SHARE_OF_TIME = 0.8
"""Share of the time limit that fine-tuning may take; the rest is for reading and predicting."""


class OpenPFNModel(AbstractModel):
    """`PFNClassifier` or `PFNRegressor`; hyperparameters are those of their constructors.

    Whether all rows were shown or some of a bag, nothing but a context differs: refitting a bag on
    all rows costs a second.
    """

    ag_key = "OPENPFN"
    ag_name = "OpenPFN"
    ag_priority = 65
    seed_name = "random_state"

    def _fit(
        self,
        X: Any,
        y: Any,
        time_limit: float | None = None,
        num_cpus: int = 1,
        num_gpus: float = 0,
        **kwargs: Any,
    ) -> None:
        import torch

        from openpfn import FineTuneOptions, PFNClassifier, PFNRegressor

        torch.set_num_threads(max(1, int(num_cpus)))
        options = self._get_model_params()
        tuning = FineTuneOptions.of(options.pop("fine_tune", False))
        if tuning is not None and tuning.time_limit is None and time_limit is not None:
            tuning = FineTuneOptions(**{**vars(tuning), "time_limit": SHARE_OF_TIME * time_limit})
        is_classes = self.problem_type in ("binary", "multiclass")
        kind = PFNClassifier if is_classes else PFNRegressor
        device = "cuda" if num_gpus else "cpu"
        shown = self.preprocess(X, y=y, is_train=True)
        self.model: Any = kind(device=device, fine_tune=tuning or False, **options).fit(shown, y)

    def _predict_proba(self, X: Any, **kwargs: Any) -> np.ndarray:
        if self.problem_type != "quantile":
            return super()._predict_proba(X, **kwargs)
        levels = list(self.quantile_levels)
        rows = self.preprocess(X, **kwargs)
        return self.model.predict(rows, output="quantiles", quantiles=levels)

    def _set_default_params(self) -> None:
        for name, value in {"n_estimators": 4, "random_state": 0}.items():
            self._set_default_param_value(name, value)

    @classmethod
    def supported_problem_types(cls) -> list[str]:
        return ["binary", "multiclass", "regression", "quantile"]

    @classmethod
    def _get_default_ag_args_ensemble(cls, **kwargs: Any) -> dict[str, Any]:
        extra = {"fold_fitting_strategy": "sequential_local", "refit_folds": True}
        return super()._get_default_ag_args_ensemble(**kwargs) | extra

    def _get_default_resources(self) -> tuple[int, int]:
        return 1, 0

    def _more_tags(self) -> dict[str, bool]:
        return {"can_refit_full": True}


def search_space(n_configs: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return the defaults and random hyperparameters, for TabArena's tuning protocol."""
    random = np.random.default_rng(seed)
    drawn = [
        {
            "n_estimators": int(random.choice([4, 8, 16])),
            "calibrate": bool(random.random() < 0.5),
            "target_statistics": bool(random.random() < 0.5),
            "fine_tune": {"learning_rate": float(10 ** random.uniform(-4.5, -3))},
        }
        for _ in range(n_configs - 1)
    ]
    return [{}, *drawn][:n_configs]
