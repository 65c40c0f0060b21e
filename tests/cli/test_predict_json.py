"""`openpfn predict --json`: one object with everything, for programs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from openpfn import checkpoint, cli
from tests.estimators.conftest import NUMBERS, random_network


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"size": random.normal(size=40), "colour": ["red", "blue"] * 20})
    table["kind"], table["price"] = ["a", "b"] * 20, np.exp(table["size"])
    table[:30].to_csv(tmp_path / "TRAIN.csv", index=False)
    table[30:].to_csv(tmp_path / "TEST.csv.gz", index=False)
    checkpoint.save(tmp_path / "weights" / "nano.safetensors", random_network(NUMBERS))
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)


def told(capsys, *arguments: str) -> dict:
    assert cli.main(["predict", "TRAIN.csv", "TEST.csv.gz", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_classes_come_with_probabilities_and_scores(capsys):
    found = told(capsys, "--target", "kind")
    assert found["task"] == "classification"
    assert found["classes"] == ["a", "b"]
    assert found["n_context"] == 30
    assert found["n_predictions"] == len(found["predictions"]) == 10
    first = found["predictions"][0]
    assert first["probability of a"] + first["probability of b"] == pytest.approx(1)
    assert set(found["scores"]) == {"accuracy", "auc", "log_loss", "n_rows"}
    assert any(line.startswith("colour: categories") for line in found["columns"])


def test_numbers_come_with_quantiles_and_a_file_takes_the_place_of_rows(capsys):
    found = told(capsys, "--target", "price")
    assert set(found["predictions"][0]) == {
        "mean",
        "quantile 0.05",
        "quantile 0.5",
        "quantile 0.95",
    }
    assert found["scores"]["n_rows"] == 10
    found = told(capsys, "--target", "price", "--out", "OUT.parquet")
    assert "predictions" not in found
    assert found["out"] == "OUT.parquet"
    assert len(pd.read_parquet("OUT.parquet")) == 10


def test_what_is_no_number_is_null(capsys):
    test = pd.read_csv("TEST.csv.gz")
    test.assign(kind="unheard of").to_csv("TEST.csv.gz", index=False)
    assert told(capsys, "--target", "kind")["scores"] is None


def test_without_a_file_or_json_there_is_an_error(capsys):
    assert cli.main(["predict", "TRAIN.csv", "TEST.csv.gz", "--target", "kind"]) == 2
    assert "there is no --out" in capsys.readouterr().err
