"""`openpfn predict` on a target that is a number: means and quantiles in a file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNRegressor, checkpoint, cli
from tests.estimators.conftest import NUMBERS, SMALL, random_network


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """TRAIN.csv and TEST.csv in the current folder, and a random network as the shipped nano."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"size": random.normal(size=50), "colour": ["red", "blue"] * 25})
    table["price"] = np.exp(table["size"]) + random.normal(size=50) / 10
    table[:30].to_csv(tmp_path / "TRAIN.csv", index=False)
    table[30:].to_csv(tmp_path / "TEST.csv", index=False)
    checkpoint.save(tmp_path / "weights" / "nano.safetensors", random_network(NUMBERS))
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    command = ["predict", "TRAIN.csv", "TEST.csv", "--target", "price", "--out", "OUT.csv"]
    return cli.main([*command, "--force", *arguments])


def test_the_file_holds_what_the_regressor_predicts(capsys):
    assert run("--quantiles", "0.1", "0.9") == 0
    train, test = pd.read_csv("TRAIN.csv"), pd.read_csv("TEST.csv")
    regressor = PFNRegressor().fit(train[["size", "colour"]], train["price"])
    out = pd.read_csv("OUT.csv")
    assert list(out.columns) == ["mean", "quantile 0.1", "quantile 0.9"]
    mean = regressor.predict(test[["size", "colour"]])
    assert_allclose(out["mean"], mean, rtol=1e-12)
    low, high = regressor.interval(test[["size", "colour"]], 0.8)
    assert_allclose(out.iloc[:, 1:], np.stack([low, high], axis=1), rtol=1e-12)
    printed = capsys.readouterr().out
    assert "regression: column 'price' holds 30 different numbers (--task classif" in printed
    assert f"RMSE {((mean - test['price']) ** 2).mean() ** 0.5:.6g}, MAE" in printed
    believed = regressor.predict(test[["size", "colour"]], output="distribution")
    assert f"CRPS {float(believed.crps(test['price'].to_numpy()).mean()):.6g}, " in printed
    assert "(20 rows)" in printed


def test_tiny_numbers_keep_their_digits():
    for name in ("TRAIN.csv", "TEST.csv"):
        table = pd.read_csv(name)
        table.assign(price=table["price"] * 1e-30).to_csv(name, index=False)
    assert run() == 0
    out = pd.read_csv("OUT.csv")
    assert (out["quantile 0.05"] < out["quantile 0.95"]).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("price", "arguments", "said"),
    [
        (lambda p: (p > 1).astype(int), [], "classification: column 'price' holds 2 different"),
        (lambda p: (p > 1).astype(int), ["--task", "regression"], "regression: column 'price' ho"),
        (lambda p: p.round().astype(int), ["--task", "classification"], "(as asked)"),
        (lambda p: [f"{v:.3f}".replace(".", ",") for v in p], [], "regression: column 'price' ho"),
    ],
    ids=["whole", "whole as numbers", "numbers as classes", "decimal commas"],
)
def test_the_values_decide_and_the_task_can_be_told(capsys, price, arguments, said):
    for name in ("TRAIN.csv", "TEST.csv"):
        table = pd.read_csv(name)
        table.assign(price=price(table["price"])).to_csv(name, index=False, sep=";")
    assert run(*arguments) == 0
    printed = capsys.readouterr().out
    assert said in printed
    is_regression = printed.startswith("regression")
    first = pd.read_csv("OUT.csv").columns[0]
    assert first == ("mean" if is_regression else "prediction")
    assert ("CRPS" in printed) == is_regression


def test_rows_without_a_number_are_not_scored(capsys):
    test = pd.read_csv("TEST.csv")
    test.loc[:2, "price"] = np.nan
    test.to_csv("TEST.csv", index=False)
    assert run() == 0
    assert "(17 rows, 3 rows left out: no number)" in capsys.readouterr().out


def test_a_constant_number_is_predicted_where_regression_is_asked_for(capsys):
    train = pd.read_csv("TRAIN.csv").assign(price=2.5)
    train.to_csv("TRAIN.csv", index=False)
    assert run() == 2
    assert "at least two classes" in capsys.readouterr().err
    assert run("--task", "regression") == 0
    assert (pd.read_csv("OUT.csv") == 2.5).all(axis=None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--softmax-temperature", "0.9"], "'price' is predicted as a number"),
        (["--target", "colour", "--task", "regression"], "holds words, and no numbers"),
    ],
)
def test_options_that_do_not_fit_are_one_clear_line(capsys, arguments, message):
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_classes_alone_is_told(files, capsys):
    checkpoint.save(files / "weights" / "nano.safetensors", random_network(SMALL))
    assert run() == 2
    assert "checkpoint 'nano' predicts classes alone" in capsys.readouterr().err


def test_levels_outside_the_unit_interval_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--quantiles", "5")
    assert "quantiles is (5.0,)" in capsys.readouterr().err
