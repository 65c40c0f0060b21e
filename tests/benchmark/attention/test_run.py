"""Laws of `openpfn benchmark attention`: the same tasks for all, runs that go on after a kill, and
honest arithmetic."""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from openpfn import cli
from openpfn.batch import TaskBatch
from openpfn.benchmark.attention import report as compare_report
from openpfn.benchmark.attention import results as compare_results
from openpfn.benchmark.attention import run as compare_attention
from openpfn.benchmark.attention import tasks as compare_tasks
from openpfn.benchmark.attention import timing as compare_timing
from openpfn.benchmark.attention import worker as compare_worker
from openpfn.benchmark.attention.config import AttentionConfig
from openpfn.benchmark.attention.report import write_report
from openpfn.benchmark.attention.results import Comparison, mean_and_error
from openpfn.benchmark.attention.worker import LOGISTIC, Job
from openpfn.configs import PriorConfig, TabularConfig
from openpfn.configs.real_table import RealTableConfig
from openpfn.data.dump_reader import PriorDumpDataLoader
from openpfn.training import TrainingStopped

NETWORK = TabularConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=3, n_knots=4)
TASKS = PriorConfig(
    min_features=2,
    max_features=3,
    max_seq_len=30,
    max_classes=3,
    min_context_share=0.5,
    max_context_share=0.5,
)
TABLE = RealTableConfig("wine", total_rows=24, train_rows=16, num_features=4, test_share=0.5)


def small(out: Path, **changes: Any) -> AttentionConfig:
    options: dict[str, Any] = {
        "mechanisms": ("softmax", "linear"),
        "num_steps": 20,
        "seeds": 1,
        "out": out,
        "batch_size": 2,
        "eval_every": 10,
        "held_out": 6,
        "lengths": (1, 2),
        "inference_rows": (5, 10),
        "query_rows": 3,
        "network": NETWORK,
        "tasks": TASKS,
        "table": TABLE,
    }
    return AttentionConfig(**options | changes)


def silent(share: float) -> None:
    assert 0 <= share < 1


RECIPE = Path(__file__).parents[3] / "recipes" / "cheaper_attention.py"
SHORT = """
    --table.source wine --table.total-rows 24 --table.train-rows 16 --table.num-features 4
    --table.test-share 0.5
    --mechanisms linear --num-steps 20 --batch-size 2 --eval-every 10 --held-out 6 --lengths 1 2
    --inference-rows 5 10 --query-rows 3
    --network.d-model 8 --network.n-heads 2 --network.n-layers 1 --network.d-mlp 8
    --network.max-classes 3 --network.n-knots 4
"""
"""The recipe made short."""


def of_the_recipe(out: Path) -> AttentionConfig:
    """What the short recipe asks for."""
    table = replace(TABLE, shuffle_columns_for_each_task=True, shuffle_classes_for_each_task=True)
    return small(
        out, mechanisms=("linear",), prior="real_tables", table=table, tasks=AttentionConfig().tasks
    )


def run_jobs_here(jobs: list[Job], config: AttentionConfig, *_: object) -> dict[str, str]:
    """Run jobs in this process, which need not start and import torch first."""
    for job in jobs:
        assert compare_worker.do((config, job), silent)
    return {}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> AttentionConfig:
    """A comparison of one mechanism on a real table."""
    config = of_the_recipe(tmp_path_factory.mktemp("comparison"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_attention, "run_jobs", run_jobs_here)
        assert compare_attention.compare(config) == {}
    return config


@pytest.mark.slow
def test_the_recipe_does_its_jobs_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *SHORT.split(), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(RECIPE), run_name="__main__")
    assert not end.value.code
    assert compare_attention.claim_folder(of_the_recipe(tmp_path)) is None
    for job in (Job("train", "linear", 0), Job(LOGISTIC), Job("timing")):
        assert compare_attention.is_done(of_the_recipe(tmp_path), job)
        assert (tmp_path / job.name / "log.txt").is_file()
    assert list(pd.read_csv(tmp_path / "results.csv")["mechanism"]) == ["linear"]
    assert "wine" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_a_comparison_leaves_histories_results_and_a_page(done):
    history = pd.read_csv(done.out / "linear-seed0" / "history.csv")
    assert history["step"].iloc[-1] == done.num_steps
    assert {"loss", "eval_loss", "eval_auc", "seconds"} <= set(history.columns)
    runs = pd.read_csv(done.out / "results.csv")
    assert list(runs["mechanism"]) == ["linear"]
    assert runs["auc"].between(0, 1).all()
    assert 100 < runs["peak_mb"].iloc[0] < 5000
    assert (done.out / "overview.png").stat().st_size > 10_000
    summary = (done.out / "summary.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in summary] == ["mechanism", "linear"]
    text = (done.out / "report.html").read_text()
    assert "wine" in text
    assert not re.search(r"(src|href)=\"?http|<script|@import|url\(http", text)
    for section in (
        "After equal steps",
        "After equal time",
        "What it costs",
        "Longer contexts",
        "Protocol",
    ):
        assert f">{section}</h2>" in text


@pytest.mark.slow
def test_what_is_finished_is_not_done_again(done, monkeypatch):
    monkeypatch.setattr(
        compare_attention,
        "run_jobs",
        lambda jobs, *_: pytest.fail(f"{jobs} ran again") if jobs else {},
    )
    monkeypatch.setattr(compare_report, "write_report", lambda *_: None)  # seconds of drawing
    assert compare_attention.compare(done) == {}


@pytest.mark.slow
def test_a_folder_keeps_to_its_settings(done):
    with pytest.raises(ValueError, match=r"other settings: num_steps 20 → 21"):
        compare_attention.compare(replace(done, num_steps=21))
    compare_attention.claim_folder(replace(done, mechanisms=("softmax",), seeds=3, jobs=2))


@pytest.mark.slow
def test_the_evaluation_while_training_is_the_score_at_length_one(done):
    history = pd.read_csv(done.out / "linear-seed0" / "history.csv")
    at_end = compare_results.after_equal_steps(compare_results.read_results(done))
    assert at_end["log_loss"].iloc[0] == pytest.approx(history["eval_loss"].iloc[-1], abs=1e-5)
    assert at_end["auc"].iloc[0] == pytest.approx(history["eval_auc"].iloc[-1], abs=1e-6)


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    config = small(tmp_path / "stopped")
    whole = replace(config, out=tmp_path / "whole")
    job = Job("train", "linear", 1)
    for each in (config, whole):
        each.out.mkdir()
        compare_tasks.write_training_tasks(each, each.out / compare_worker.TASKS)

    def stop(share: float) -> None:
        if share < 0.6:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingStopped):
        compare_worker.train_run(config, job, stop)
    assert not compare_attention.is_done(config, job)
    compare_worker.train_run(config, job, silent)
    compare_worker.train_run(whole, job, silent)
    assert compare_attention.is_done(config, job)
    stopped, straight = (
        (each.out / job.name / compare_worker.LENGTHS).read_text() for each in (config, whole)
    )
    assert stopped == straight


def test_a_failed_job_says_why_and_the_others_go_on(tmp_path, monkeypatch):
    config = small(tmp_path / "runs")
    (tmp_path / "falling_dice.py").write_text(
        "def do(order, tell):\n    tell(0.5)\n    raise SystemExit('the dice fell')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(compare_attention, "WORKER", "falling_dice:do")
    failed = compare_attention.run_jobs(
        [Job("train", "linear"), Job("train", "softmax")], config, 2
    )
    assert set(failed) == {"linear-seed0", "softmax-seed0"}
    assert "the dice fell" in failed["linear-seed0"]
    with pytest.raises(ValueError, match=r"no run in .* is finished"):
        compare_results.read_results(config)


def test_all_lengths_ask_for_the_same_rows_of_the_same_tasks(tmp_path):
    config = small(tmp_path)
    source = compare_tasks.TaskSource(config)
    tasks = compare_tasks.held_out_tasks(config)
    assert sum(batch.n_tasks for batch in tasks) == config.held_out
    for batch in tasks:
        assert batch.n_train == 2 * source.longest
        short = compare_tasks.with_context(batch, source.longest)
        assert torch.equal(short.y_query, batch.y_query)
        assert torch.equal(
            short.x[:, source.longest :].nan_to_num(9.0),
            batch.x[:, batch.n_train :].nan_to_num(9.0),
        )
        for i in range(batch.n_tasks):
            assert set(batch.y[i].tolist()) == set(short.y_context[i].tolist())


def test_held_out_tasks_of_a_table_take_rows_that_no_training_task_has(tmp_path):
    source = compare_tasks.TaskSource(small(tmp_path, prior="real_tables"))
    generator = torch.Generator().manual_seed(0)
    trained, held_out = (
        prior.sample(30, generator).latents["rows"]
        for prior in (source.prior, source.with_longest_contexts())
    )
    assert not set(trained.flatten().tolist()) & set(held_out.flatten().tolist())
    assert held_out.shape[1] == 2 * 16 + 8


@pytest.mark.slow
def test_training_tasks_are_the_same_whether_or_not_their_file_was_cut_short(tmp_path):
    config = small(tmp_path, num_steps=100)
    one = replace(config, num_steps=10)
    for path, steps in (("a.h5", [config]), ("b.h5", [one, config])):
        for each in steps:
            compare_tasks.write_training_tasks(each, tmp_path / path)
    a, b = (
        list(PriorDumpDataLoader(tmp_path / path, 2, 100, shuffle=False))
        for path in ("a.h5", "b.h5")
    )
    assert sum(batch.n_tasks for batch in a) == 200
    assert all(
        torch.equal(x.x.nan_to_num(9.0), y.x.nan_to_num(9.0)) for x, y in zip(a, b, strict=True)
    )


def test_logistic_regression_knows_a_linear_rule(tmp_path, monkeypatch):
    config = small(tmp_path, held_out=4)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 45, 3, generator=generator)
    tasks = [
        TaskBatch(
            x,
            (x[..., 0] > 0).float(),
            30,
            torch.full((4,), 3),
            torch.full((4,), 2),
            torch.zeros(4, 3, dtype=torch.bool),
        )
    ]
    monkeypatch.setattr(compare_tasks, "held_out_tasks", lambda config: tasks)
    compare_worker.score_logistic(config, Job(LOGISTIC), silent)
    scores = pd.read_csv(tmp_path / LOGISTIC / compare_worker.LENGTHS)
    assert list(scores["n_context"].unique()) == [15, 30]
    assert scores["auc"].mean() > 0.95


def test_timing_has_a_row_per_mechanism_and_size(tmp_path):
    config = small(tmp_path)
    table = pd.DataFrame(compare_timing.inference_costs(config))
    assert set(table.groupby(["mechanism", "n_context"]).size()) == {compare_timing.ROUNDS}
    assert (table[["fit", "read"]] > 0).all(axis=None)
    state = table.groupby(["mechanism", "n_context"])["state_bytes"].first()
    assert state["softmax", 10] == 2 * state["softmax", 5]
    assert state["linear", 10] == state["linear", 5]


def fake(tmp_path: Path, shift: float = 0.1) -> Comparison:
    """Two seeds; linear is `shift` worse in log-loss, gets .05 worse at length 2, and a step takes
    it half of softmax's time."""
    config = small(tmp_path, seeds=2)
    rows = [
        {"mechanism": name, "seed": seed, "length": length, "n_context": 15 * length, "task": task}
        | {
            "log_loss": (
                0.5 + 0.01 * seed + (shift if name == "linear" else 0) + 0.05 * (length - 1)
            ),
            "auc": 0.8 + 0.1 * task,
        }
        for name in config.mechanisms
        for seed in (0, 1)
        for length in (1, 2)
        for task in (0, 1)
    ]
    history = pd.DataFrame(
        {
            "step": [10, 20],
            "loss": [1.0, 0.6],
            "eval_loss": [0.9, 0.5],
            "eval_auc": [0.6, 0.8],
            "seconds": [1.0, 2.0],
        }
    )
    keys = [(name, seed) for name in config.mechanisms for seed in (0, 1)]
    facts = {"seconds": 2.0, "peak_mb": 400.0, "parameters": 1000, "nan_losses": 0}
    runs = pd.DataFrame([{"mechanism": name, "seed": seed} | facts for name, seed in keys])
    inference = pd.DataFrame(
        {
            "mechanism": n,
            "n_context": size,
            "fit": size / 100,
            "read": size / 50,
            "state_bytes": 10.0 * size,
        }
        for n in config.mechanisms
        for size in config.inference_rows
    )
    return Comparison(
        config,
        runs,
        dict.fromkeys(keys, history),
        pd.DataFrame(rows),
        {"softmax": 0.2, "linear": 0.1},
        inference,
    )


def test_differences_are_taken_seed_by_seed(tmp_path):
    table = compare_results.summary(
        compare_results.after_equal_steps(fake(tmp_path)), ["softmax", "linear"], "softmax"
    )
    assert table.loc["softmax", "log_loss"] == pytest.approx(0.505)
    assert table.loc["softmax", "log_loss_error"] == pytest.approx(0.005)
    assert table.loc["linear", "log_loss_difference"] == pytest.approx(0.1)
    assert table.loc["linear", "log_loss_difference_error"] == pytest.approx(
        0, abs=1e-12
    )  # the seeds differ, their difference does not
    assert table.loc["linear", "auc"] == pytest.approx(0.85)


def test_equal_time_is_when_the_quickest_is_done(tmp_path):
    timed = compare_results.after_equal_time(fake(tmp_path)).groupby("mechanism").mean()
    assert timed.loc["linear", "steps"] == pytest.approx(20)
    assert timed.loc["linear", "log_loss"] == pytest.approx(0.5)
    assert timed.loc["softmax", "steps"] == pytest.approx(10)
    assert timed.loc["softmax", "auc"] == pytest.approx(0.6)


def test_a_change_with_the_length_is_taken_seed_by_seed(tmp_path):
    changes = compare_results.length_changes(fake(tmp_path)).set_index(["mechanism", "length"])
    assert changes.loc[("linear", 2), "change"] == pytest.approx(0.05)
    assert changes.loc[("linear", 2), "change_error"] == pytest.approx(0, abs=1e-12)
    assert changes.loc[("linear", 1), "change"] == 0


@pytest.mark.slow
def test_the_page_marks_a_loss_that_rises_with_the_context(tmp_path):
    text = write_report(
        fake(tmp_path), tmp_path / "report.html", {"ridge-seed0": "it fell"}
    ).read_text()
    assert text.count('<td class="bad">') == 2
    assert "it fell" in text


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 3.0], (2.0, 1.0)), ([5.0], (5.0, np.nan)), ([], (np.nan, np.nan))],
)
def test_a_standard_error_needs_two_values(values, expected):
    np.testing.assert_equal(mean_and_error(np.array(values)), expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mechanisms": ("softmax", "magic")}, "unknown attention name 'magic'.*linear"),
        (
            {"mechanisms": ("softmax", "Original")},
            "'softmax' and 'Original' are the same mechanism",
        ),
        ({"network": replace(NETWORK, attention_type="linear")}, "mechanisms decides about it"),
        ({"prior": "nowhere"}, "unknown priors name 'nowhere'"),
        (
            {"network": replace(NETWORK, max_classes=2)},
            "up to 3 classes, but the network tells 2 apart",
        ),
        ({"prior": "real_tables", "lengths": (1, 50)}, "contexts of 50 × 16 rows.*--lengths"),
    ],
)
def test_wrong_choices_are_told_before_any_work(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        compare_attention.compare(small(tmp_path / "new", **changes))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_steps", 0),
        ("seeds", 0),
        ("jobs", 0),
        ("mechanisms", ()),
        ("lengths", (2, 4)),
        ("inference_rows", (1,)),
        ("device", "abacus"),
        ("learning_rate", 0.0),
        ("held_out", 0),
    ],
)
def test_a_wrong_option_is_named(tmp_path, name, value):
    with pytest.raises(ValueError, match=name):
        small(tmp_path, **{name: value})


def test_the_command_line_says_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", "attention", "--mechanisms", "magic"]) == 2
    assert "error: unknown attention name 'magic'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_recorded_settings_say_what_was_compared(done):
    settings = json.loads((done.out / compare_attention.SETTINGS).read_text())
    assert settings["num_steps"] == 20
    assert settings["table"]["total_rows"] == 24
    assert "seeds" not in settings
