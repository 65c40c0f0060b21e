"""Laws of `openpfn benchmark bayes`: the truth has no gap, buckets cost what they must, budgets
hold, results are written whole."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from openpfn import cli
from openpfn.benchmark.bayes import report as bayes_report
from openpfn.benchmark.bayes import speed as bayes_speed
from openpfn.benchmark.bayes.config import GAP_NAMES, SPEED_NAMES, BayesConfig
from openpfn.benchmark.bayes.gap import PROBLEMS, gaps, in_buckets, network
from openpfn.models import PFN

TINY = {"d_model": 8, "n_layers": 1, "batch_size": 4, "eval_tasks": 8, "rollouts": 2, "repeats": 1}


class Truth:
    """The exact posterior in the place of a network."""

    def __init__(self, problem):
        self.exact, self.borders = problem.exact(), None

    def prefixes(self, batch):
        return self.exact.prefixes(batch.x, batch.y)


@pytest.mark.parametrize("name", GAP_NAMES)
def test_the_truth_has_no_gap_and_any_network_has_one(name):
    config = BayesConfig(**TINY | {"eval_tasks": 64})
    gap, floor = gaps(PROBLEMS[name], Truth(PROBLEMS[name]), config)
    assert gap.shape == (64, PROBLEMS[name].seq_len)
    assert float(gap.abs().max()) == float(floor.abs().max()) == 0
    gap, _ = gaps(PROBLEMS[name], PFN(network(PROBLEMS[name], config)).eval(), config)
    assert float(gap.mean()) > 0.02


def test_the_exact_posterior_is_that_of_the_prior():
    """Targets standardised by the exact predictive are standard normal: mean square 1, up to
    chance."""
    for name in ("linear_1", "linear_4", "gp"):
        problem = PROBLEMS[name]
        batch = (
            problem.prior()
            .of_length(problem.seq_len)
            .sample(2000, torch.Generator().manual_seed(0))
        )
        truth = problem.exact().prefixes(batch.x, batch.y)
        z = (batch.y - truth.mean) / truth.variance.sqrt()
        assert float(z.square().mean()) == pytest.approx(1.0, abs=0.03)
        assert float(batch.y.std()) == pytest.approx(problem.spread, rel=0.05)


def test_more_buckets_cost_less_and_a_network_can_do_no_better_than_its_buckets():
    problem, floors = PROBLEMS["linear_1"], []
    for n_buckets in (20, 500):
        config = BayesConfig(**TINY | {"eval_tasks": 256}, head="uniform", d_vocab=n_buckets)
        gap, floor = gaps(problem, PFN(network(problem, config)).eval(), config)
        floors.append(float(floor.mean()))
        assert float(gap.mean()) > floors[-1]
    assert 0 < floors[1] < 0.02 < floors[0]


def test_the_exact_masses_of_buckets_sum_to_one():
    problem = PROBLEMS["linear_4"]
    config = BayesConfig(**TINY, head="uniform", d_vocab=50)
    model = PFN(network(problem, config))
    batch = problem.prior().of_length(5).sample(3, torch.Generator().manual_seed(0))
    bars = in_buckets(problem.exact().prefixes(batch.x, batch.y), model)
    assert bars.shape == (3, 5)
    torch.testing.assert_close(bars.logits.exp().sum(-1), torch.ones(3, 5, dtype=torch.float64))


@pytest.mark.slow
def test_the_set_alone_does_not_mind_the_order():
    row = bayes_speed.measured("permutation", BayesConfig(**TINY))
    assert row["reached"]
    assert row["value"] < 1e-5 < 0.01 < row["autoregressive"]


def test_ratios_are_taken_repeat_by_repeat():
    row = bayes_speed.ratio_row(np.array([2.0, 40.0, 6.0]), np.array([1.0, 10.0, 2.0]), bar=3)
    assert (row["value"], row["low"], row["high"], row["reached"]) == (3.0, 2.0, 4.0, True)


@pytest.mark.slow
def test_the_command_measures_and_writes_everything(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bayes_speed, "STEPS", 5)
    out, page = tmp_path / "bayes.json", tmp_path / "docs" / "bayes.md"
    names = [
        "linear_1",
        "coin",
        "sampling",
        "share",
        "permutation",
    ]  # told in the order of the page
    small = [
        word for name, value in TINY.items() for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    arguments = [
        "--only",
        *names,
        "--minutes",
        "0.004",
        *small,
        "--out",
        str(out),
        "--page",
        str(page),
    ]
    assert cli.main(["benchmark", "bayes", *arguments]) == 0
    rows = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert list(rows) == ["sampling", "share", "permutation", "linear_1", "coin"]
    assert rows["linear_1"]["steps"] >= 1
    assert not rows["linear_1"]["reached"]
    assert 0 < rows["linear_1"]["drawing_share"] < 1
    assert rows["linear_1"]["value"] == pytest.approx(np.mean(rows["linear_1"]["by_row"]), abs=1e-4)
    assert rows["sampling"]["value"] > 1
    text = page.read_text()
    assert text.startswith("# Against exact posteriors")
    assert "--minutes 0.004 --d-model 8" in text
    assert "| linear regression, D = 1, T = 16 | " in text
    assert "linear_1: " in capsys.readouterr().out
    again = ["--only", "permutation", "--minutes", "0.004", *small, "--out", str(out)]
    assert cli.main(["benchmark", "bayes", *again]) == 0
    after = {row["name"]: row for row in json.loads(out.read_text())["rows"]}
    assert {name: row for name, row in after.items() if name != "permutation"} == {
        name: row for name, row in rows.items() if name != "permutation"
    }
    assert cli.main(["benchmark", "bayes", *again, "--seed", "1"]) == 0
    assert [row["name"] for row in json.loads(out.read_text())["rows"]] == ["permutation"]


@pytest.mark.slow
def test_generation_tells_both_baselines_and_how_far_logits_are_apart():
    row = bayes_speed.generation(6, BayesConfig(**TINY))
    assert row["logits_apart"] < 1e-4
    assert set(row["seconds"]) == {"cached", "every token anew", "two streams anew"}
    assert "against two streams" in bayes_report.more(row)


def test_unknown_names_and_budgets_are_refused():
    with pytest.raises(ValueError, match=r"only holds 'linear'\. Choose of linear_1"):
        BayesConfig(only=("linear",))
    with pytest.raises(ValueError, match="minutes is 0"):
        BayesConfig(minutes=0.0)
    assert set(GAP_NAMES) == set(PROBLEMS)
    assert {name for name in SPEED_NAMES if name.startswith("generation_")} == {
        "generation_64",
        "generation_128",
    }
