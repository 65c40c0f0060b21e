"""A temperature or a width from the context's folds: no target touches the answer to its row."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, PFNRegressor
from openpfn.estimators.calibration import FACTORS, best_factor
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.encoded_rows import EncodedRows
from tests.estimators.conftest import NUMBERS, KernelNetwork, KernelRegression, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 2))
z = X[:, 0] + 0.3 * RANDOM.normal(size=60)
NETWORK = random_network(NUMBERS)


def out_of_fold(estimator, rows, targets):
    fitted = estimator.fit(rows, targets)
    network, members = fitted.context_.ready_network(), fitted.context_.members
    return fitted._out_of_fold(network, members, EncodedRows(rows), targets)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("estimator", "targets"),
    [(PFNClassifier(model=NETWORK, n_estimators=2), (z > 0).astype(np.int64)),
     (PFNRegressor(model=NETWORK, n_estimators=2), z)],
    ids=["classes", "numbers"],
)  # fmt: skip
def test_no_answer_knows_a_target_of_its_fold(estimator, targets):
    before = out_of_fold(estimator, X, targets)
    inside, outside = list(folds(60))[1]
    changed = np.where(outside, targets[::-1] if targets.dtype == np.int64 else 99.0, targets)
    after = out_of_fold(estimator, X, changed.astype(targets.dtype))
    assert np.array_equal(after[outside], before[outside])
    assert not np.allclose(after[inside], before[inside])


def test_folds_hold_every_row_once():
    for n in (2, 7, 60):
        assert np.sum([outside for _, outside in folds(n)], axis=0).tolist() == [1] * n
        assert all((inside != outside).all() for inside, outside in folds(n))


def test_the_best_factor_is_found_and_few_rows_stay_near_one():
    for true in (0.6, 1.0, 1.7):
        found = best_factor(lambda factor, t=true: np.log(factor / t) ** 2, 10_000)
        assert found == pytest.approx(true, rel=0.03)
    near = best_factor(lambda factor: np.log(factor / 2) ** 2 / 10, 10)
    assert 1 < near < 1.5
    assert 1.0 in FACTORS


def test_a_network_that_is_too_sure_gets_a_temperature_that_lowers_its_loss():
    class Sure(KernelNetwork):
        def read(self, x, state):
            return 3 * super().read(x, state)

    y = (RANDOM.random(60) < 0.5 + 0.3 * np.sign(X[:, 0])).astype(int)
    plain = PFNClassifier(model=Sure()).fit(X, y)
    calibrated = PFNClassifier(model=Sure(), calibrate=True).fit(X, y)
    assert plain.temperature_ == 1.0
    assert calibrated.temperature_ > 1.4
    warm = PFNClassifier(model=Sure(), softmax_temperature=calibrated.temperature_).fit(X, y)
    assert_allclose(calibrated.predict_proba(X), warm.predict_proba(X))


def test_a_network_that_is_too_sure_gets_a_width_and_keeps_its_means():
    class Sure(KernelRegression):
        def read(self, x, state):
            logits = super().read(x, state).clone()
            logits[..., 1] /= 25
            return logits

    plain = PFNRegressor(model=Sure()).fit(X, z)
    calibrated = PFNRegressor(model=Sure(), calibrate=True).fit(X, z)
    assert calibrated.width_ > 1.4
    assert_allclose(calibrated.predict(X), plain.predict(X), atol=1e-3)
    lengths = [np.diff(r.interval(X), axis=0) for r in (calibrated, plain)]
    assert_allclose(lengths[0], calibrated.width_ * lengths[1], rtol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [PFNClassifier, PFNRegressor])
def test_the_choice_is_saved(tmp_path, kind):
    y = (z > 0).astype(int) if kind is PFNClassifier else z
    fitted = kind(model=NETWORK, n_estimators=1, calibrate=True, target_statistics=True).fit(X, y)
    loaded = kind.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert loaded.get_params()["calibrate"] is True
    name = "temperature_" if kind is PFNClassifier else "width_"
    assert getattr(loaded, name) == getattr(fitted, name) != 1.0
    assert np.array_equal(loaded.predict(X), fitted.predict(X))
    few = kind(model=NETWORK, n_estimators=1, calibrate=True).fit(X[:9], y[:9])
    assert getattr(few, name) == 1.0
