"""Laws of classes of very different frequency, and of weights of rows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.utils.validation import has_fit_parameter

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.limits.imbalance import balanced
from tests.estimators.conftest import KernelNetwork, KernelRegression

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(400, 2))
y = np.where(X[:, 0] + 0.7 * RANDOM.normal(size=400) > 1.7, "rare", "usual")
TRAIN, TEST = slice(0, 250), slice(250, 400)


def test_balanced_probabilities_are_bayes_rule_with_even_classes():
    of_row = np.array([[0.8, 0.2], [0.95, 0.05]])
    assert_allclose(
        balanced(of_row, np.array([80, 20])),
        [[0.5, 0.5], [0.95 / 80 / (0.95 / 80 + 0.05 / 20), 0.05 / 20 / (0.95 / 80 + 0.05 / 20)]],
    )


def test_balanced_probabilities_find_the_rare_class():
    model = KernelNetwork()
    plain = PFNClassifier(model=model).fit(X[TRAIN], y[TRAIN])
    fair = PFNClassifier(model=model, balance_probabilities=True).fit(X[TRAIN], y[TRAIN])
    counts = np.array([(y[TRAIN] == c).sum() for c in fair.classes_])
    assert fair.class_counts_.tolist() == counts.tolist()
    expected = balanced(plain.predict_proba(X[TEST]), counts)
    assert_allclose(fair.predict_proba(X[TEST]), expected)
    scores = [balanced_accuracy_score(y[TEST], one.predict(X[TEST])) for one in (plain, fair)]
    assert scores[1] > scores[0] + 0.05


def test_a_threshold_can_be_tuned_by_scikit_learn():
    tuned = TunedThresholdClassifierCV(
        PFNClassifier(model=KernelNetwork(), n_estimators=1), scoring="balanced_accuracy", cv=3
    ).fit(X[TRAIN], y[TRAIN])
    plain = PFNClassifier(model=KernelNetwork()).fit(X[TRAIN], y[TRAIN])
    scores = [balanced_accuracy_score(y[TEST], one.predict(X[TEST])) for one in (plain, tuned)]
    assert scores[1] > scores[0] + 0.05


@pytest.mark.parametrize(
    "estimator", [PFNClassifier(model=KernelNetwork()), PFNRegressor(model=KernelRegression())]
)
def test_weights_of_rows_are_refused_with_advice(estimator):
    targets = (X[:40, 0] > 0) * 1
    with pytest.raises(
        TypeError, match=r"fit takes no sample_weight: .* Draw rows by their weights"
    ):
        estimator.fit(X[:40], targets, sample_weight=np.ones(40))
    with pytest.raises(TypeError, match="fit takes X and y alone, not groups"):
        estimator.fit(X[:40], targets, groups=targets)
    assert not has_fit_parameter(estimator, "sample_weight")
    estimator.fit(X[:40], targets, sample_weight=None)
