"""Laws of `openpfn benchmark beliefs`: every row is measured and kept, and truth passes where
falsehood does not."""

from __future__ import annotations

import json
from functools import partial

import pytest

from openpfn import cli
from openpfn.benchmark.bayes import speed
from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.benchmark.beliefs import measures
from openpfn.benchmark.beliefs.config import NAMES, BeliefsConfig
from openpfn.benchmark.beliefs.measures import measured

SMALL = {
    "minutes": 0.02,
    "rollouts": 4,
    "repeats": 1,
    "n_tasks": 200,
    "n_draws": 20,
    "n_tests": 3,
    "n_contexts": 2,
    "checkpoint": "tiny",
}


@pytest.mark.slow
def test_exact_rollouts_have_the_posteriors_covariance_within_chance(monkeypatch):
    monkeypatch.setattr(measures, "EXACT_ROLLOUTS", 1000)
    monkeypatch.setattr(measures, "EXACT_COLUMNS", 4)
    monkeypatch.setattr(measures, "EXACT_GIVEN", 2)
    assert measured("least_squares", BeliefsConfig(**SMALL))["value"] < 0.1


def test_the_truth_passes_and_a_wrong_noise_fails_with_enough_tasks():
    config = BeliefsConfig(**SMALL)
    assert measures.passes(0.25, 0, config)
    assert not measures.passes(2.0, 0, config)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"only": ("means",)}, "only holds 'means'. Choose of resampling_64"),
        ({"n_contexts": 1}, "n_contexts is 1"),
        ({"minutes": 0.0}, "minutes is 0.0"),
    ],
)
def test_wrong_options_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        BeliefsConfig(**SMALL | changes)


@pytest.mark.slow
def test_the_command_measures_and_writes_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "WIDTH", 8)
    monkeypatch.setattr(measures, "BayesConfig", partial(BayesConfig, d_model=8, batch_size=4))
    monkeypatch.setattr(measures, "EXACT_ROLLOUTS", 200)
    monkeypatch.setattr(measures, "COPULA_HORIZON", 20)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    out, page = tmp_path / "beliefs.json", tmp_path / "page.md"
    words = ["benchmark", "beliefs", *options, "--out", str(out), "--page", str(page)]
    names = [name for name in NAMES if name not in ("resampling_128", "resampling_256")]
    assert cli.main([*words, "--only", *names]) == 0
    rows = json.loads(out.read_text())["rows"]
    assert [row["name"] for row in rows] == names
    for row in rows:
        assert row["what"] in page.read_text()
    capsys.readouterr()
    assert cli.main([*words, "--only", "least_squares"]) == 0
    assert capsys.readouterr().out.count("reached (") == 1
    assert len(json.loads(out.read_text())["rows"]) == len(names)


def test_draws_are_the_same_with_and_without_kept_keys(monkeypatch):
    monkeypatch.setattr(speed, "WIDTH", 8)
    monkeypatch.setitem(measures.TIMES_FASTER, 6, 1)
    row = measured("resampling_6", BeliefsConfig(**SMALL))
    assert float(row["more"].partition("apart by ")[2]) < 1e-5
