"""Bars of importance show the columns that count, with their names and signs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from openpfn.estimators.inspection.explainer import Explanation
from openpfn.plots.importance import importance


def bars_of(axes) -> dict[str, float]:
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    return {name: bar.get_width() for name, bar in zip(names, axes.patches, strict=True)}


def explanation(n_classes: int | None = None) -> Explanation:
    values = np.array([[1.0, -3.0, 0.5], [1.0, 1.0, -0.5]])
    if n_classes is None:
        return Explanation(values, np.zeros(2), np.zeros((2, 3)), ["a", "b", "c"])
    scaled = values[:, :, None] * np.arange(1, n_classes + 1)
    names = [f"k{i}" for i in range(n_classes)]
    return Explanation(scaled, np.zeros((2, n_classes)), np.zeros((2, 3)), ["a", "b", "c"], names)


def test_mean_sizes_stand_in_order():
    axes = importance(explanation())
    assert bars_of(axes) == {"b": 2.0, "a": 1.0, "c": 0.5}
    assert "mean size of Shapley values" in axes.get_xlabel()


def test_one_row_keeps_its_signs():
    axes = importance(explanation()[0])
    assert bars_of(axes) == {"b": -3.0, "a": 1.0, "c": 0.5}
    colors = {bar.get_facecolor() for bar in axes.patches}
    assert len(colors) == 2


def test_classes_are_chosen_by_name_or_averaged():
    assert bars_of(importance(explanation(2), output="k1"))["b"] == 4.0
    assert bars_of(importance(explanation(2)))["b"] == 3.0
    assert bars_of(importance(explanation(2)[0], output=1))["b"] == -6.0
    with pytest.raises(ValueError, match="output is 'k7', must be one of k0, k1"):
        importance(explanation(2), output="k7")
    with pytest.raises(ValueError, match="one row and several classes"):
        importance(explanation(2)[0])


def test_permutation_importance_has_whiskers_and_numbers_are_drawn():
    found = SimpleNamespace(
        importances_mean=np.array([0.1, 0.3]), importances_std=np.array([0.01, 0.02])
    )
    axes = importance(found, ["x", "y"])
    assert bars_of(axes) == {"y": 0.3, "x": 0.1}
    assert len(axes.containers) == 2  # bars and whiskers
    many = importance(np.arange(30.0), most=10)
    assert len(many.patches) == 10
    assert "(20 more columns)" in many.get_xlabel()
    assert next(iter(bars_of(many))) == "column 29"


def test_names_must_fit():
    with pytest.raises(ValueError, match="names holds 1 names, but there are values of 2"):
        importance([1.0, 2.0], ["a"])
    with pytest.raises(ValueError, match="most is 0"):
        importance([1.0], most=0)
