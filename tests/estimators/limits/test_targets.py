"""Laws of several targets at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.limits.targets import with_targets
from tests.estimators.conftest import NUMBERS, KernelNetwork, KernelRegression, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
LABELS = pd.DataFrame({"a": np.where(X[:, 0] > 0, "yes", "no"), "b": (X[:, 1] > 0) * 1})
NUMBERS_OF = np.stack([X[:, 0], X[:, 0] ** 2, 5 - X[:, 1]], axis=1)
QUERY = RANDOM.normal(size=(9, 3))


def test_each_target_is_predicted_as_alone():
    both = PFNClassifier(model=KernelNetwork()).fit(X, LABELS)
    assert both.predict(QUERY).shape == (9, 2)
    assert [list(classes) for classes in both.classes_] == [["no", "yes"], [0, 1]]
    for j, name in enumerate(LABELS):
        alone = PFNClassifier(model=KernelNetwork()).fit(X, LABELS[name])
        assert np.array_equal(both.predict_proba(QUERY)[j], alone.predict_proba(QUERY))
        assert both.predict(QUERY)[:, j].tolist() == alone.predict(QUERY).tolist()


def test_all_answers_of_a_regressor_have_an_axis_of_targets():
    fitted = PFNRegressor(model=random_network(NUMBERS), n_estimators=1).fit(X, NUMBERS_OF)
    alone = PFNRegressor(model=random_network(NUMBERS), n_estimators=1).fit(X, NUMBERS_OF[:, 1])
    for output in ("mean", "median", "quantiles"):
        several, one = (each.predict(QUERY, output=output) for each in (fitted, alone))
        assert several.shape == (9, 3, *one.shape[1:])
        assert np.array_equal(several[:, 1], one)
    assert len(fitted.predict(QUERY, output="distribution")) == 3
    low, high = fitted.interval(QUERY)
    assert low.shape == high.shape == (9, 3)
    assert fitted.sample(QUERY, 4, random_state=0).shape == (9, 3, 4)
    assert fitted.state_bytes_ == 3 * alone.state_bytes_


def test_a_chain_reads_the_targets_before():
    y = np.stack([X[:, 0] > 0, (X[:, 0] > 0) ^ (RANDOM.random(60) < 0.05)], axis=1) * 1
    chain = PFNClassifier(model=KernelNetwork(), chain=True).fit(X, y)
    assert [one.n_features_in_ for one in chain.estimators_ or ()] == [3, 4]
    first = chain.predict(QUERY)[:, 0]
    second = (chain.estimators_ or [])[1].predict(np.column_stack([QUERY, first]))
    assert np.array_equal(chain.predict(QUERY)[:, 1], second)
    numbers = PFNRegressor(model=KernelRegression(), chain=True).fit(X, NUMBERS_OF)
    assert [one.n_features_in_ for one in numbers.estimators_ or ()] == [3, 4, 5]
    assert numbers.predict(QUERY).shape == (9, 3)


def test_names_of_added_columns_are_free():
    table = pd.DataFrame({"target 0": [1.0], "b": [2.0]}, index=[7])
    assert list(with_targets(table, [np.array([3]), np.array([4])])) == [
        "target 0",
        "b",
        "target 0'",
        "target 1",
    ]
    assert list(with_targets(pd.DataFrame([[1.0]]), [np.array([3])])) == [0, 1]


@pytest.mark.parametrize("chain", [False, True])
def test_several_targets_can_be_saved_and_come_in_parts(chain, tmp_path):
    fitted = PFNRegressor(model=random_network(NUMBERS), n_estimators=1, chain=chain)
    fitted.partial_fit(X[:30], NUMBERS_OF[:30]).partial_fit(X[30:], NUMBERS_OF[30:])
    path = fitted.save(tmp_path / "several.safetensors")
    again = PFNRegressor.load(path)
    assert_allclose(again.predict(QUERY), fitted.predict(QUERY))
    assert again.chain is chain
    with pytest.raises(ValueError, match="features"):
        again.predict(QUERY[:, :2])
    labels = PFNClassifier(model=KernelNetwork()).fit(X, LABELS)
    assert labels.fit(X, LABELS["a"]).predict_proba(QUERY).shape == (9, 2)


def test_believers_and_students_take_one_target():
    with pytest.raises(ValueError, match=r"y holds several targets\. Ask about one"):
        PFNClassifier(model=KernelNetwork()).believer(X, LABELS)
    with pytest.raises(ValueError, match=r"Distil one of estimators_ at a time"):
        PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(X, LABELS).distill()
