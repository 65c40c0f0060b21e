"""Every example of the gallery runs, made short, and its pictures say what they show; in full, it
comes as close as its page tells."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib import pyplot

import openpfn
from openpfn.training import train

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("plot_*.py"))
GAPS = {
    "plot_classification": 0.02,
    "plot_coin_flips": 0.001,
    "plot_continuous_sampling": 0.01,
    "plot_linear_regression": 0.02,
    "plot_markov_chain": 0.008,
    "plot_polynomial": 0.05,
}
"""Nats that each may lose to the exact posterior, on average over what is predicted; each loses
less as it stands."""
UNTRAINED = {"plot_distilled_answers", "plot_text_strings"}
"""Examples that use shipped weights."""


@pytest.fixture
def trainings(monkeypatch, tmp_path):
    """The configurations that a script trained with; each training is cut short."""
    seen = []

    def shortened(prior, model_config, training_config):
        seen.append(training_config)
        return train(prior, model_config, replace(training_config, num_steps=2, batch_size=4))

    monkeypatch.setattr(openpfn, "train", shortened, raising=False)
    monkeypatch.chdir(tmp_path)
    pyplot.close("all")  # what other tests left open
    yield seen
    pyplot.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_its_pictures_say_what_they_show(path, trainings, tmp_path, capsys):
    runpy.run_path(str(path), run_name="__main__")
    assert len(trainings) == (path.stem not in UNTRAINED)
    for config in trainings:
        assert not config.save_checkpoint
        assert (config.device, config.n_workers, config.n_threads) == ("cpu", 0, 1)
    assert not list(tmp_path.iterdir())
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    assert 1 <= len(figures) <= 3
    for figure in figures:
        figure.draw_without_rendering()
        panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
        assert any(axes.get_xlabel() for axes in panels)
        assert any(axes.get_ylabel() for axes in panels)
        assert all(
            axes.get_legend() is None for axes in panels
        )  # a legend stands above, not over the data
    assert path.stem not in GAPS or "gap to the exact posterior: " in capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_uses_what_is_public(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert 60 <= text.count("\n") <= 160
    assert (ast.get_docstring(tree) or "").startswith("# ")
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("openpfn")]
    assert ours
    for node in ours:
        names = {alias.name for alias in node.names}
        assert not any(name.startswith("_") for name in names)
        assert node.module != "openpfn" or names <= set(dir(openpfn))


@pytest.mark.long
@pytest.mark.parametrize("name", GAPS)
def test_an_example_in_full_comes_close_to_the_exact_posterior(name, tmp_path):
    (path,) = [path for path in EXAMPLES if path.stem == name]
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    told = re.search(r"gap to the exact posterior: (-?[\d.]+) nats", done.stdout)
    assert told, done.stdout
    assert abs(float(told[1])) <= GAPS[name]
