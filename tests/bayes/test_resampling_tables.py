"""Predictive resampling of table networks and classifiers: exact rollouts read all rows anew,
frozen ones come near them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from openpfn import PFNClassifier, PFNRegressor
from openpfn.batch import TaskBatch
from openpfn.bayes import predictive_resample
from openpfn.bayes.believers import believer_of
from openpfn.configs import TabularConfig
from openpfn.models import PFN
from openpfn.models.tabular.growing import GrowingContext

SIZES = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_mlp": 24}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def awake(**options) -> Any:
    """A table network whose every part matters."""
    torch.manual_seed(0)
    model = PFN(TabularConfig(**{**SIZES, **options}))
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.25)
    return model.eval()


def table(n: int = 12, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, d, generator=seeded(1))
    return x, (x[:, 0] > 0).float()


@pytest.mark.parametrize("attention", ["softmax", "linear"])
@torch.no_grad()
def test_a_context_that_has_not_grown_answers_as_the_network_does(attention):
    model, (x, y) = awake(attention_type=attention), table()
    batch = TaskBatch(x[None], y[None], n_train=9, n_classes=torch.tensor([2]))
    grown = GrowingContext(model, batch, 4)
    torch.testing.assert_close(grown.logits(batch.x[:, 9:]), model(batch), atol=1e-5, rtol=0)


@torch.no_grad()
def test_rows_that_are_appended_are_read_and_room_is_made_for_them():
    model, (x, y) = awake(), table()
    batch = TaskBatch(x[None], y[None], n_train=6, n_classes=torch.tensor([2]))
    small, wide = GrowingContext(model, batch, 0), GrowingContext(model, batch, 6)
    before = small.logits(batch.x[:, 11:])
    for context in (small, wide):
        for i in range(6, 11):
            context.append(batch.x[:, i : i + 1], batch.y[:, i : i + 1])
    assert not torch.allclose(before, small.logits(batch.x[:, 11:]), atol=1e-4)
    torch.testing.assert_close(small.logits(batch.x[:, 11:]), wide.logits(batch.x[:, 11:]))


def test_a_mechanism_whose_states_do_not_merge_is_refused():
    model, (x, y) = awake(attention_type="sparse"), table()
    with pytest.raises(ValueError, match=r"cannot append rows.*refit='each'"):
        predictive_resample(model, x, y, refit="frozen", n_samples=2, horizon=2)


@pytest.mark.parametrize("refit", ["each", "frozen"])
def test_the_first_row_of_a_rollout_is_drawn_from_the_networks_prediction(refit):
    model, (x, y) = awake(), table()
    found = predictive_resample(
        model, x, y, n_samples=400, horizon=1, refit=refit, trajectories=True, generator=seeded()
    )
    batch = TaskBatch(
        torch.cat([x, x])[None], torch.cat([y, y])[None], 12, n_classes=torch.tensor([2])
    )
    with torch.no_grad():
        believed = model.predictive(batch).probs[0, :, 1].double().mean()
    assert abs(found.trajectories.y[:, -1].mean() - float(believed)) < 0.08
    assert (found.approximation is None) == (refit == "each")
    assert (found.approximation_error is None) == (refit == "each")


def test_frozen_rollouts_tell_how_far_they_are_from_exact_ones():
    model, (x, y) = awake(), table()
    found = predictive_resample(
        model, x, y, n_samples=20, horizon=4, refit="frozen", generator=seeded()
    )
    assert "frozen" in str(found.approximation)
    assert 0 < (found.approximation_error or 0) < 1
    assert "frozen" in repr(found)


@pytest.mark.parametrize("refit", ["each", "frozen"])
def test_numbers_are_drawn_in_the_units_of_the_table(refit):
    model, (x, _) = awake(head=None, regression_head="bars"), table()
    y = 1000 + 50 * x[:, 0]
    found = predictive_resample(
        model, x, y, "median", n_samples=30, horizon=3, refit=refit, generator=seeded()
    )
    assert (found.samples > 700).all()
    assert (found.samples < 1300).all()
    assert (found.approximation_error is None) == (refit == "each")


def test_an_empty_context_is_refused():
    with pytest.raises(ValueError, match="a table network needs at least one row"):
        predictive_resample(awake(), x_sampler=torch.distributions.Normal(0.0, 1.0))


# classifiers


@pytest.fixture(scope="module")
def classifier() -> PFNClassifier:
    return PFNClassifier("tiny", n_estimators=2)


def words(n: int = 16) -> tuple[pd.DataFrame, np.ndarray]:
    x, y = table(n)
    frame = pd.DataFrame(x.numpy(), columns=["a", "b", "c"])
    frame["kind"] = np.where(x[:, 1] > 0, "red", "blue")
    return frame, np.where(y.numpy() > 0, "yes", "no")


@pytest.mark.slow
@pytest.mark.parametrize("calibrate", [False, True])
def test_a_classifier_believes_what_it_predicts(classifier, calibrate):
    X, y = words()
    classifier = clone(classifier).set_params(calibrate=calibrate)
    believer = believer_of(classifier, X, y)
    rows, targets = believer.features(X)[None], believer.indices(y)[None]
    answer: Any = believer.ask(rows, targets, rows[:, :5])
    believed = answer.probs[0]
    fitted = classifier.fit(X, y)
    assert (fitted.temperature_ != 1) == calibrate
    np.testing.assert_allclose(believed, fitted.predict_proba(X.head(5)), atol=1e-4)
    assert believer.labels is not None
    assert believer.labels.tolist() == ["no", "yes"]


@pytest.mark.slow
@pytest.mark.parametrize("refit", ["each", "frozen"])
def test_a_table_of_words_is_resampled_by_its_rows_and_labels(classifier, refit):
    X, y = words()
    found = predictive_resample(
        classifier,
        X,
        y,
        lambda x, y: [(y == "yes").mean(), (x["kind"] == "red").mean()],
        n_samples=5,
        horizon=3,
        refit=refit,
        trajectories=True,
        generator=seeded(),
    )
    assert found.samples.shape == (5, 2)
    assert ((found.samples > 0) & (found.samples < 1)).all()
    assert found.trajectories.x.shape == (5, 19)
    assert set(found.trajectories.y.ravel()) == {"no", "yes"}


def test_classes_0_and_1_have_a_mean_and_rows_may_come_from_a_distribution(classifier):
    x, y = table(16)
    found = predictive_resample(
        classifier,
        x.numpy(),
        y.numpy().astype(int),
        "mean",
        n_samples=5,
        horizon=3,
        x_sampler=torch.distributions.Normal(0.0, 1.0),
        generator=seeded(),
    )
    assert ((found.samples > 0) & (found.samples < 1)).all()


def test_bad_input_of_classifiers_is_told(classifier):
    X, y = words()
    with pytest.raises(ValueError, match="needs numbers, but the model is a classifier of the"):
        predictive_resample(classifier, X, y, "mean", n_samples=2, horizon=2)
    with pytest.raises(ValueError, match="y is constant: every row has the class 'no'"):
        predictive_resample(classifier, X, np.full(len(X), "no"), n_samples=2, horizon=2)
    with pytest.raises(ValueError, match="PFNClassifier is a classifier"):
        predictive_resample(classifier, X, np.linspace(0, 1, len(X)), n_samples=2, horizon=2)
    with pytest.raises(ValueError, match="whose rows can only be drawn again"):
        predictive_resample(
            classifier, X, y, x_sampler=torch.distributions.Normal(0.0, 1.0), n_samples=2, horizon=2
        )
    with pytest.raises(ValueError, match="the context is empty: PFNClassifier needs rows"):
        predictive_resample(classifier, n_samples=2, horizon=2)
    with pytest.raises(ValueError, match="target_statistics is True, but its columns hold"):
        predictive_resample(clone(classifier).set_params(target_statistics=True), X, y)


@pytest.fixture(scope="module")
def regressor() -> PFNRegressor:
    model = awake(head=None, regression_head="bars")
    return PFNRegressor(model=model, n_estimators=3)


@pytest.mark.slow
@pytest.mark.parametrize("calibrate", [False, True])
def test_a_regressor_believes_what_it_predicts(regressor, calibrate):
    X, _ = words()
    regressor = clone(regressor).set_params(calibrate=calibrate)
    y = 100 + np.exp(X["a"].to_numpy())
    believer = believer_of(regressor, X, y)
    rows, targets = believer.features(X)[None], believer.indices(y)[None]
    believed = believer.ask(rows, targets, rows[:, :5])
    assert (regressor.fit(X, y).width_ != 1) == calibrate
    fitted = regressor.predict(X.head(5), output="distribution")
    levels = [0.05, 0.3, 0.5, 0.9]
    torch.testing.assert_close(
        believed.quantile(levels)[:, 0], fitted.quantile(levels), atol=1e-3, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize("refit", ["each", "frozen"])
def test_numbers_of_a_table_are_resampled_in_their_units(regressor, refit):
    X, _ = words()
    y = 100 + np.exp(X["a"].to_numpy())
    found = predictive_resample(
        regressor, X, y, "mean", n_samples=4, horizon=3, refit=refit, generator=seeded()
    )
    assert found.samples.shape == (4, 1)
    assert ((found.samples > 95) & (found.samples < 115)).all()
    with pytest.raises(ValueError, match="y is constant: every row has the target 3"):
        predictive_resample(regressor, X, np.full(len(X), 3.0), n_samples=2, horizon=2)
