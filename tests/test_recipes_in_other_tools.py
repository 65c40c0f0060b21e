"""Recipes for other tools keep to what those tools ask, and to closed forms where there are any."""

from __future__ import annotations

import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from openpfn import PFNClassifier
from tests.estimators.conftest import NUMBERS, KernelNetwork, random_network

FOLDER = Path(__file__).parent.parent / "recipes"
RANDOM = np.random.default_rng(0)
X = pd.DataFrame({"size": RANDOM.normal(size=40), "colour": RANDOM.choice(["red", "blue"], 40)})
y = pd.Series(np.where(X["size"] > 0, 1, 0))


def recipe(name: str) -> Any:
    return types.SimpleNamespace(**runpy.run_path(str(FOLDER / f"{name}.py")))


class StubModel:
    """What `OpenPFNModel` uses of AutoGluon's `AbstractModel`."""

    def __init__(
        self, problem_type: str, quantile_levels: Any = None, **hyperparameters: Any
    ) -> None:
        self.problem_type, self.quantile_levels = problem_type, quantile_levels
        self.params = dict(hyperparameters)
        self._set_default_params()

    def _set_default_params(self) -> None:
        pass

    def _set_default_param_value(self, name: str, value: Any) -> None:
        self.params.setdefault(name, value)

    def _get_model_params(self) -> dict[str, Any]:
        return dict(self.params)

    def preprocess(self, X: Any, **kwargs: Any) -> Any:
        return X.rename(columns=str)

    def _predict_proba(self, X: Any, **kwargs: Any) -> Any:
        found: Any = self.model  # pyright: ignore[reportAttributeAccessIssue]
        shown = self.preprocess(X)
        return found.predict(shown) if self.problem_type == "regression" else (
            found.predict_proba(shown)
        )  # fmt: skip

    @classmethod
    def _get_default_ag_args_ensemble(cls, **kwargs: Any) -> dict[str, Any]:
        return {"fold_fitting_strategy": "auto", "save_bag_folds": True}


@pytest.fixture
def autogluon_model(monkeypatch):
    """The recipe on a stub of AutoGluon, which is large and pins other versions of much."""
    models: Any = types.ModuleType("autogluon.core.models")
    models.AbstractModel = StubModel
    for name in ("autogluon", "autogluon.core"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "autogluon.core.models", models)
    module = recipe("autogluon_model")
    return module.OpenPFNModel, module.search_space


@pytest.mark.parametrize("problem_type", ["binary", "regression", "quantile"])
def test_a_model_for_autogluon_predicts_what_its_problem_asks(autogluon_model, problem_type):
    kind, _ = autogluon_model
    network = random_network(NUMBERS)
    target = y if problem_type == "binary" else X["size"] * 2
    model = kind(problem_type, quantile_levels=[0.1, 0.9], model=network, n_estimators=1)
    model._fit(X, target, time_limit=100, num_cpus=1, num_gpus=0)
    answer = model._predict_proba(X)
    assert answer.shape == ((40,) if problem_type == "regression" else (40, 2))
    assert problem_type in kind.supported_problem_types()
    assert model.params["random_state"] == 0


def test_fine_tuning_within_autogluon_keeps_its_time_limit(autogluon_model):
    kind, search_space = autogluon_model
    options = {"fine_tune": {"n_steps": 3}, "model": random_network(), "n_estimators": 1}
    model = kind("binary", **options)
    model._fit(X, y, time_limit=1e-6)
    assert model.model.fine_tune.time_limit == pytest.approx(0.8e-6)
    assert model.model.fine_tuning_.ended == "time_limit"
    assert model.params["fine_tune"] == {"n_steps": 3}
    drawn = search_space(4)
    assert drawn[0] == {}
    assert len(drawn) == 4
    assert kind._get_default_ag_args_ensemble()["refit_folds"]
    for hyperparameters in drawn:
        PFNClassifier(**hyperparameters)._check_parameters()


class FrequencyClassifier:
    """The share of events per interval, whatever the other columns."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.share = pd.Series(y).groupby(X["interval"].to_numpy()).mean()

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        hazard = self.share[X["interval"]].to_numpy()
        return np.stack([1 - hazard, hazard], axis=1)


def test_survival_of_all_rows_alike_is_the_estimate_of_kaplan_and_meier():
    survival = recipe("survival")
    time = np.array([1.0, 2, 2, 3, 4, 4, 5, 6])
    event = np.array([1, 1, 0, 1, 1, 0, 1, 1], dtype=bool)
    model = survival.DiscreteSurvival(FrequencyClassifier(), n_intervals=100)
    table = pd.DataFrame({"age": np.arange(8.0)})
    curve = model.fit(table, time, event).predict_survival(table[:1])[0]
    product = 1.0
    for end, left in zip(model.ends, curve, strict=True):
        # intervals so short that each ends at most one time
        product *= 1 - (event & (time == end)).sum() / (time >= end).sum()
        assert left == pytest.approx(product)
    assert len(model.ends) >= 5


def test_survival_ranks_patients_and_refuses_a_study_without_events():
    survival = recipe("survival")
    patients, time, event = survival.drawn_patients(120)
    classifier = PFNClassifier(model=KernelNetwork(), n_estimators=1)
    model = survival.DiscreteSurvival(classifier, n_intervals=4).fit(
        patients[:80], time[:80], event[:80]
    )
    curves = model.predict_survival(patients[80:])
    assert (np.diff(curves, axis=1) <= 0).all()
    assert survival.concordance(-curves.mean(axis=1), time[80:], event[80:]) > 0.6
    with pytest.raises(ValueError, match="no row ended with the event"):
        model.fit(patients, time, np.zeros(120, dtype=bool))


class Lines:
    """Linear regression, every quantile of which is its mean."""

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.line = LinearRegression().fit(X, y)

    def predict(self, X: pd.DataFrame, output: str, quantiles: list[float]) -> np.ndarray:
        assert output == "quantiles"
        return np.repeat(self.line.predict(X)[:, None], len(quantiles), axis=1)


def test_a_forecast_continues_trend_and_waves_exactly_where_there_is_nothing_else():
    series = recipe("time_series")
    day = np.arange(168.0)
    values = 3 + 0.2 * day + np.sin(2 * np.pi * day / 7) + 2 * np.cos(2 * np.pi * day / 28)
    assert {7.0, 28.0} <= set(series.periods_of(values[:140]))
    found = series.forecast(Lines(), values[:140], 28, periods=[7, 28], levels=[0.5])
    np.testing.assert_allclose(found[:, 0], values[140:], atol=0.05)


def test_the_server_answers_and_names_what_is_wrong(monkeypatch, tmp_path):
    class HTTPException(Exception):
        pass

    class FastAPI:
        def post(self, path: str) -> Any:
            assert path == "/predict"
            return lambda handler: handler

    stub: Any = types.ModuleType("fastapi")
    stub.FastAPI, stub.HTTPException = FastAPI, HTTPException
    monkeypatch.setitem(sys.modules, "fastapi", stub)
    fitted = PFNClassifier(model=random_network(), n_estimators=1).fit(X, y)
    monkeypatch.setenv("MODEL", str(fitted.save(tmp_path / "model.safetensors")))
    server = recipe("server")
    rows = [{"colour": "red", "size": 0.5}, {"size": None, "colour": "blue"}]
    answers = server.predict(rows)
    table = pd.DataFrame(rows)[["size", "colour"]]
    expected = fitted.predict_proba(table)
    assert [list(answer) for answer in answers] == [["0", "1"]] * 2
    assert np.array_equal([list(answer.values()) for answer in answers], expected)
    with pytest.raises(HTTPException, match="size"):
        server.predict([{"colour": "red"}])


def test_the_documentation_shows_the_server_as_it_is():
    page = (FOLDER.parent / "docs" / "in-other-tools.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```py\n(.*?)```", page, re.DOTALL)
    assert (FOLDER / "server.py").read_text(encoding="utf-8") in blocks
    assert len((FOLDER / "server.py").read_text(encoding="utf-8").splitlines()) <= 30
