"""Laws of the classifier: what a prediction may depend on, what it takes, what it refuses."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from openpfn import PFNClassifier, checkpoint
from tests.estimators.conftest import KernelNetwork, random_network

NETWORK = random_network()


def table(
    seed: int, n: int = 30, n_columns: int = 4, n_classes: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context rows with some missing values, their labels (every class occurs), and query rows."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(n + 7, n_columns)) * 10.0 ** random.integers(-3, 4, n_columns)
    X[random.random(X.shape) < 0.1] = np.nan
    y = random.permutation(np.arange(n) % n_classes)
    return X[:n], y, X[n:]


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), n_classes=st.integers(2, 5), n_members=st.integers(1, 6))
def test_renaming_the_classes_changes_nothing(seed, n_classes, n_members):
    X, y, X_query = table(seed, n_classes=n_classes)
    names = np.random.default_rng(seed).permutation(["b", "Zebra", "apple", "B", "10"])[:n_classes]
    by_number = PFNClassifier(model=NETWORK, n_estimators=n_members).fit(X, y)
    by_name = PFNClassifier(model=NETWORK, n_estimators=n_members).fit(X, names[y])
    columns = [list(by_name.classes_).index(name) for name in names]
    assert_allclose(
        by_name.predict_proba(X_query)[:, columns], by_number.predict_proba(X_query), atol=1e-6
    )


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), n_distinct=st.integers(1, 3))
def test_renaming_changes_nothing_even_where_classes_share_their_rows(seed, n_distinct):
    random = np.random.default_rng(seed)
    X = random.integers(0, n_distinct, size=(12, 2)).astype(float)
    y = np.arange(12) % 3
    swapped = np.array([2, 0, 1])
    plain = PFNClassifier(model=NETWORK).fit(X, y).predict_proba(X)
    renamed = PFNClassifier(model=NETWORK).fit(X, swapped[y]).predict_proba(X)
    assert_allclose(renamed[:, swapped], plain, atol=1e-6)


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_row_order_of_the_context_does_not_matter(seed):
    X, y, X_query = table(seed)
    order = np.random.default_rng(seed).permutation(len(y))
    plain = PFNClassifier(model=NETWORK).fit(X, y).predict_proba(X_query)
    permuted = PFNClassifier(model=NETWORK).fit(X[order], y[order]).predict_proba(X_query)
    assert np.array_equal(permuted, plain)


@pytest.mark.slow
@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), n_query=st.integers(2, 40))
def test_a_row_alone_is_predicted_as_in_a_batch(seed, n_query):
    X, y, _ = table(seed)
    classifier = PFNClassifier(model=NETWORK).fit(X, y)
    X_query = np.random.default_rng(seed).normal(size=(n_query, X.shape[1]))
    alone = np.concatenate([classifier.predict_proba(X_query[i : i + 1]) for i in (0, n_query - 1)])
    assert_allclose(alone, classifier.predict_proba(X_query)[[0, -1]], atol=1e-6)


def test_scale_and_offset_of_a_column_do_not_matter():
    X, y, X_query = table(3)
    plain = PFNClassifier(model=NETWORK).fit(X, y).predict_proba(X_query)
    moved = PFNClassifier(model=NETWORK).fit(0.03 * X + 50, y).predict_proba(0.03 * X_query + 50)
    assert_allclose(moved, plain, atol=1e-4)


def test_huge_numbers_stay_finite():
    X, y, X_query = table(4)
    assert np.isfinite(
        PFNClassifier(model=NETWORK).fit(1e290 * X, y).predict_proba(1e300 * X_query)
    ).all()


def test_constant_and_empty_columns_do_not_matter(network):
    X, y, X_query = table(5)
    useless, useless_query = (
        np.full((len(X), 2), [7.0, np.nan]),
        np.full((len(X_query), 2), [7.0, 3.0]),
    )
    plain = PFNClassifier(model=network).fit(X, y).predict_proba(X_query)
    more = (
        PFNClassifier(model=network)
        .fit(np.hstack([X, useless]), y)
        .predict_proba(np.hstack([X_query, useless_query]))
    )
    assert_allclose(more, plain, atol=1e-7)


def test_a_table_of_constants_gives_every_row_the_same_probabilities(network):
    probabilities = (
        PFNClassifier(model=network)
        .fit(np.ones((6, 2)), [0, 1, 0, 1, 0, 0])
        .predict_proba([[1.0, 1.0], [5.0, -3.0]])
    )
    assert_allclose(probabilities[0], probabilities[1])
    assert_allclose(probabilities.sum(axis=1), 1)


def test_iris_is_learnt_from_the_context(kernel):
    X, y = load_iris(return_X_y=True)
    assert PFNClassifier(model=kernel).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9


@pytest.mark.slow
def test_more_members_change_the_answer_and_the_seed_decides_how():
    X, y, X_query = table(6)

    def answer(**parameters: Any) -> np.ndarray:
        return PFNClassifier(model=NETWORK, **parameters).fit(X, y).predict_proba(X_query)

    assert np.array_equal(answer(random_state=1), answer(random_state=1))
    assert not np.allclose(answer(random_state=1), answer(random_state=2), atol=1e-6)
    assert not np.allclose(answer(n_estimators=1), answer(n_estimators=4), atol=1e-6)
    assert np.array_equal(
        answer(n_estimators=1, random_state=1), answer(n_estimators=1, random_state=2)
    )


def test_temperature_below_one_sharpens():
    X, y, X_query = table(7)
    plain = PFNClassifier(model=NETWORK).fit(X, y).predict_proba(X_query)
    sharp = PFNClassifier(model=NETWORK, softmax_temperature=0.5).fit(X, y).predict_proba(X_query)
    assert_allclose(sharp, plain**2 / (plain**2).sum(axis=1, keepdims=True), atol=1e-9)


MIXED = pd.DataFrame(
    {
        "number": [1.0, 2.5, None, 4.0, 5.5, 6.0, 7.0, 8.0],
        "word": ["red", "blue", None, "red", "blue", "red", "blue", "red"],
        "category": pd.Categorical(
            ["low", "high", "low", None, "mid", "mid", "high", "low"],
            ["low", "mid", "high"],
            ordered=True,
        ),
        "truth": pd.array([True, False, None, True, False, True, False, True], dtype="boolean"),
        "whole": pd.array([1, 2, 3, None, 5, 6, 7, 8], dtype="Int64"),
        "when": pd.to_datetime(
            [
                "2020-01-01",
                "2020-02-01",
                None,
                "2021-05-01",
                "2021-06-01",
                "2022-01-01",
                "2022-02-03",
                "2023-01-01",
            ]
        ),
        "object": np.array([1, "two", 3.0, None, True, "two", 1, "two"], dtype=object),
    }
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "y",
    [
        ["no", "Yes", "no", "Yes", "maybe", "no", "Yes", "maybe"],
        [3, 7, 3, 7, -1, 3, 7, -1],
        [True, False] * 4,
        [0.0, 1.0] * 4,
        np.array(["a", "b"] * 4, dtype=object),
        np.array([1, 2] * 4, dtype=object),
        pd.Series(["a", "B"] * 4, dtype="category"),
        pd.Series(pd.array([1, 2] * 4, dtype="Int64")),
        pd.Series(pd.array([True, False] * 4, dtype="boolean")),
    ],
    ids=[
        "words",
        "whole",
        "truth",
        "floats",
        "objects",
        "object numbers",
        "category",
        "nullable numbers",
        "nullable truth",
    ],
)
def test_any_table_and_any_labels(network, y):
    classifier = PFNClassifier(model=network).fit(MIXED, y)
    probabilities = classifier.predict_proba(MIXED.iloc[:3])
    assert_allclose(probabilities.sum(axis=1), 1)
    assert set(classifier.predict(MIXED)) <= set(np.asarray(y).tolist())
    assert len(classifier.encoder_.describe()) == MIXED.shape[1]


def test_categories_never_seen_are_missing_values(network):
    classifier = PFNClassifier(model=network).fit(MIXED, [0, 1] * 4)
    unseen, missing = (
        MIXED.iloc[:2].assign(word=["green", "pink"]),
        MIXED.iloc[:2].assign(word=[None, None]),
    )
    assert np.array_equal(classifier.predict_proba(unseen), classifier.predict_proba(missing))


def test_words_in_arrays_are_read_like_words_in_frames(network):
    frame = pd.DataFrame({"a": ["x", "y", "x", "z"] * 3, "b": [1.5, 2.5, 3.5, 4.5] * 3})
    y = [0, 1, 1] * 4
    expected = PFNClassifier(model=network).fit(frame, y).predict_proba(frame)
    for array in (frame.to_numpy(dtype=object), frame.to_numpy(dtype=str)):
        assert_allclose(
            PFNClassifier(model=network).fit(array, y).predict_proba(array), expected, atol=1e-7
        )


def test_one_class_is_certain():
    classifier = PFNClassifier(model=NETWORK).fit([[1.0], [2.0]], ["only", "only"])
    assert classifier.predict([[3.0]]).tolist() == ["only"]
    assert classifier.predict_proba([[3.0]]).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.empty((0, 2)), [], "0 sample"),
        (pd.DataFrame({"a": []}), [], "0 sample"),
        (pd.DataFrame(index=range(3)), [0, 1, 0], "0 feature"),
        ([[np.inf], [1.0]], [0, 1], "infinity"),
        (pd.DataFrame({"price": [np.inf, 1.0]}), [0, 1], "'price' contains infinity"),
        ([[1.0], [2.0]], [0.5, 1.25], "Unknown label type"),
        ([[1.0], [2.0]], ["a", None], "y contains NaN"),
        ([[1.0], [2.0]], [1.0, np.nan], "y contains NaN"),
        ([[1.0], [2.0]], None, "requires y to be passed"),
        ([[1.0], [2.0]], [0, 1, 1], "inconsistent numbers of samples"),
        ([1.0, 2.0], [0, 1], "Expected 2D array"),
    ],
)
def test_bad_input_is_refused_in_clear_words(X, y, message):
    with pytest.raises(ValueError, match=message):
        PFNClassifier(model=NETWORK).fit(X, y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_estimators": 0},
        {"n_estimators": 1.5},
        {"softmax_temperature": 0},
        {"memory_limit": 0},
        {"memory_limit": -1},
    ],
)
def test_impossible_parameters_are_refused_by_name(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        PFNClassifier(model=NETWORK, **parameters).fit([[1.0], [2.0]], [0, 1])


def test_query_rows_must_have_the_columns_of_the_context():
    classifier = PFNClassifier(model=NETWORK).fit(
        pd.DataFrame({"a": [1, 2, 3], "b": [1, 0, 1]}), [0, 1, 0]
    )
    with pytest.raises(ValueError, match="feature names"):
        classifier.predict(pd.DataFrame({"a": [1], "c": [1]}))


def test_tables_beyond_the_training_tasks_give_a_warning(tmp_path):
    provenance = {"data": {"prior": "mixture", "config": {"max_features": 2, "max_seq_len": 20}}}
    path = checkpoint.save(tmp_path / "narrow.safetensors", NETWORK, provenance=provenance)
    X, y, _ = table(8)
    with pytest.warns(
        UserWarning, match="X has 4 columns, but this checkpoint was trained on at most 2"
    ):
        PFNClassifier(path).fit(X[:9], y[:9])
    with pytest.warns(
        UserWarning, match="X has 30 rows, but this checkpoint was trained on at most 20"
    ):
        PFNClassifier(path).fit(X[:, :1], y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PFNClassifier(path).fit(X[:9, :2], y[:9])


def test_a_checkpoint_predicts_as_its_model_in_memory(tmp_path):
    path = checkpoint.save(tmp_path / "some.safetensors", NETWORK)
    X, y, X_query = table(9)
    from_file = PFNClassifier(str(path)).fit(X, y).predict_proba(X_query)
    assert np.array_equal(from_file, PFNClassifier(model=NETWORK).fit(X, y).predict_proba(X_query))


def test_clones_share_a_model_in_memory_and_leave_it_in_training_mode():
    model = KernelNetwork().train()
    X, y, _ = table(10)
    copies = [
        clone(PFNClassifier(model=model, n_estimators=3)),
        clone(make_pipeline(StandardScaler(), PFNClassifier(model=model)))[-1],
    ]
    assert all(copy.model is model for copy in copies)
    assert copies[0].n_estimators == 3
    copies[0].fit(X, y).predict(X)
    assert model.training


def test_pipelines_searches_and_cross_validation(kernel):
    X, y = make_classification(120, 5, random_state=0)
    pipeline = make_pipeline(StandardScaler(), PFNClassifier(model=kernel))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.75
    search = GridSearchCV(
        PFNClassifier(model=kernel), {"n_estimators": [1, 2]}, cv=2, scoring="roc_auc"
    ).fit(X, y)
    assert search.best_score_ > 0.75
