"""Stacked scores in estimators: what they are for, when they are shown, and that they are kept."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from openpfn import PFNClassifier, PFNRegressor, checkpoint
from openpfn.estimators.network import find_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(300, 6))
PRODUCTS = X[:, 0] * X[:, 1] + X[:, 2] * X[:, 3] + 0.1 * RANDOM.normal(size=300)
SIGNS = np.where(PRODUCTS > 0, "up", "down")
BOTH = pytest.mark.parametrize(
    ("kind", "y"), [(PFNClassifier, SIGNS), (PFNRegressor, PRODUCTS)], ids=["classes", "numbers"]
)


def answers(fitted, rows):
    return (fitted.predict_proba if hasattr(fitted, "classes_") else fitted.predict)(rows)


@pytest.fixture(scope="module")
def trained_with_scores(tmp_path_factory):
    """The weights of `nano-numbers`, recorded as trained with stacked scores."""
    loaded = checkpoint.load("nano-numbers")
    data = dict(loaded.provenance["data"])
    provenance = {**loaded.provenance, "data": data}
    data["config"] = {**data["config"], "stacking_share": 0.5}
    path = tmp_path_factory.mktemp("weights") / "knows.safetensors"
    return checkpoint.save(path, loaded.model, provenance=provenance)


def test_targets_without_any_marginal_effect_are_predicted():
    found = {}
    for stacking in (True, False):
        regressor = PFNRegressor(n_estimators=1, stacking=stacking).fit(X[:150], PRODUCTS[:150])
        classifier = PFNClassifier(n_estimators=1, stacking=stacking).fit(X[:150], SIGNS[:150])
        up = classifier.predict_proba(X[150:])[:, 1]
        found[stacking] = (
            r2_score(PRODUCTS[150:], regressor.predict(X[150:])),
            roc_auc_score(SIGNS[150:] == "up", up),
        )
    assert found[True][0] > max(0.7, found[False][0] + 0.1)
    assert found[True][1] > max(0.9, found[False][1] + 0.1)


@BOTH
def test_auto_goes_by_what_the_network_was_trained_with(kind, y, trained_with_scores):
    rows, targets = X[:40], y[:40]
    assert find_network(trained_with_scores, None, "cpu").knows_scores
    known = kind(trained_with_scores, n_estimators=1).fit(rows, targets)
    assert known.stacked_.n_columns == 3
    off = kind(trained_with_scores, n_estimators=1, stacking=False).fit(rows, targets)
    assert off.stacked_ is None
    in_memory = kind(model=off.context_.network.model, n_estimators=1).fit(rows, targets)
    assert in_memory.stacked_ is None
    assert np.array_equal(answers(in_memory, X[40:50]), answers(off, X[40:50]))


@BOTH
@pytest.mark.parametrize("keep_rows", [True, False])
def test_saved_estimators_answer_with_the_same_bits(kind, y, keep_rows, tmp_path):
    fitted = kind("nano-numbers", n_estimators=2, stacking=True).fit(X[:40], y[:40])
    loaded = kind.load(fitted.save(tmp_path / "e.safetensors", keep_rows=keep_rows))
    assert loaded.stacking is True
    assert np.array_equal(answers(loaded, X[40:60]), answers(fitted, X[40:60]))


@BOTH
def test_neither_the_order_of_rows_nor_other_query_rows_matter(kind, y):
    order = np.random.default_rng(1).permutation(60)
    one = kind("nano-numbers", n_estimators=2, stacking=True).fit(X[:60], y[:60])
    other = kind("nano-numbers", n_estimators=2, stacking=True).fit(X[:60][order], y[:60][order])
    whole = answers(one, X[60:80])
    assert np.array_equal(answers(other, X[60:80]), whole)
    singly = np.concatenate([answers(one, X[i : i + 1]) for i in range(60, 80)])
    assert np.allclose(singly, whole, atol=1e-5)


def test_scores_of_noise_mislead_nobody():
    labels = np.random.default_rng(2).permutation(np.repeat([0, 1], 60))
    fitted = PFNClassifier(stacking=True).fit(X[:120], labels)
    p = fitted.predict_proba(X[120:])[:, 1]
    assert abs(p - 0.5).mean() < 0.15


@BOTH
def test_few_rows_and_many_classes_have_no_scores(kind, y):
    assert kind("nano-numbers", n_estimators=1, stacking=True).fit(X[:9], y[:9]).stacked_ is None
    many = np.arange(60) % 12
    assert PFNClassifier(n_estimators=1, stacking=True).fit(X[:60], many).stacked_ is None


@BOTH
def test_fine_tuning_and_calibration_learn_scores_for_each_fold(kind, y):
    fitted = kind("nano-numbers", n_estimators=1, stacking=True, calibrate=True).fit(X[:40], y[:40])
    assert np.isfinite(answers(fitted, X[40:50])).all()
    steps = {"n_steps": 2}
    tuned = kind("nano-numbers", n_estimators=1, stacking=True, fine_tune=steps)
    assert np.isfinite(answers(tuned.fit(X[:40], y[:40]), X[40:50])).all()


@BOTH
def test_believers_have_none(kind, y, trained_with_scores):
    believer = kind(trained_with_scores, n_estimators=1).believer(X[:30], y[:30])
    assert believer.fitted.stacked_ is None


def test_a_distilled_model_reads_rows_as_its_teacher_does():
    teacher = PFNRegressor(n_estimators=1, stacking=True).fit(X[:60], PRODUCTS[:60])
    student = teacher.distill("linear", n_rows=300)
    assert student.reader_.stacked is not None
    assert student.predict(X[60:70]).shape == (10,)


@BOTH
def test_other_values_are_refused(kind, y):
    with pytest.raises(ValueError, match="stacking is 'on', must be True, False or 'auto'"):
        kind(stacking="on").fit(X[:20], y[:20])


def test_scores_take_no_place_of_columns():
    wide = np.random.default_rng(3).normal(size=(40, 12))
    labels = wide[:, 0] > 0
    fitted = PFNClassifier("nano-numbers", columns_per_member=5, stacking=True).fit(wide, labels)
    assert all("5 of 12 columns" in told for told in fitted.beyond_)
    for member in fitted.context_.members:
        assert len(member.columns) == 5 + 3
        assert member.columns[-3:] == (12, 13, 14)
    assert np.isfinite(fitted.predict_proba(wide[:3])).all()
    all_see = PFNClassifier("nano-numbers", columns_per_member=12, stacking=True)
    assert all_see.fit(wide, labels).beyond_ == ()
