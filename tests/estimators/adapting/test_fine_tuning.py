"""Fine-tuning to a table: taken up where held-out rows say so, the same each time, small in a
file."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open

from openpfn import FineTuneOptions, PFNClassifier, PFNRegressor
from openpfn.estimators.adapting.fine_tuning import FEWEST_ROWS
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.encoded_rows import EncodedRows
from tests.estimators.conftest import NUMBERS, KernelNetwork, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 3))
X[::7, 1] = np.nan
z = X[:, 0] + 0.3 * RANDOM.normal(size=60)
y = np.array(["no", "yes"])[(z > 0).astype(int)]
X_QUERY = RANDOM.normal(size=(9, 3))
NETWORK = random_network(NUMBERS)
FEW = FineTuneOptions(
    n_steps=4, evaluate_every=2, n_folds=2, learning_rate=1e-2, warmup_steps=1, margin=0.0
)


def classifier(fine_tune, **options) -> PFNClassifier:
    options = {"model": NETWORK, "n_estimators": 2} | options
    return PFNClassifier(fine_tune=fine_tune, **options).fit(X, y)


def regressor(fine_tune, **options) -> PFNRegressor:
    options = {"model": NETWORK, "n_estimators": 2} | options
    return PFNRegressor(fine_tune=fine_tune, **options).fit(X, z)


def answers(fitted) -> np.ndarray:
    if isinstance(fitted, PFNClassifier):
        return fitted.predict_proba(X_QUERY)
    return fitted.predict(X_QUERY, output="quantiles")


BOTH = pytest.mark.parametrize("fitted_by", [classifier, regressor])


@BOTH
def test_held_out_rows_are_answered_better_and_the_network_given_stays_as_it_is(fitted_by):
    before = answers(fitted_by(False))
    tuned = fitted_by(FEW)
    history = tuned.fine_tuning_
    assert list(history.losses) == [0, 2, 4]
    assert history.n_steps in (2, 4)
    assert history.gain == history.losses[0] - history.losses[history.n_steps] > 0
    assert not np.allclose(answers(tuned), before)
    assert np.array_equal(answers(fitted_by(False)), before)
    assert not any(parameter.grad is not None for parameter in NETWORK.parameters())


@BOTH
def test_a_gain_within_the_margin_changes_nothing(fitted_by):
    tuned = fitted_by(replace(FEW, margin=1e6))
    assert tuned.fine_tuning_.n_steps == 0
    assert tuned.fine_tuning_.losses[4] != tuned.fine_tuning_.losses[0]
    assert np.array_equal(answers(tuned), answers(fitted_by(False)))


@BOTH
def test_the_same_seed_gives_the_same_network_whatever_the_order_of_rows(fitted_by):
    fine_tune = dict(n_steps=2, n_folds=2, learning_rate=1e-2, evaluate_every=2)
    first = answers(fitted_by(fine_tune))
    assert np.array_equal(answers(fitted_by(fine_tune)), first)
    assert not np.array_equal(answers(fitted_by(fine_tune, random_state=1)), first)
    shuffled = np.random.default_rng(1).permutation(60)
    again = fitted_by(fine_tune)
    again.fit(X[shuffled], (y if fitted_by is classifier else z)[shuffled])
    assert np.array_equal(answers(again), first)


def test_no_fold_network_has_seen_a_target_of_its_fold():
    def out_of_fold(targets):
        fitted = PFNRegressor(model=NETWORK, n_estimators=1, fine_tune=FEW).fit(X, z)
        network = PFNRegressor(model=NETWORK).fit(X, z).context_.ready_network()
        members = fitted.context_.members
        return fitted._fine_tuned(network, members, EncodedRows(X), targets)[1]

    before = out_of_fold(z)
    (_, outside), (_, inside) = folds(60, 2)
    # so small a change that the same number of steps is chosen
    after = out_of_fold(np.where(outside, z + 1e-3 * RANDOM.normal(size=60), z))
    assert np.array_equal(after[outside], before[outside])
    assert not np.array_equal(after[inside], before[inside])


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        ({"time_limit": 1e-9}, "time_limit"),
        ({"learning_rate": 0.999, "warmup_steps": 0, "patience": 1}, "patience"),
    ],
    ids=["no time for a step", "far too large a rate"],
)
def test_what_leads_nowhere_leaves_the_network_as_it_is(options, ended):
    tuned = classifier(replace(FEW, **options))
    assert (tuned.fine_tuning_.n_steps, tuned.fine_tuning_.ended) == (0, ended)
    assert np.array_equal(answers(tuned), answers(classifier(False)))


def test_too_few_rows_are_told_and_leave_the_network_as_it_is():
    few, plain = (PFNClassifier(model=NETWORK, fine_tune=told) for told in (True, False))
    with pytest.warns(UserWarning, match=rf"X has 11 rows, at least {FEWEST_ROWS}"):
        few.fit(X[:11], y[:11])
    assert few.fine_tuning_.ended == "few rows"
    assert np.array_equal(
        few.predict_proba(X_QUERY), plain.fit(X[:11], y[:11]).predict_proba(X_QUERY)
    )


def test_more_classes_than_the_networks_are_refused():
    with pytest.raises(ValueError, match="y has 12 classes and the network tells 10 apart"):
        PFNClassifier(model=NETWORK, n_estimators=1, fine_tune=FEW).fit(X, np.arange(60) % 12)


def test_views_of_some_rows_and_columns_learn_too():
    tuned = classifier(FEW, rows_per_member=20, columns_per_member=2)
    assert np.isfinite(answers(tuned)).all()
    assert list(tuned.fine_tuning_.losses) == [0, 2, 4]


def test_each_of_several_targets_is_fine_tuned(tmp_path):
    both = np.stack([z, -z], axis=1)
    tuned = PFNRegressor(model=NETWORK, n_estimators=1, fine_tune=FEW).fit(X, both)
    assert tuned.estimators_ is not None
    assert all(one.fine_tuning_.losses for one in tuned.estimators_)
    loaded = PFNRegressor.load(tuned.save(tmp_path / "both.safetensors"))
    assert np.array_equal(loaded.predict(X_QUERY), tuned.predict(X_QUERY))
    assert loaded.fine_tune == FEW


def test_a_class_of_a_single_row_and_a_single_class_are_taken():
    lonely = y.copy().astype(object)
    lonely[5] = "once"
    fitted = PFNClassifier(model=NETWORK, n_estimators=1, fine_tune=FEW).fit(X, lonely)
    assert np.isfinite(fitted.predict_proba(X_QUERY)).all()
    constant = PFNClassifier(model=NETWORK, fine_tune=True).fit(X, np.ones(60))
    assert constant.fine_tuning_ is None


def test_a_network_without_weights_is_refused():
    with pytest.raises(ValueError, match=r"no weights .* cannot be fine-tuned"):
        PFNClassifier(model=KernelNetwork(), fine_tune=True).fit(X, y)


@pytest.mark.parametrize(
    ("fine_tune", "message"),
    [
        ("yes", r"fine_tune is 'yes', must be True, False or FineTuneOptions"),
        ({"steps": 3}, r"'steps', which is no option. The options are n_steps"),
        ({"n_folds": 1}, r"n_folds is 1, must be at least 2"),
        ({"time_limit": 0}, r"time_limit is 0, must be seconds above 0"),
        ({"learning_rate": 0.0}, r"learning_rate is 0.0, must lie between 0 and 1"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_by_fit(fine_tune, message):
    with pytest.raises(ValueError, match=message):
        PFNClassifier(model=NETWORK, fine_tune=fine_tune).fit(X, y)


@BOTH
def test_calibration_uses_answers_of_networks_that_did_not_learn_the_row(fitted_by, monkeypatch):
    def never(self, *parts):
        raise AssertionError("a network that learned these rows answered them")

    module = "classifier" if fitted_by is classifier else "regressor"
    monkeypatch.setattr(f"openpfn.estimators.{module}.best_factor", lambda loss, n: loss(1.0))
    monkeypatch.setattr("openpfn.estimators.base.PFNEstimator._out_of_fold", never)
    for fine_tune in (FEW, replace(FEW, margin=1e6)):
        fitted = fitted_by(fine_tune, calibrate=True)
        factor = fitted.temperature_ if fitted_by is classifier else fitted.width_
        history = fitted.fine_tuning_
        held_out = history.losses[history.n_steps]
        usual = 1.0 if fitted_by is classifier else held_out
        assert factor == pytest.approx(held_out / usual)


@pytest.fixture
def _always_better(monkeypatch):
    """Every evaluation of a classifier finds a lower loss than the last."""
    losses = iter(1.0 / np.arange(1, 100))

    def row_losses(self, answers, targets, temperature=1.0):
        return np.full(len(targets), next(losses))

    monkeypatch.setattr(PFNClassifier, "row_losses", row_losses)


@pytest.mark.usefixtures("_always_better")
def test_a_shipped_network_is_saved_as_a_small_difference_that_loads_to_the_bit(tmp_path):
    tuned = classifier(FEW, model=None, checkpoint="tiny")
    assert tuned.fine_tuning_.n_steps == 4
    path = tuned.save(tmp_path / "tuned.safetensors")
    whole = tuned.save(tmp_path / "whole.safetensors", embed_weights=True)
    plain = classifier(False, model=None, checkpoint="tiny")
    assert not np.array_equal(answers(plain), answers(tuned))
    saved_plain = plain.save(tmp_path / "plain.safetensors")
    sizes = [one.stat().st_size for one in (saved_plain, path, whole)]
    assert sizes[1] - sizes[0] < 0.6 * (sizes[2] - sizes[0])  # tiny's names take much of it
    with safe_open(path, framework="np") as file:
        assert "checkpoint" not in file.keys()  # noqa: SIM118
    for saved in (path, whole):
        loaded = PFNClassifier.load(saved)
        assert np.array_equal(answers(loaded), answers(tuned))
        assert loaded.fine_tuning_ == tuned.fine_tuning_
        assert loaded.get_params()["fine_tune"] == FEW
        again = PFNClassifier.load(loaded.save(tmp_path / "again.safetensors", states="float32"))
        assert np.array_equal(answers(again), answers(tuned))
    pickled = pickle.dumps(tuned)
    assert np.array_equal(answers(pickle.loads(pickled)), answers(tuned))


def test_a_network_of_ones_own_is_saved_with_its_weights(tmp_path):
    tuned = regressor(FEW)
    loaded = PFNRegressor.load(tuned.save(tmp_path / "tuned.safetensors"))
    assert np.array_equal(answers(loaded), answers(tuned))


def test_a_progress_bar_shows_on_the_error_stream_alone(capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier(replace(FEW, progress=True, n_steps=1))
    assert capfd.readouterr().out == ""
