"""`openpfn distill`: a small model in a file, its loss of quality in a line."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from openpfn import DistilledClassifier, DistilledRegressor, checkpoint, cli
from tests.estimators.conftest import NUMBERS, random_network

RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"size": RANDOM.normal(size=60), "colour": RANDOM.choice(["red", "blue"], 60)}
).assign(weight=lambda t: 1.5 + t["size"] + (t["colour"] == "red"))
TABLE["kind"] = np.where(TABLE["weight"] > 2, "heavy", "light")


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    """A small random network stands in for the shipped nano; tables in the current folder."""
    checkpoint.save(tmp_path / "shipped" / "nano.safetensors", random_network(NUMBERS))
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path / "shipped")
    TABLE.drop(columns="weight").to_csv(tmp_path / "kinds.csv", index=False)
    TABLE.drop(columns="kind").to_csv(tmp_path / "weights.csv", index=False)
    monkeypatch.chdir(tmp_path)


def run(table: str, target: str, *arguments: str) -> int:
    words = [table, "--target", target, "--out", "small.safetensors", "--n-rows", "80"]
    return cli.main(["distill", *words, "--n-estimators", "1", *arguments])


def test_classes_are_distilled_and_scored_on_rows_that_were_held_out(capsys):
    assert run("kinds.csv", "kind", "--kind", "linear") == 0
    told = capsys.readouterr().out
    assert re.search(r"explains -?[\d.]+% of the variance of the network's answers", told)
    assert re.search(r"ROC AUC [\d.]+, the network [\d.]+: .* kept \(15 rows held out", told)
    model = DistilledClassifier.load("small.safetensors")
    assert model.predict_proba(TABLE[["size", "colour"]]).shape == (60, 2)
    assert run("kinds.csv", "kind") == 2
    assert "small.safetensors exists" in capsys.readouterr().err


def test_numbers_are_distilled_and_scored_on_another_table(capsys):
    assert run("weights.csv", "weight", "--test", "weights.csv") == 0
    assert re.search(r"R² .* kept \(60 rows on weights.csv\)", capsys.readouterr().out)
    assert DistilledRegressor.load("small.safetensors").predict(
        TABLE[["size", "colour"]]
    ).shape == (60,)


def test_what_leaves_nothing_to_hold_out_is_told_in_one_line(tmp_path, capsys):
    TABLE[["size", "kind"]][:5].to_csv(tmp_path / "few.csv", index=False)
    assert run("few.csv", "kind") == 2
    assert "5 rows with a target, too few to hold some out" in capsys.readouterr().err
