"""One-vs-rest AUC against scikit-learn's, and where scikit-learn has no answer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from openpfn.tables.metrics import one_vs_rest_auc

RANDOM = np.random.default_rng(0)


def test_it_is_scikit_learns_where_all_classes_occur():
    y, p = np.arange(60) % 3, RANDOM.dirichlet(np.ones(3), 60)
    assert one_vs_rest_auc(y, p, [0, 1, 2]) == pytest.approx(roc_auc_score(y, p, multi_class="ovr"))
    assert one_vs_rest_auc(y > 0, p[:, :2], [False, True]) == pytest.approx(
        (roc_auc_score(y == 0, p[:, 0]) + roc_auc_score(y > 0, p[:, 1])) / 2
    )


def test_classes_without_rows_are_left_out():
    assert (
        one_vs_rest_auc(["a", "b"], np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), ["a", "b", "c"])
        == 1
    )
    assert np.isnan(one_vs_rest_auc(["a", "a"], np.ones((2, 1)), ["a"]))
