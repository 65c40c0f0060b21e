"""`openpfn beliefs`: the questions find the runs of a sweep by their configuration and picture
their answers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from openpfn.bayes.task_diversity import experiment_of
from openpfn.bayes.task_diversity.questions import find_runs, posterior, prior_recovery, prompt
from openpfn.cli import main
from openpfn.cli.beliefs import QUESTIONS
from openpfn.configs.diversity import TaskDiversityConfig

SMALL = (
    "sweep task-diversity --tasks 2 8 --task-size 2 --examples 6 --steps 3 --batch 4 --eval-batch 8"
    " --checkpoints 2 --seeds 0 --d-model 8 --n-layers 1 --d-mlp 8 --d-vocab 16 --device cpu --out"
).split()
ASKED = "--n-samples 20 --horizon 6 --n-context 4 --prompts 3 --eval-batch 8".split()


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    assert main([*SMALL, str(folder)]) == 0
    return folder / "registry"


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered_with_a_picture(name, registry, tmp_path, capsys):
    assert main(["beliefs", name, "--registry", str(registry), "--out", str(tmp_path), *ASKED]) == 0
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert len(pictures) == (2 if name in ("prior-recovery", "posterior", "prompt") else 1)
    assert pictures[0] in capsys.readouterr().out
    for path in tmp_path.glob("*.csv"):
        assert len(pd.read_csv(path))


@pytest.mark.slow
def test_runs_are_found_by_configuration_with_their_own_tasks(registry):
    (run,) = find_runs(registry, n_tasks=8)
    config = TaskDiversityConfig(tasks=(2, 8), task_size=2, examples=6, seeds=(0,))
    np.testing.assert_allclose(run.experiment.pool, experiment_of(config.data(8, 0)).pool)
    assert run.steps == (1, 3)
    with pytest.raises(ValueError, match=r"no weights of step 2. Kept are 1, 3"):
        run.model(2)
    with pytest.raises(LookupError, match=r"n_tasks 4.*Those there: tasks2-size2"):
        find_runs(registry, n_tasks=4)


@pytest.mark.slow
def test_answers_have_the_shapes_they_say(registry):
    (run,) = find_runs(registry, n_tasks=2)
    implied = prior_recovery(run, n_samples=16, horizon=5)
    assert implied.draws.shape == (2, 16, 2)
    assert implied.distances["to"].tolist() == ["N(0, I)", "the tasks"] * 2
    after = posterior(run, n_context=3, prompts=2, n_samples=16, horizon=5, old=True)
    assert after.draws.shape == after.ridge.shape == after.dmmse.shape == (2, 16, 2)
    assert set(after.dmmse[..., 0].ravel()) <= set(run.experiment.pool[:, 0].double().tolist())
    believed = prompt(run, n_context=3, prompts=2)
    for density in (believed.network, believed.ridge, believed.dmmse):
        area = np.trapezoid(density, believed.y, axis=1)
        np.testing.assert_allclose(area, 1, atol=0.2)  # an untrained network reaches beyond


@pytest.mark.slow
def test_what_is_not_there_is_told(registry, tmp_path, capsys):
    assert main(["beliefs", "raventos", "--registry", str(tmp_path / "none")]) == 2
    assert "no registry of runs" in capsys.readouterr().err
    assert main(["beliefs", "prompt", "--registry", str(registry), "--prompts", "0"]) == 2
    assert "prompts is 0" in capsys.readouterr().err
    assert main(["beliefs", "dreams"]) == 2
    assert "unknown subcommand 'dreams'" in capsys.readouterr().err
