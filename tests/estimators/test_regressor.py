"""Laws of the regressor: what a prediction may depend on, what it takes, what it refuses."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import DataConversionWarning
from sklearn.model_selection import cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from openpfn import PFNClassifier, PFNRegressor, checkpoint
from tests.estimators.conftest import NUMBERS, SMALL, KernelRegression, random_network

NETWORK = random_network(NUMBERS)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 4))
X[::9, 1] = np.nan
y = np.exp(X[:, 0]) + 0.1 * RANDOM.normal(size=40)
X_QUERY = RANDOM.normal(size=(21, 4))


def fitted(**parameters: Any) -> PFNRegressor:
    return PFNRegressor(**{"model": NETWORK, **parameters}).fit(X, y)


@pytest.mark.slow
@settings(max_examples=3)
@given(seed=st.integers(0, 10**6))
def test_row_order_of_the_context_does_not_matter(seed):
    order = np.random.default_rng(seed).permutation(len(y))
    permuted = PFNRegressor(model=NETWORK).fit(X[order], y[order]).predict(X_QUERY)
    assert np.array_equal(permuted, fitted().predict(X_QUERY))


@pytest.mark.slow
@pytest.mark.parametrize("output", ["mean", "median", "mode", "quantiles"])
def test_a_row_alone_is_predicted_as_in_a_batch(output):
    regressor = fitted()
    together = regressor.predict(X_QUERY, output=output)
    for parts in (np.split(X_QUERY, 21), np.split(X_QUERY, [5, 6])):
        alone = np.concatenate([regressor.predict(part, output=output) for part in parts])
        assert_allclose(alone, together, atol=1e-5)


@pytest.mark.slow
def test_less_memory_changes_no_answer(monkeypatch):
    whole = fitted()
    monkeypatch.setattr("openpfn.estimators.regressor.LEAST_ROWS_AT_ONCE", 8)
    monkeypatch.setattr("openpfn.estimators.contexts.numbers.NUMBERS_AT_ONCE", 1)
    for limit in (10**5, 1):
        small = fitted(memory_limit=limit)
        some = X_QUERY[:13]
        assert_allclose(small.predict(some), whole.predict(some), atol=1e-5)
        samples = small.sample(some, 3, random_state=0)
        assert_allclose(samples, whole.sample(some, 3, random_state=0), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1e-310, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("centre", [0.0, -3.0])
def test_the_unit_of_the_target_does_not_matter(unit, centre):
    plain = PFNRegressor(model=NETWORK).fit(X, y + centre)
    scaled = PFNRegressor(model=NETWORK).fit(X, (y + centre) * unit)
    tolerance = 1e-9 if unit > 1e-300 else 1e-6  # few digits are left there
    assert_allclose(scaled.predict(X_QUERY) / unit, plain.predict(X_QUERY), atol=tolerance)
    interval = np.array(scaled.interval(X_QUERY)) / unit
    assert_allclose(interval, plain.interval(X_QUERY), atol=tolerance)


def test_digits_of_a_target_far_from_zero_are_kept():
    whole = np.arange(40.0) % 7
    near = PFNRegressor(model=NETWORK).fit(X, whole).predict(X_QUERY)
    far = PFNRegressor(model=NETWORK).fit(X, whole + 2.0**40).predict(X_QUERY)
    assert_allclose(far - 2.0**40, near, atol=1e-3)


def test_the_largest_numbers_stay_finite():
    largest = np.finfo(np.float64).max
    regressor = PFNRegressor(model=NETWORK).fit(X, np.where(y > 1, largest, -largest))
    for answer in (regressor.predict(X_QUERY), *regressor.interval(X_QUERY, 0.999)):
        assert np.isfinite(answer).all()


@pytest.mark.parametrize("value", [0.0, 2.5, -1e300, 1e-320])
def test_a_constant_target_is_certain(value):
    regressor = PFNRegressor(model=NETWORK).fit(X, np.full(40, value))
    for output in ("mean", "median", "mode"):
        assert (regressor.predict(X_QUERY, output=output) == value).all()
    low, high = regressor.interval(X_QUERY)
    assert (low == value).all()
    assert (high == value).all()
    assert (regressor.sample(X_QUERY, 2) == value).all()
    believed = regressor.predict(X_QUERY, output="distribution")
    assert (believed.crps(value) == 0).all()
    assert (believed.cdf(np.nextafter(value, -np.inf)) == 0).all()
    assert (believed.std == 0).all()


def test_one_row_is_repeated():
    regressor = PFNRegressor(model=NETWORK).fit([[1.0]], [3])
    assert regressor.predict([[5.0], [1.0]]).tolist() == [3.0, 3.0]


def test_all_answers_are_of_one_distribution():
    regressor = fitted()
    believed = regressor.predict(X_QUERY, output="distribution")
    assert_allclose(regressor.predict(X_QUERY), believed.mean)
    assert_allclose(regressor.predict(X_QUERY, output="median"), believed.median)
    assert_allclose(regressor.predict(X_QUERY, output="mode"), believed.mode)
    levels = [0.9, 0.05, 0.5]
    quantiles = regressor.predict(X_QUERY, output="quantiles", quantiles=levels)
    assert_allclose(quantiles.T, believed.quantile(levels))
    low, high = regressor.interval(X_QUERY, 0.8)
    assert_allclose((low, high), believed.interval(0.8))
    assert_allclose(believed.cdf(torch.from_numpy(high)), 0.9)
    draws = regressor.sample(X_QUERY[:3], 20_000, random_state=0)
    assert draws.shape == (3, 20_000)
    few = believed.std[:3].numpy() / 20_000**0.5
    assert (np.abs(draws.mean(axis=1) - regressor.predict(X_QUERY[:3])) < 5 * few).all()
    assert_allclose((draws < high[:3, None]).mean(axis=1), 0.9, atol=0.01)


def test_quantiles_and_means_of_the_ensemble_are_those_of_its_members_on_average():
    regressor = fitted(n_estimators=3)
    together = regressor.predict(X_QUERY), regressor.predict(X_QUERY, output="quantiles")
    members, alone = regressor.context_.members, []
    for member in members:
        regressor.context_ = regressor.make_context(
            regressor.context_.ready_network(),
            [member],
            regressor.context_.rows,
            regressor.context_.targets,
            regressor.context_.categorical,
        )
        alone.append((regressor.predict(X_QUERY), regressor.predict(X_QUERY, output="quantiles")))
    for i, whole in enumerate(together):
        assert not np.allclose(alone[0][i], alone[1][i])
        assert_allclose(np.mean([answers[i] for answers in alone], axis=0), whole, atol=1e-4)


def test_samples_are_decided_by_the_seed_and_not_by_later_rows():
    regressor = fitted()
    draws = regressor.sample(X_QUERY, 5, random_state=1)
    assert np.array_equal(draws, regressor.sample(X_QUERY, 5, random_state=1))
    assert_allclose(draws[:8], regressor.sample(X_QUERY[:8], 5, random_state=1), atol=1e-5)
    assert not np.allclose(draws, regressor.sample(X_QUERY, 5, random_state=2))
    assert not np.allclose(regressor.sample(X_QUERY), regressor.sample(X_QUERY))


@pytest.mark.slow
def test_more_members_change_the_answer_and_the_seed_decides_how():
    def answer(**parameters: Any) -> np.ndarray:
        return fitted(**parameters).predict(X_QUERY)

    assert np.array_equal(answer(random_state=1), answer(random_state=1))
    assert not np.allclose(answer(random_state=1), answer(random_state=2), atol=1e-6)
    assert not np.allclose(answer(n_estimators=1), answer(n_estimators=4), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        y.astype(np.float32),
        y.tolist(),
        pd.Series(y),
        pd.Series(y, index=range(100, 140)),
        pd.Series(y).astype("Float64"),
        y.astype(object),
    ],
    ids=["float32", "list", "series", "indexed", "nullable", "objects"],
)
def test_targets_of_any_numeric_type_are_taken(target):
    assert_allclose(
        PFNRegressor(model=NETWORK).fit(X, target).predict(X_QUERY),
        fitted().predict(X_QUERY),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.slow
def test_whole_numbers_and_truth_values_are_numbers():
    whole = (10 * y).astype(int)
    expected = PFNRegressor(model=NETWORK).fit(X, whole.astype(float)).predict(X_QUERY)
    for target in (whole, pd.Series(whole, dtype="Int64"), whole.astype(object)):
        assert np.array_equal(PFNRegressor(model=NETWORK).fit(X, target).predict(X_QUERY), expected)
    truths = PFNRegressor(model=NETWORK).fit(X, y > 1).predict(X_QUERY)
    assert np.array_equal(
        truths, PFNRegressor(model=NETWORK).fit(X, 1.0 * (y > 1)).predict(X_QUERY)
    )


@pytest.mark.slow
def test_a_column_is_read_as_a_vector_with_a_warning():
    for column in (y[:, None], pd.DataFrame({"y": y})):
        with pytest.warns(DataConversionWarning, match="column-vector"):
            answer = PFNRegressor(model=NETWORK).fit(X, column).predict(X_QUERY)
        assert answer.shape == (21,)
        assert np.array_equal(answer, fitted().predict(X_QUERY))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.where(y > 2, np.nan, y), "y contains NaN"),
        (np.where(y > 2, np.inf, y), "y contains infinity"),
        (pd.Series(y).where(y < 2).astype("Float64"), "y contains NaN"),
        (np.array([None, *y[1:]], dtype=object), "y contains NaN"),
        (["a", "b"] * 20, "y holds words, such as 'a', .* Use PFNClassifier"),
        (["1.5", "2.5"] * 20, "y holds words, such as '1.5'"),
        (pd.Series(["a", "b"] * 20, dtype="category"), "y holds words, such as 'a'"),
        (np.array(["a", "b"] * 20, dtype=object), "y holds words, such as 'a'"),
        (y * 1j, "Complex data not supported"),
        (pd.Series(pd.date_range("2020", periods=40)), "no number in float64"),
        (np.array([10**400] * 40, dtype=object), "no number in float64"),
        (y[:30], "inconsistent numbers of samples"),
        (None, "requires y to be passed"),
    ],
    ids=range(13),
)
def test_targets_that_are_no_numbers_are_refused_in_clear_words(target, message):
    with pytest.raises(ValueError, match=message):
        PFNRegressor(model=NETWORK).fit(X, target)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "modus"}, "output is 'modus', must be one of mean"),
        ({"output": "quantiles", "quantiles": [1.5]}, "quantiles is"),
        ({"output": "quantiles", "quantiles": []}, "quantiles is"),
        ({"quantiles": [0.5]}, "Use output='quantiles'"),
    ],
)
def test_impossible_questions_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        fitted().predict(X_QUERY, **arguments)
    with pytest.raises(ValueError, match="coverage is 1"):
        fitted().interval(X_QUERY, 1)
    with pytest.raises(ValueError, match="n_samples is 0"):
        fitted().sample(X_QUERY, 0)


def test_networks_of_the_other_kind_are_refused_and_shipped_ones_named(tmp_path, monkeypatch):
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path)
    checkpoint.save(tmp_path / "nano.safetensors", random_network(SMALL))
    with pytest.raises(ValueError, match=r"'nano' predicts classes alone .*no shipped one does"):
        PFNRegressor().fit(X, y)
    checkpoint.save(tmp_path / "both.safetensors", NETWORK)
    with pytest.raises(ValueError, match=r"'nano' predicts classes alone .* does: both"):
        PFNRegressor().fit(X, y)
    numbers_alone = random_network(type(NUMBERS)(**{**vars(NUMBERS), "head": None}))
    with pytest.raises(ValueError, match=r"in memory predicts numbers alone, .*does: both, nano"):
        PFNClassifier(model=numbers_alone).fit(X, y > 1)
    assert np.isfinite(PFNRegressor("both").fit(X, y).predict(X_QUERY)).all()


def test_diabetes_is_learnt_from_the_context():
    X, y = load_diabetes(return_X_y=True)
    regressor = make_pipeline(StandardScaler(), PFNRegressor(model=KernelRegression()))
    assert cross_val_score(regressor, X, y, cv=3).mean() > 0.2


@pytest.mark.slow
def test_jobs_clones_and_pickles_give_the_same_answers(tmp_path):
    source = checkpoint.save(tmp_path / "mine.safetensors", NETWORK)
    regressor = PFNRegressor(source, n_estimators=2)
    with joblib.parallel_config("threading"):
        one, two = (cross_val_predict(regressor, X, y, cv=2, n_jobs=n) for n in (1, 2))
    assert np.array_equal(one, two)
    shown = regressor.fit(X, y)
    for copy in (clone(shown).fit(X, y), pickle.loads(pickle.dumps(shown))):
        assert np.array_equal(copy.predict(X_QUERY), shown.predict(X_QUERY))


@pytest.mark.slow
@pytest.mark.parametrize("head", ["bars", "gaussian", "quantiles"])
def test_every_head_of_numbers_answers(head):
    options = {"n_buckets": 20} if head == "bars" else {}
    config = {**vars(SMALL), "regression_head": head, "regression_head_options": options}
    regressor = fitted(model=random_network(type(SMALL)(**config)), n_estimators=2)
    low, high = regressor.interval(X_QUERY)
    assert (low < high).all()
    assert np.isfinite(regressor.predict(X_QUERY)).all()


def test_mixed_tables_without_warnings():
    table = pd.DataFrame(X).assign(colour=np.where(y > 1, "red", "blue"), day=pd.Timestamp("2020"))
    table.columns = table.columns.astype(str)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PFNRegressor(model=NETWORK).fit(table, y).predict(table)
