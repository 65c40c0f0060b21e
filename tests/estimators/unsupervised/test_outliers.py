"""Rows that the others make improbable score low, whatever a column holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNOutlierDetector
from tests.estimators.conftest import KernelBoth, random_network


@pytest.fixture(scope="module")
def model():
    return KernelBoth()


def correlated(n: int = 80) -> np.ndarray:
    random = np.random.default_rng(0)
    a = random.normal(size=n)
    return np.stack([a, a + random.normal(size=n) / 10], axis=1)


def test_a_row_that_breaks_a_rule_scores_below_the_others(model):
    X = correlated()
    X[7] = [1.0, -1.0]  # each number is usual, both together are not
    X[8] = [9.0, 9.0]
    scores = PFNOutlierDetector(model=model).fit(X).score_samples(X)
    assert set(np.argsort(scores)[:2]) == {7, 8}


def test_words_numbers_and_missing_cells_are_scored_together(model):
    random = np.random.default_rng(0)
    group = random.integers(0, 2, 80)
    X = pd.DataFrame(
        {
            "size": group * 5.0 + random.normal(size=80) / 4,
            "kind": np.array(["cat", "dog"])[group],
            "far": random.random(80) < 0.5,
        }
    )
    X.loc[5, "kind"] = "dog" if group[5] == 0 else "cat"
    X.loc[6, "size"] = None
    detector = PFNOutlierDetector(model=model, n_orders=1).fit(X)
    scores = detector.score_samples(X)
    assert np.isfinite(scores).all()
    assert scores.argmin() == 5
    new = X.iloc[:2].assign(kind=["whale", None])
    with pytest.warns(UserWarning, match="could not be read as known categories"):
        whale, unknown = detector.score_samples(new)
    assert whale < scores[0]
    assert np.isfinite(unknown)


def test_the_share_that_is_asked_for_is_called_outliers(model):
    X = correlated(50)
    detector = PFNOutlierDetector(model=model, n_orders=1, contamination=0.1)
    called = detector.fit_predict(X)
    assert (called == -1).sum() == 5
    assert np.array_equal(called, detector.predict(X))
    assert_allclose(detector.decision_function(X), detector.score_samples(X) - detector.offset_)


def test_by_default_those_far_below_the_quartiles_are_outliers(model):
    X = correlated()
    X[0] = [30.0, -30.0]
    called = PFNOutlierDetector(model=model, n_orders=1).fit_predict(X)
    assert called[0] == -1
    assert (called == -1).mean() < 0.25


def test_a_row_is_not_vouched_for_by_itself(model):
    X = correlated(40)
    X[3] = [8.0, -8.0]
    detector = PFNOutlierDetector(model=model, n_orders=1).fit(X)
    near = X[3] + 1e-3
    own, neighbour = detector.score_samples(np.stack([X[3], near]))
    assert own < neighbour  # a half that holds the row takes it for usual


def test_neither_order_of_rows_nor_other_rows_matter(model):
    X = correlated(40)
    detector = PFNOutlierDetector(model=model, n_orders=1).fit(X)
    scores = detector.score_samples(X)
    assert_allclose(detector.score_samples(X[10:14]), scores[10:14], rtol=1e-6)
    shuffled = np.random.default_rng(1).permutation(40)
    other = PFNOutlierDetector(model=model, n_orders=1).fit(X[shuffled])
    assert_allclose(other.score_samples(X), scores, rtol=1e-6)


def test_units_do_not_matter(model):
    X = correlated(40)
    scores = PFNOutlierDetector(model=model, n_orders=1).fit(X).score_samples(X)
    scaled = X * [1024.0, 2.0**-20]
    other = PFNOutlierDetector(model=model, n_orders=1).fit(scaled).score_samples(scaled)
    assert_allclose(other, scores, rtol=1e-4, atol=1e-4)


def test_constant_and_empty_columns_change_little(model):
    X = correlated(40)
    more = pd.DataFrame(X, columns=["a", "b"]).assign(constant=3.0, nothing=np.nan)
    scores = PFNOutlierDetector(model=model, n_orders=1).fit(more).score_samples(more)
    assert np.isfinite(scores).all()
    changed = more.iloc[:1].assign(constant=4.0)
    assert (
        PFNOutlierDetector(model=model, n_orders=1).fit(more).score_samples(changed)[0] < scores[0]
    )


def test_a_detector_is_saved_with_its_rows_and_scores_the_same(tmp_path):
    network = random_network()
    random = np.random.default_rng(0)
    X = pd.DataFrame({"a": random.choice(["x", "y"], 30), "b": random.choice(["u", "v"], 30)})
    fitted = PFNOutlierDetector(model=network, contamination=0.2, n_orders=1).fit(X)
    loaded = PFNOutlierDetector.load(fitted.save(tmp_path / "detector.safetensors"))
    assert np.array_equal(loaded.score_samples(X), fitted.score_samples(X))
    assert np.array_equal(loaded.predict(X), fitted.predict(X))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contamination": 0.7}, "contamination is 0.7, must be 'auto' or a share"),
        ({"contamination": "some"}, "contamination is 'some'"),
        ({"n_orders": 0}, "n_orders is 0, must be a whole number"),
        ({"max_context": 0}, "max_context is 0, must be a whole number"),
        ({"memory_limit": 0}, "memory_limit is 0, must be a number of bytes"),
    ],
)
def test_options_without_meaning_are_refused(model, options, message):
    with pytest.raises(ValueError, match=message):
        PFNOutlierDetector(model=model, **options).fit(correlated())


def test_one_row_and_empty_tables_are_refused(model):
    with pytest.raises(ValueError, match="X has 1 sample, but PFNOutlierDetector needs at least 2"):
        PFNOutlierDetector(model=model).fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="X holds no values: all of its 2 columns are missing"):
        PFNOutlierDetector(model=model).fit(np.full((5, 2), np.nan))
