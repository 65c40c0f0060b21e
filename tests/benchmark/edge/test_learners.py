"""Methods in C answer as scikit-learn's, or as the same equations in numpy; models that were
trained on a computer answer in C as in Python, and take no more bytes than told."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from openpfn.benchmark.edge import off_chip
from openpfn.benchmark.edge.costs import installed, learner_costs, shown_rows
from openpfn.benchmark.edge.on_chip import CONSTANTS, LEARNERS, HostLearner, learner_source

pytestmark = pytest.mark.slow

SCIKIT_LEARN = {
    "logistic": lambda: LogisticRegression(max_iter=5000, tol=1e-8),
    "lda": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2),
    "naive_bayes": lambda: GaussianNB(var_smoothing=0.1),
}


@functools.cache
def learner(name):
    return HostLearner(learner_source(name), 60, 6, 4)


def table(n_classes=3, n=60, missing=0.1):
    rng = np.random.default_rng(n_classes)
    y = np.arange(n) % n_classes
    x = rng.normal(size=(n, 4)) * [1, 100, 0.01, 3] + y[:, None] * [1, 50, 0, -2]
    x[rng.random(x.shape) < missing] = np.nan
    return x.astype(np.float32), y, (rng.normal(size=(20, 4)) * [1, 100, 0.01, 3]).astype("f4")


def standardised(estimator):
    return make_pipeline(SimpleImputer(), StandardScaler(), estimator)


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("name", SCIKIT_LEARN)
def test_a_method_in_c_answers_as_scikit_learns(name, n_classes):
    x, y, query = table(n_classes)
    learner(name).fit(x, y, n_classes)
    expected = standardised(SCIKIT_LEARN[name]()).fit(x, y).predict_proba(query)
    np.testing.assert_allclose(learner(name).predict_proba(query, n_classes), expected, atol=2e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_neighbours_vote_as_scikit_learns_and_each_class_has_one_more_vote(n_classes):
    x, y, query = table(n_classes)
    learner("knn").fit(x, y, n_classes)
    votes = 5 * standardised(KNeighborsClassifier()).fit(x, y).predict_proba(query)
    expected = (votes + 1) / (5 + n_classes)
    np.testing.assert_allclose(learner("knn").predict_proba(query, n_classes), expected, atol=1e-5)


def mlp_in_numpy(x, y, query, n_classes):
    """The equations of mlp.c in double precision."""
    scaler = StandardScaler().fit(x)
    x, query, (n, d) = scaler.transform(x), scaler.transform(query), x.shape
    seed, n_hidden, rate, momentum, decay = 1, 8, 0.02, 0.9, 0.01

    def draw():
        nonlocal seed
        seed = seed * 48271 % 2147483647
        return (seed >> 8) / 4194304 - 1

    inner, outer = np.zeros((n_hidden, d + 1)), np.zeros((n_classes, n_hidden + 1))
    inner[:, :d] = [[(3 / d) ** 0.5 * draw() for _ in range(d)] for _ in range(n_hidden)]
    speeds = np.zeros_like(inner), np.zeros_like(outer)

    def answer(z):
        hidden = np.maximum(inner[:, :d] @ z + inner[:, d], 0)
        scores = outer[:, :n_hidden] @ hidden + outer[:, n_hidden]
        p = np.exp(scores - scores.max())
        return hidden, p / p.sum()

    for _ in range(3000):
        row = min(int((draw() + 1) / 2 * n), n - 1)
        hidden, p = answer(x[row])
        error = p - np.eye(n_classes)[y[row]]
        passed = (error @ outer[:, :n_hidden]) * (hidden > 0)
        slopes = np.outer(passed, [*x[row], 1]), np.outer(error, [*hidden, 1])
        for weight, speed, slope in zip((inner, outer), speeds, slopes, strict=True):
            slope[:, :-1] += decay * weight[:, :-1]
            speed *= momentum
            speed -= rate * slope
            weight += speed
    return np.array([answer(z)[1] for z in query])


def test_the_mlp_in_c_answers_as_the_same_equations_in_numpy():
    x, y, query = table(missing=0)
    learner("mlp").fit(x, y, 3)
    expected = mlp_in_numpy(x, y, query, 3)
    answered = learner("mlp").predict_proba(query, 3)
    np.testing.assert_allclose(answered, expected, atol=0.02)  # rounding grows over 3,000 steps
    assert np.abs(answered - expected).mean() < 2e-3


@pytest.mark.parametrize("name", LEARNERS)
def test_a_class_without_rows_gets_no_probability(name):
    x, y, query = table(2)
    learner(name).fit(x, 2 * y, 4)
    p = learner(name).predict_proba(query, 4)
    np.testing.assert_array_equal(p[:, [1, 3]], 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_rows_that_do_not_fit_into_the_memory_are_refused(name):
    with pytest.raises(ValueError, match="no room for 61 rows"):
        learner(name).fit(np.zeros((61, 2)), np.zeros(61), 2)
    assert name in CONSTANTS


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("precision", [1, 4])
@pytest.mark.parametrize("name", off_chip.present())
def test_a_trained_model_answers_in_c_as_in_python_within_its_bytes(name, precision, n_classes):
    x, y, query = table(n_classes, missing=0)
    trained = off_chip.fit_within(name, x, y, 8000, precision, 0)
    assert trained.n_bytes <= 8000
    in_c = HostLearner(trained.source(), 60, 6, 4).predict_proba(query, n_classes)
    different = np.abs(in_c - trained.predict_proba(query)).max(axis=1) > 1e-4
    # a value half-way between two of the forest's steps may be rounded to either
    assert different.mean() <= (0.2 if name == "emlearn_forest" else 0)


@pytest.mark.parametrize("name", off_chip.present())
def test_more_bytes_are_never_exceeded_and_used_where_asked_for(name):
    rows = shown_rows()
    sizes = (2000, 6000, 20000)
    models = off_chip._TRAINERS[name](rows.x, rows.y, sizes, 1, 0)
    taken = [model.n_bytes for model in models]
    assert taken == sorted(taken)
    assert all(n <= size for n, size in zip(taken, sizes, strict=True))
    if "cortex-m4f" in installed(["cortex-m4f"]):
        assert learner_costs(models[1].source(), "cortex-m4f")["flash"] <= taken[1]


@pytest.mark.parametrize("core", installed(["cortex-m4f", "rv32imc"]))
def test_a_method_runs_on_a_core(core):
    costs = learner_costs(learner_source("lda"), core)
    assert 500 < costs["flash"] < 16_000
    assert 0 < costs["ram"] < 500
    assert 0 < costs["predict"] < costs["fit"]
