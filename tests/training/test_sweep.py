"""Laws of sweeps: every combination is one run, done once, gone on with where it stopped, and told
in one table."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from openpfn.cli import main
from openpfn.configs.sweep import flat, read_sweep, words
from openpfn.jobs import Failed
from openpfn.training import sweep as sweeps
from openpfn.training import sweep_run
from openpfn.training.sweep import run_sweep

GRID = """
base:
  preset: micro
  tasks: {max-features: 3}
  eval_every: 10
grid:
  learning-rate: [1e-3, 3.0e-3]
  optimizer: [adamw, muon]
"""


def written(tmp_path, text, name="sweep.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_grid_has_a_run_for_every_combination(tmp_path):
    sweep = read_sweep(written(tmp_path, GRID))
    assert sweep.metric == "eval_loss"
    assert [dict(run.varied) for run in sweep.runs] == [
        {"learning-rate": rate, "optimizer": name}
        for rate in (0.001, 0.003)
        for name in ("adamw", "muon")
    ]
    assert sweep.runs[0].options["tasks.max-features"] == 3
    assert sweep.runs[0].name.startswith("learning-rate=0.001_optimizer=adamw-")


def test_yaml_toml_and_json_say_the_same(tmp_path):
    content = {"base": {"batch_size": 2}, "runs": [{"seed": 1}, {"seed": 2}], "metric": "loss"}
    toml = 'metric = "loss"\n[base]\nbatch_size = 2\n[[runs]]\nseed = 1\n[[runs]]\nseed = 2\n'
    texts = {"a.json": json.dumps(content), "a.yml": json.dumps(content), "a.toml": toml}
    sweeps = [read_sweep(written(tmp_path, text, name)) for name, text in texts.items()]
    assert sweeps[0] == sweeps[1] == sweeps[2]


def test_other_options_are_another_run(tmp_path):
    names = {
        read_sweep(written(tmp_path, f"base: {{num-steps: {n}}}\nruns: [{{seed: 0}}]")).runs[0].name
        for n in (1, 2)
    }
    assert len(names) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1, 2]", "wanted a table"),
        ("grids: {}", "grids, which is not among"),
        ("grid: {seed: 3}", "wanted a list"),
        ("kind: other", "Choose table, task-diversity"),
        ("runs: [{seed: 1}, {seed: 1}]", "the same options"),
        ("base: {a-b: 1, a_b: 2}", "given twice"),
        ("mode: best", "Choose min or max"),
        ("a: [", "no YAML"),
    ],
)
def test_a_wrong_file_is_one_clear_error(tmp_path, text, told, capsys):
    path = written(tmp_path, text)
    assert main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert str(path) in error


def test_options_become_words_of_the_command_line():
    options = {"tasks": {"learnable": False, "max_features": 3}, "compile": True, "shifts": [0, 1]}
    told = "--tasks.no-learnable --tasks.max-features 3 --compile --shifts 0 1"
    assert words(options) == told.split()
    assert flat({"a": {"b": {"c": 1}}}) == {"a.b.c": 1}


CALLS: list[dict] = []


def quadratic(options, folder, tell_row):
    """A run of no time, which fails where it is told to."""
    CALLS.append(dict(options))
    if options.get("fails") == len(CALLS):
        raise ArithmeticError("diverged")
    lines = ["step,loss"]
    for step in (1, 2):
        row = {"step": step, "loss": (options["x"] - 2) ** 2 / step}
        tell_row(row)
        lines.append(f"{step},{row['loss']}")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    return {"step": 2, "loss": row["loss"], "name": "no number"}


class Here:
    """Does jobs in this process."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def answers(self, orders, most=None, told=None):
        for order in orders:
            try:
                yield order, sweep_run.do_run(order, lambda share: None)
            except ArithmeticError as error:
                yield order, Failed(str(error))


@pytest.fixture
def here(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(sweeps, "workers", lambda *_, **__: Here())
    monkeypatch.setattr(sweep_run, "called", lambda name: quadratic)


def test_results_stand_in_one_table_the_best_first(tmp_path, here):
    sweep = read_sweep(written(tmp_path, "kind: mine:quadratic\ngrid: {x: [0, 2, 5]}"))
    table = run_sweep(sweep, tmp_path / "out")
    assert table["x"].tolist() == [2, 0, 5]
    assert table["loss"].tolist() == [0, 2, 4.5]
    assert set(table["state"]) == {"finished"}
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out" / "results.csv"), table)
    assert (tmp_path / "out" / "sweep.png").stat().st_size > 5000
    assert all(options["n-threads"] >= 1 for options in CALLS)


def test_what_is_finished_is_not_done_again_and_what_failed_is(tmp_path, here):
    text = "kind: mine:quadratic\nbase: {fails: 2}\ngrid: {x: [0, 2, 5]}"
    sweep, told = read_sweep(written(tmp_path, text)), []
    table = run_sweep(sweep, tmp_path / "out", say=told.append)
    assert table["state"].tolist() == ["finished", "finished", "not begun"]
    assert any("failed: diverged" in line for line in told)
    again = run_sweep(sweep, tmp_path / "out", say=told.append)
    assert again["state"].tolist() == ["finished"] * 3
    assert [options["x"] for options in CALLS] == [0, 2, 5, 2]
    assert "3 runs, 2 of them finished before" in told


@pytest.mark.slow
def test_the_command_line_trains_the_runs_of_a_grid(tmp_path, capsys):
    text = """
base: {preset: micro, prior: scm_mlp, num-steps: 4, batch-size: 2, n-workers: 0, log-every: 1,
       device: cpu, tasks: {max-features: 3, max-seq-len: 16, learnable: false},
       model: {d-model: 8, n-heads: 2, n-layers: 1, d-mlp: 8}}
grid: {seed: [0, 1]}
"""
    words = ["sweep", str(written(tmp_path, text)), "--out", str(tmp_path / "out"), "--jobs", "2"]
    assert main(words) == 0
    assert main(words) == 0
    assert "2 runs, 2 of them finished before" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["step"].tolist() == [4, 4]
    assert table["tasks"].tolist() == [8, 8]
    assert table["loss"].is_monotonic_increasing
    folder = tmp_path / "out" / "runs" / table["run"][0]
    assert (folder / "latest.safetensors").is_file()
    assert "training on cpu" in (folder / "output.txt").read_text()
