"""Believers: sequence networks, exact posteriors, table networks and estimators, all asked and
rolled out in one way."""

from __future__ import annotations

from typing import Any

import numpy as np

from openpfn.bayes.believers.base import Believer
from openpfn.bayes.believers.exact import ExactBeliever
from openpfn.bayes.believers.refitted import RefittedClassifier
from openpfn.bayes.believers.sequence import SequenceBeliever
from openpfn.bayes.believers.table import TableBeliever, View
from openpfn.bayes.exact import ExactPosterior
from openpfn.models.sequence.backbone import SequenceNetwork

__all__ = ["Believer", "TableBeliever", "View", "believer_of"]


def believer_of(
    model: Any,
    x: Any = None,
    y: Any = None,
    *,
    n_classes: int | None = None,
    refit: str = "each",
    cached: bool = True,
) -> Believer:
    """Return the `Believer` for `model`, whose context is `x` and `y`.

    `model` is a sequence network, an `ExactPosterior`, a table network, anything with
    `predictive(batch)`, or an estimator with `fit` and `predict_proba`, which reads `x` and `y`
    here. Raises TypeError for anything else, ValueError for options that do not go with it.
    """
    if refit not in ("each", "frozen"):
        raise ValueError(f"refit is {refit!r}, must be 'each' or 'frozen'.")
    if isinstance(model, Believer):
        return model
    if isinstance(model, SequenceNetwork | ExactPosterior) and refit == "frozen":
        raise ValueError(
            "refit is 'frozen', which is for two-way table networks: here earlier rows never"
            " change, so rollouts are exact and fast anyway. Leave refit out."
        )
    if isinstance(model, SequenceNetwork):
        return SequenceBeliever(model, cached)
    if isinstance(model, ExactPosterior):
        return ExactBeliever(model)
    if callable(getattr(model, "believer", None)):
        check_classes_given(model, y)
        return model.believer(x, y, refit=refit)
    if callable(getattr(model, "predictive", None)):
        return TableBeliever(model, classes_of(model, y, n_classes), refit)
    if callable(getattr(model, "fit", None)) and callable(getattr(model, "predict_proba", None)):
        check_classes_given(model, y)
        return RefittedClassifier(model, x, y)
    if callable(getattr(model, "fit", None)):
        raise TypeError(
            f"{type(model).__name__} predicts numbers without a distribution to draw them from."
            " Give a network, an exact posterior, or an estimator with predict_proba."
        )
    raise TypeError(
        f"model is a {type(model).__name__}; expected a network, an exact posterior of"
        " openpfn.bayes.exact, or an estimator with fit and predict_proba."
    )


def classes_of(model: Any, y: Any, n_classes: int | None) -> int | None:
    """Return the number of classes of a table network's task: as given, or, where the network
    predicts classes alone, as many as `y` holds; None for numbers."""
    if n_classes is not None:
        return n_classes
    config = getattr(model, "config", None)
    tells_classes = getattr(config, "head", None) is not None
    tells_numbers = getattr(config, "regression_head", None) is not None
    if tells_numbers or not tells_classes or y is None or not len(y):
        return None
    highest = np.nanmax(np.asarray(y, dtype=np.float64))  # what is missing is told later
    return max(2, int(highest) + 1)


def check_classes_given(model: Any, y: Any) -> None:
    """Raise ValueError where a classifier is to learn numbers that are no classes."""
    if y is None or not len(y):
        raise ValueError(
            f"the context is empty: {type(model).__name__} needs rows x and y. Give a context, or a"
            " network that draws from its prior."
        )
    values = np.asarray(y)
    is_classifier = getattr(model, "_estimator_type", None) == "classifier" or callable(
        getattr(model, "predict_proba", None)
    )
    if is_classifier and values.dtype.kind == "f" and not bool((values == np.floor(values)).all()):
        if bool(np.isnan(values).any()):
            raise ValueError(
                f"y holds NaN: {int(np.isnan(values).sum())} targets are missing. Leave those rows"
                " out."
            )
        raise ValueError(
            f"y holds numbers such as {values[values != np.floor(values)][0]:g}, but"
            f" {type(model).__name__} is a classifier. Give a model that predicts numbers, or"
            " classes as y."
        )
