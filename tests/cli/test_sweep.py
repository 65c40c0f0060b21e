"""`openpfn sweep task-diversity`: one run per pool size and seed, found by its configuration,
resumed and told in one table."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from openpfn.bayes.task_diversity import experiment_of, scores
from openpfn.cli import main
from openpfn.configs.diversity import TaskDiversityConfig
from openpfn.models import PFN
from openpfn.training.tracking.registry import RunRegistry

SMALL = (
    "sweep task-diversity --tasks 2 8 --task-size 2 --examples 4 --steps 4 --batch 4 --eval-batch"
    " 8 --checkpoints 2 --seeds 0 --d-model 8 --n-layers 1 --d-mlp 8 --d-vocab 16 --device cpu"
).split()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_sweep_trains_registers_and_tells_every_run_once(here, capsys):
    call = [*SMALL, "--out", "sweep", "--log-file", "log.txt"]
    assert main(call) == 0
    table = pd.read_csv(here / "sweep" / "results.csv")
    assert table["n_tasks"].tolist() == [2, 8]
    assert table["run_id"].nunique() == 2
    for column in ("mse_old", "mse_new_ridge", "old_to_dmmse", "new_to_ridge", "mse_old_3"):
        assert (table[column] >= 0).all()
    assert (here / "sweep" / "task-diversity.png").stat().st_size > 1000
    registry = RunRegistry(here / "sweep" / "registry")
    runs = registry.runs(tags=["task-diversity"])
    assert sorted(run.data_config["n_tasks"] for run in runs) == [2, 8]
    assert {run.id for run in runs} == set(table["run_id"])
    assert [c.step for c in registry.checkpoints(runs[0])] == [1, 4]
    assert "2 runs, 0 of them finished before" in capsys.readouterr().out
    assert main(call) == 0
    assert "2 runs, 2 of them finished before" in capsys.readouterr().out
    assert len(registry.runs()) == 2
    assert (here / "log.txt").read_text().count("error ") == 2


@pytest.mark.slow
def test_a_run_that_stopped_goes_on_and_gives_the_same(here, monkeypatch):
    from openpfn.bayes.task_diversity import runs as module

    config = TaskDiversityConfig(
        tasks=(2,), task_size=2, examples=4, steps=4, batch=4, eval_batch=8, checkpoints=2,
        seeds=(0,), d_model=8, n_layers=1, d_mlp=8, d_vocab=16, device="cpu", out=here / "whole",
    )  # fmt: skip
    whole = module.one_run(config, 2, 0, 1)

    class Stop(KeyboardInterrupt):
        pass

    def stopped(*a, **k):
        def stop(event):
            if event.kind == "checkpoint" and event.step >= 2:
                raise Stop

        return trained(*a, callbacks=[stop], **k)

    trained = module.train
    from dataclasses import replace

    parts = replace(config, out=here / "parts")
    monkeypatch.setattr(module, "train", stopped)
    with pytest.raises(Stop):
        module.one_run(parts, 2, 0, 1)
    monkeypatch.setattr(module, "train", trained)
    again = module.one_run(parts, 2, 0, 1)
    assert again["by_row"] == whole["by_row"]


def test_scores_of_the_bayes_answers_bound_those_of_any_network():
    config = TaskDiversityConfig(task_size=2, examples=6, d_model=8, n_layers=1, d_mlp=8)
    experiment = experiment_of(config.data(4, 0))
    torch.testing.assert_close(experiment_of(config.data(4, 0)).pool, experiment.pool)
    found = scores(PFN(config.network()), experiment, 400)
    assert found["mse_old"].shape == (6,)
    assert found["mse_old_dmmse"].sum() < found["mse_old_ridge"].sum() < found["mse_old"].sum()
    assert found["mse_new_ridge"].sum() < found["mse_new"].sum()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--tasks", "4", "4"], "none twice"),
        (["--tasks", "0"], "a pool needs at"),
        (["--steps", "0"], "steps is 0"),
        (["--noise", "0"], "noise is 0"),
    ],
)
def test_wrong_options_are_told(here, capsys, options, told):
    with pytest.raises(SystemExit) as end:
        main(["sweep", "task-diversity", *options])
    assert end.value.code == 2
    assert told in capsys.readouterr().err
