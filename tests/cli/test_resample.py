"""`openpfn resample`: a table in, the martingale posterior of a statistic out; goes on where it was
interrupted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.bayes.rollouts import Resampling
from openpfn.cli import main

SMALL = ["--n-samples", "300", "--horizon", "6", "--checkpoint", "micro"]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    table = pd.DataFrame({"a": random.normal(size=20), "b": random.normal(size=20)})
    table["kind"] = np.where(table["a"] > 0, "yes", "no")
    table.loc[3, "kind"] = None
    table.to_csv("table.csv", index=False)
    return ["resample", "--data", "table.csv", "--target", "kind", "--positive", "yes", *SMALL]


def test_words_have_no_mean_and_the_share_of_one_is_offered(data, capsys):
    call = [word for word in data if word not in ("--positive", "yes")]
    assert main(call) == 2
    error = capsys.readouterr().err
    assert "holds words (no, yes), which have no mean" in error
    assert "--positive" in error


@pytest.mark.slow
def test_the_share_of_a_class_is_told_with_its_interval(data, tmp_path, capsys):
    assert main(data) == 0
    told = capsys.readouterr().out
    assert "mean: 0." in told
    assert "approximate: copula updates" in told
    summary = pd.read_csv(tmp_path / "resampled" / "posterior.csv")
    assert summary["low"][0] < summary["mean"][0] < summary["high"][0]
    draws = pd.read_csv(tmp_path / "resampled" / "draws.csv")
    assert len(draws) == 300
    assert (tmp_path / "resampled" / "posterior.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize("method", ["copula", "rollout"])
def test_a_call_that_was_interrupted_goes_on_and_gives_the_same(
    data, tmp_path, monkeypatch, method
):
    data += ["--method", method]
    assert main([*data, "--out", "whole"]) == 0
    done = Resampling.block

    def stopped(self, index, progress=None):
        if index:
            raise KeyboardInterrupt
        return done(self, index, progress)

    monkeypatch.setattr(Resampling, "block", stopped)
    assert main([*data, "--out", "parts"]) == 130
    calls = []
    monkeypatch.setattr(
        Resampling, "block", lambda self, i, p=None: calls.append(i) or done(self, i, p)
    )
    assert main([*data, "--out", "parts"]) == 0
    assert calls == [1]
    whole, parts = (pd.read_csv(tmp_path / name / "draws.csv") for name in ("whole", "parts"))
    pd.testing.assert_frame_equal(whole, parts)


@pytest.mark.slow
def test_other_options_do_not_go_on_with_what_is_there(data, capsys):
    assert main(data) == 0
    assert main([*data, "--seed", "1"]) == 2
    assert "made with other options (seed)" in capsys.readouterr().err
    assert main([*data, "--seed", "1", "--overwrite"]) == 0


@pytest.mark.slow
def test_estimators_and_functions_are_named_by_their_module(data, tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def gap(x, y):\n    return x['a'][y == 1].mean()\n")
    assert main([*data, "--functional", "mine:gap", "--out", "f"]) == 0
    assert "value: " in capsys.readouterr().out
    estimator = ["--functional", "sklearn.linear_model:LogisticRegression", "--n-samples", "4"]
    assert main([*data, *estimator, "--out", "e"]) == 0
    assert "intercept: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["--functional", "mode"], "unknown functional 'mode'"),
        (["--functional", "mine:nothing"], "cannot be imported"),
        (["--target", "missing"], "missing"),
        (["--positive", "maybe"], "holds: no, yes"),
        (["--level", "2"], "--level is 2"),
        (["--horizon", "0"], "horizon is 0"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_wrong_options_are_told_in_one_line(data, capsys, changes, told):
    assert main([*data, *changes]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_words_are_no_numbers(data, capsys):
    call = [word for word in data if word not in ("--positive", "yes")]
    assert main([*call, "--task", "regression"]) == 2
    assert "not all are numbers" in capsys.readouterr().err
