"""A run measures every cell once, resumes, records failures and deaths, and gives the same figures
however many processes."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from rich.console import Console

from openpfn import checkpoint
from openpfn.benchmark import metrics
from openpfn.benchmark.tables import results
from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.run import WORKER, plan
from openpfn.benchmark.tables.run import run as run_tables
from openpfn.configs import TabularConfig
from openpfn.files import sha256_of
from openpfn.jobs import Pool
from openpfn.models import PFN

QUIET = Console(file=io.StringIO())
SCORES = [
    *("roc_auc", "accuracy", "log_loss", "brier", "calibration_error"),
    *("rmse", "crps", "mae", "r2", "coverage", "width"),
]


@pytest.fixture(scope="module", autouse=True)
def _own_methods_are_importable():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield


@pytest.fixture(scope="module")
def workers(_own_methods_are_importable):
    """Two processes for all tests: to start one takes seconds."""
    with Pool(WORKER, 2) as pool:
        yield pool


@pytest.fixture
def run(workers):
    """Run a benchmark quietly in the processes of all tests."""
    return lambda asked: run_tables(asked, QUIET, workers)


def config(folder, tmp_path, **options):
    base = {
        "suite": str(folder),
        "methods": ("naive_bayes", "ridge"),
        "context_sizes": ("50",),
        "splits": 2,
        "out": tmp_path / "out",
    }
    return TablesConfig(**(base | options))  # type: ignore[arg-type]


@pytest.mark.slow
def test_every_cell_is_measured_with_its_metrics_times_and_hashes(run, folder, tmp_path):
    rows = run(config(folder, tmp_path, splits=1))
    assert len(rows) == 4 * 2  # tables × (the method of its task and the floor)
    assert (rows["status"] == "ok").all()
    classes, numbers = rows[rows["task"] == "classification"], rows[rows["task"] == "regression"]
    assert (
        classes[
            ["roc_auc", "accuracy", "balanced_accuracy", "log_loss", "brier", "calibration_error"]
        ]
        .notna()
        .all(axis=None)
    )
    assert numbers[[*metrics.REGRESSION, "target_std"]].notna().all(axis=None)
    assert (rows[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    assert (rows["peak_mib"] >= 0).all()
    assert rows["data_sha256"].str.len().eq(64).all()
    assert (rows["n_context"] == 50).all()
    assert numbers.loc[numbers["method"] == "ridge", "r2"].min() > 0.9


@pytest.mark.slow
def test_a_checkpoint_with_both_heads_is_measured_on_classes_and_numbers(run, folder, tmp_path):
    torch.manual_seed(0)
    network = PFN(
        TabularConfig(d_model=8, n_heads=2, n_layers=1, d_mlp=8, regression_head="quantiles")
    )
    path = checkpoint.save(tmp_path / "both.safetensors", network)
    rows = run(config(folder, tmp_path, methods=(f"pfn:{path}",), splits=1))
    ours = rows[rows["method"] == "pfn:both"].set_index("table")
    assert (ours["status"] == "ok").all()
    assert set(ours["task"]) == {"classification", "regression"}
    assert ours.loc["visits", "roc_auc"] > 0
    assert ours.loc["numbers", list(metrics.REGRESSION)].notna().all()
    assert ours.loc["numbers", "crps"] < ours.loc["numbers", "mae"]
    assert set(ours["checkpoint_sha256"]) == {sha256_of(path)}


@pytest.mark.slow
def test_numbers_that_an_older_version_measured_with_less_are_measured_again(run, folder, tmp_path):
    asked = config(folder, tmp_path, tables=("numbers",), splits=1)
    first = run(asked)
    path = tmp_path / "out" / results.NAME
    old = pd.read_csv(path, dtype="string", keep_default_na=False)
    old.drop(columns=list(results.ADDED)).to_csv(path, index=False)
    again = run(asked)
    np.testing.assert_array_equal(first[SCORES], again[SCORES])
    assert len(results.read(path)) == 2


@pytest.mark.slow
def test_what_is_measured_is_not_measured_again(run, folder, tmp_path):
    first = run(config(folder, tmp_path, tables=("visits",)))
    path = tmp_path / "out" / results.NAME
    path.write_bytes(path.read_bytes()[:-30])  # killed while it wrote the last row
    n_lines = path.read_bytes().count(b"\n")
    again = run(config(folder, tmp_path, tables=("visits",)))
    assert path.read_bytes().count(b"\n") == n_lines + 1
    np.testing.assert_array_equal(
        first.sort_values(["method", "split"])[SCORES[:5]],
        again.sort_values(["method", "split"])[SCORES[:5]],
    )


@pytest.mark.slow
def test_processes_do_not_change_the_figures(run, folder, tmp_path):
    asked = {"methods": ("random_forest",), "tables": ("visits", "numbers"), "splits": 1}
    one = run(config(folder, tmp_path, out=tmp_path / "one", **asked))
    two = run(config(folder, tmp_path, out=tmp_path / "two", **asked, jobs=2))
    key = list(results.KEY)
    np.testing.assert_array_equal(one.sort_values(key)[SCORES], two.sort_values(key)[SCORES])


@pytest.mark.slow
def test_failures_are_rows_with_their_error(run, folder, tmp_path):
    asked = config(
        folder,
        tmp_path,
        methods=("own_methods:Broken", "own_methods:Unsure"),
        tables=("visits",),
        splits=1,
    )
    rows = run(asked).set_index("method")
    assert rows.loc["own_methods:Broken", "status"] == "failed"
    assert (
        "RuntimeError: out of luck, with two lines (own_methods.py:"
        in rows.loc["own_methods:Broken", "error"]
    )
    assert "no probabilities" in rows.loc["own_methods:Unsure", "error"]
    assert rows.loc["constant", "status"] == "ok"


@pytest.mark.slow
def test_a_failure_is_tried_again_when_asked(run, folder, tmp_path):
    asked = config(folder, tmp_path, methods=("own_methods:Broken",), tables=("visits",), splits=1)
    path = tmp_path / "out" / results.NAME
    run(asked)
    n_lines = path.read_bytes().count(b"\n")
    run(asked)
    assert path.read_bytes().count(b"\n") == n_lines
    run(
        config(
            folder,
            tmp_path,
            methods=("own_methods:Broken",),
            tables=("visits",),
            splits=1,
            retry_failed=True,
        ),
    )
    assert path.read_bytes().count(b"\n") == n_lines + 1


@pytest.mark.slow
def test_a_process_that_dies_is_a_failure_and_the_others_go_on(run, folder, tmp_path):
    rows = run(
        config(
            folder,
            tmp_path,
            methods=("own_methods:Deadly", "naive_bayes"),
            tables=("visits",),
            splits=1,
            jobs=2,
        ),
    )
    failed = rows["status"] == "failed"
    assert failed.tolist() == (rows["method"] == "own_methods:Deadly").tolist()
    assert len(rows) == 3
    assert rows.loc[failed, "error"].str.contains("process died").all()


@pytest.mark.slow
def test_a_tuned_method_stands_beside_its_default(run, folder, tmp_path):
    run(config(folder, tmp_path, methods=("knn",), tables=("visits",), splits=1))
    rows = run(
        config(
            folder,
            tmp_path,
            methods=("knn", "own_methods:Nearest"),
            tables=("visits",),
            splits=1,
            tuned=0.2,
        ),
    )
    tuned = rows[rows["method"] == "knn"].iloc[0]
    assert tuned["tuned"] == "0.2"
    assert tuned["n_candidates"] >= 1
    assert rows.loc[rows["method"] == "own_methods:Nearest", "tuned"].tolist() == [
        "0"
    ]  # there is nothing to search
    assert set(results.read(tmp_path / "out")["tuned"]) == {"0", "0.2"}


def test_contexts_too_large_for_a_table_are_not_planned(folder, tmp_path):
    cells = plan(
        config(
            folder, tmp_path, context_sizes=("20", "1000", "half"), tables=("visits",), splits=1
        ),
        QUIET,
    )
    assert {cell.context for cell in cells} == {"20", "half"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_sizes": ("many",)}, "context_sizes holds 'many'"),
        ({"splits": 0}, "splits is 0"),
        ({"methods": ()}, "methods is empty"),
    ],
)
def test_wrong_options_are_told(folder, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        config(folder, tmp_path, **options)


def test_no_method_for_the_task_is_told(folder, tmp_path):
    with pytest.raises(ValueError, match="no method fits any table"):
        plan(config(folder, tmp_path, methods=("lda",), task="regression"), QUIET)


@pytest.mark.slow
def test_an_interruption_ends_a_run_at_once_with_its_rows_kept_and_no_process_left(
    folder, tmp_path, monkeypatch
):
    began = tmp_path / "began"
    monkeypatch.setenv("ENDLESS_BEGAN", str(began))
    asked = config(folder, tmp_path, methods=("own_methods:Endless",), tables=("visits",), splits=1)

    def interrupt() -> None:
        while not began.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with Pool(WORKER, 1) as pool:
        with pytest.raises(KeyboardInterrupt):
            run_tables(asked, QUIET, pool)
        interrupted = time.monotonic()
    assert time.monotonic() - interrupted < 10
    assert [worker.process.returncode for worker in pool.workers] == [-signal.SIGKILL]
    assert results.read(tmp_path / "out")["method"].tolist() == ["constant"]
