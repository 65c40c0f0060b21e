"""A run of probes measures every cell once, goes on where it stopped, records failures, and says
where a method is behind."""

from __future__ import annotations

import io
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from openpfn import checkpoint, cli
from openpfn.benchmark.probes import methods, results
from openpfn.benchmark.probes import run as probes_run
from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.measure import measure
from openpfn.benchmark.probes.report import command, write_reports
from openpfn.benchmark.probes.results import summary, verdicts
from openpfn.configs import TabularConfig
from openpfn.jobs import Pool
from openpfn.models import PFN

QUIET = Console(file=io.StringIO())
TINY = {"widths": (5,), "rows": (30,), "seeds": 2, "query": 40, "cells": ("few/g*", "either/b*")}


N_ROWS = 2 * 2 * 4
"""Cells × seeds × methods."""


class InProcess(Pool):
    """Answers orders here, and counts them."""

    def __init__(self, target="", n=1):
        super().__init__(target, n)
        self.n_orders = 0

    def answers(self, orders, most=None, told=None):
        for order, config in orders:
            self.n_orders += 1
            yield (order, config), measure(order, config)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two checkpoints: of classes and numbers, and of classes alone."""
    folder, paths = tmp_path_factory.mktemp("networks"), []
    for name, head in (("both", "bars"), ("classes", None)):
        torch.manual_seed(0)
        config = TabularConfig(
            d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=2, regression_head=head
        )
        paths.append(folder / f"{name}.safetensors")
        checkpoint.save(paths[-1], PFN(config))
    return paths


@pytest.fixture
def few_trees(monkeypatch):
    """As many trees as a test has time for."""
    monkeypatch.setitem(methods.OPTIONS, "extra_trees", {"n_estimators": 5})


def run(folder, workers=None, **options):
    config = ProbesConfig(**{**TINY, "methods": ("naive_bayes",), "out": folder, **options})
    return config, probes_run.run(config, QUIET, workers or InProcess())


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The folder and the rows of one run; tests work on copies."""
    workers = InProcess()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(methods.OPTIONS, "extra_trees", {"n_estimators": 5})
        folder = tmp_path_factory.mktemp("run")
        _, rows = run(folder, workers)
    assert workers.n_orders == len(rows) == N_ROWS
    return folder, rows


@pytest.fixture
def copied(measured, tmp_path):
    """A copy of that folder, and its rows."""
    return shutil.copytree(measured[0], tmp_path / "copy"), measured[1]


@pytest.mark.slow
def test_every_cell_is_measured_once_with_every_method(copied):
    folder, rows = copied
    assert set(rows["status"]) == {"ok"}
    assert set(rows["method"]) == {"optimal", "logistic", "extra_trees", "naive_bayes"}
    assert rows["roc_auc"].between(0, 1).all()
    again = InProcess()
    _, same = run(folder, again)
    assert again.n_orders == 0
    pd.testing.assert_frame_equal(rows, same)


def test_a_cut_off_line_is_measured_again(copied, few_trees):
    folder, rows = copied
    path = folder / results.NAME
    path.write_bytes(path.read_bytes()[:-20])
    again = InProcess()
    _, same = run(folder, again)
    assert again.n_orders == 1
    assert same["roc_auc"].equals(rows["roc_auc"])


def test_more_seeds_go_on_and_another_protocol_is_refused(copied, few_trees, tmp_path):
    folder, _ = copied
    again = InProcess()
    run(folder, again, seeds=3)
    assert again.n_orders == N_ROWS // 2
    with pytest.raises(ValueError, match="query 40, now query is 50"):
        run(folder, query=50)
    with pytest.raises(ValueError, match="task classification, now task is regression"):
        run(folder, task="regression", methods=("knn",))
    other = tmp_path / "other"
    other.mkdir()
    (other / results.NAME).write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column"):
        run(other)


@pytest.mark.slow
def test_whoever_sees_the_structure_is_ahead_and_the_truth_is_never_behind(tmp_path, few_trees):
    config, rows = run(tmp_path, rows=(150,), query=200, methods=("knn",))
    found = summary(rows, config.task).set_index(["structure", "kind", "method"])
    means, gaps = found["mean"], found["difference"]
    assert means["few", "gaussian", "logistic"] > 0.9
    assert means["either", "binary", "logistic"] < 0.65 < means["either", "binary", "extra_trees"]
    for (structure, kind, _), mean in means.items():
        assert mean <= means[structure, kind, "optimal"] + 0.02
    assert gaps["either", "binary", "logistic"] == pytest.approx(
        means["either", "binary", "logistic"] - means["either", "binary", "extra_trees"]
    )


@pytest.mark.slow
def test_a_network_does_what_it_has_a_head_for(tmp_path, few_trees, networks):
    both, classes = (f"pfn:{path}" for path in networks)
    options = {"cells": ("few/mixed/*",), "seeds": 1}
    for task, metric in (("classification", "roc_auc"), ("regression", "r2")):
        _, rows = run(tmp_path / task, methods=(both,), task=task, **options)
        assert set(rows["status"]) == {"ok"}
        assert np.isfinite(rows[metric]).all()
        assert "pfn:both" in set(rows["method"])
    assert rows.set_index("method")["r2"]["ridge"] > 0.5
    with pytest.raises(ValueError, match="does no regression"):
        run(tmp_path / "more", methods=(classes,), task="regression", **options)


@pytest.mark.slow
def test_what_fails_is_recorded_and_tried_again_only_when_asked(tmp_path, few_trees, monkeypatch):
    from sklearn.naive_bayes import GaussianNB

    def fit(*_):
        raise RuntimeError("no luck")

    with monkeypatch.context() as patch:
        patch.setattr(GaussianNB, "fit", fit)
        config, rows = run(tmp_path, cells=("few/binary/*",))
    failed = rows[rows["status"] == "failed"]
    assert list(failed["method"]) == ["naive_bayes"] * 2
    assert failed["error"].str.contains("RuntimeError: no luck").all()
    write_reports(rows, config)
    again = InProcess()
    run(tmp_path, again, cells=("few/binary/*",))
    assert again.n_orders == 0
    _, rows = run(tmp_path, again, cells=("few/binary/*",), retry_failed=True)
    assert again.n_orders == 2
    assert set(rows["status"]) == {"ok"}


def rows_of(scores, task="classification"):
    """Rows of one cell from {method: scores of its seeds}."""
    metric = results.METRIC[task]
    return pd.DataFrame(
        [
            {"structure": "few", "kind": "binary", "width": 5, "rows": 30, "seed": seed}
            | {"method": name, "status": "ok", metric: score, "log_loss": 0.5}
            for name, values in scores.items()
            for seed, score in enumerate(values)
        ]
    )


def test_differences_are_to_the_better_mean_and_paired():
    scores = {"logistic": (0.9, 0.5), "extra_trees": (0.8, 0.8), "mine": (0.7, 0.78)}
    found = summary(rows_of(scores), "classification").set_index("method")
    assert found.loc["mine", "better"] == "extra_trees"
    assert found.loc["mine", "difference"] == pytest.approx(-0.06)
    assert found.loc["mine", "difference_error"] == pytest.approx(0.04)
    told = verdicts(found.reset_index(), "classification", 0.02).iloc[0]
    assert (told["method"], told["behind"], told["n_cells"]) == ("mine", 1, 1)
    told = verdicts(found.reset_index(), "classification", 0.1).iloc[0]
    assert told["behind"] == 0


@pytest.mark.slow
def test_the_command_line_writes_tables_maps_and_pages(
    tmp_path, few_trees, networks, monkeypatch, capsys
):
    monkeypatch.setattr(probes_run, "Pool", InProcess)
    out, page = tmp_path / "out", tmp_path / "docs" / "probes.md"
    words = f"benchmark probes --methods pfn:{networks[0]} --cells few/g* either/b* --widths 5"
    words += f" --rows 30 --seeds 2 --query 40 --out {out} --page {page}"
    assert cli.main(words.split()) == 0
    told = capsys.readouterr().out
    assert "pfn:both is behind by more than 0.02 in" in told
    assert (out / "pfn_both.png").stat().st_size > 5000
    assert len(pd.read_csv(out / "summary.csv")) == 2 * 4
    for path, picture in ((out / "report.md", "pfn_both.png"), (page, "probes/pfn_both.svg")):
        text = path.read_text(encoding="utf-8")
        assert f"({picture})" in text
        assert (path.parent / picture).is_file()
        assert "few/gaussian/5/30" in text
        assert str(tmp_path) not in text


def test_the_command_that_is_told_names_what_differs_from_the_default():
    config = ProbesConfig(rows=(20, 50), cells=("few/*",), methods=("nano", "pfn:/a/b/c.pt"))
    told = command(config)
    assert told == "openpfn benchmark probes --methods nano pfn:c.pt --rows 20 50 --cells 'few/*'"
