"""Weights of rows, which a context does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse(estimator: Any, unknown: Mapping[str, Any]) -> None:
    """Raise TypeError for keywords that `fit` does not take. Those who ask by its signature, as
    scikit-learn does, see that it takes no weights."""
    given = [keyword for keyword, value in unknown.items() if value is not None]
    name = type(estimator).__name__
    if "sample_weight" in given:
        raise TypeError(
            f"{name}.fit takes no sample_weight: a network reads the rows of its context, and none"
            " of them counts more. Draw rows by their weights, such as"
            " X.sample(len(X), weights=sample_weight, replace=True), and fit these."
        )
    if given:
        raise TypeError(f"{name}.fit takes X and y alone, not {', '.join(given)}.")
