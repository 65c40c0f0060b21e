"""Laws of jobs on clusters: Ray and Dask answer what processes do, and a machine that dies in the
middle loses nothing and doubles nothing."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from itertools import islice
from typing import Any

import pandas as pd
import pytest
import torch

from openpfn.cli import main
from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents
from openpfn.data.manifest import read_manifest
from openpfn.jobs import Failed, workers

pytestmark = pytest.mark.extras

FUNCTIONS = """
import os, time
from pathlib import Path

def square(order, tell):
    if order == 3:
        raise LookupError("nothing there")
    tell(0.5)
    return order ** 2
"""
GENERATE = (
    "priors generate --prior scm_mlp --max_features 3 --max_seq_len 16 --no-learnable --batch_size"
    " 4 --num_batches 300"
)


class TwoNodes:
    """A Ray cluster of two nodes on this machine, a raylet and one core each."""

    def __init__(self) -> None:
        cluster: Any = importlib.import_module("ray.cluster_utils")
        node = {"num_cpus": 1, "object_store_memory": 80_000_000}
        self.cluster = cluster.Cluster(
            initialize_head=True, head_node_args=node | {"include_dashboard": False}
        )
        self.second = self.cluster.add_node(**node)
        self.cluster.wait_for_nodes()
        self.address = self.cluster.address

    def kill_second(self) -> None:
        """Kill the second node's processes, -9."""
        self.cluster.remove_node(self.second, allow_graceful=False)


@pytest.fixture(scope="module")
def two_nodes():
    paths = os.pathsep.join(path for path in sys.path if path)
    settings = {
        "PYTHONPATH": paths,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_raylet_start_wait_time_s": "300",
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        nodes = TwoNodes()
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture
def function_is_importable(tmp_path, monkeypatch):
    (tmp_path / "functions_of_cluster.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))


def assert_answers(backend, address=None):
    with workers("functions_of_cluster:square", 2, backend, address) as cluster:
        answers = dict(cluster.answers(range(6)))
    assert answers.pop(3) == Failed("LookupError: nothing there")
    assert answers == {order: order**2 for order in (0, 1, 2, 4, 5)}


@pytest.mark.usefixtures("function_is_importable")
def test_dask_answers_every_order():
    assert_answers("dask")


@pytest.mark.usefixtures("function_is_importable")
def test_ray_answers_every_order(two_nodes):
    assert_answers("ray", two_nodes.address)


def test_ray_measures_the_cells_that_processes_do(tmp_path, two_nodes):
    words = "benchmark tables --tables iris --splits 1 --methods knn logistic".split()
    cluster = ["--backend", "ray", "--address", two_nodes.address, "--jobs", "2"]
    assert main([*words, "--out", str(tmp_path / "ray"), *cluster]) == 0
    rows = pd.read_csv(tmp_path / "ray" / "results.csv")
    assert sorted(rows["method"]) == ["constant", "knn", "logistic"]
    assert set(rows["status"]) == {"ok"}


def test_tune_does_the_runs_of_a_sweep_and_stops_some_early(tmp_path, two_nodes):
    (tmp_path / "rates.py").write_text("""
import time
def run(options, folder, tell_row):
    lines = ["step,loss"]
    for step in range(1, 28):
        row = {"step": step, "loss": 1 + options["x"] - step / 100}
        lines.append(f"{step},{row['loss']}")
        (folder / "history.csv").write_text("\\n".join(lines) + "\\n")
        tell_row(row)
        time.sleep(0.01)
    return row
""")
    (tmp_path / "sweep.yaml").write_text(
        "kind: rates:run\nbase: {num-steps: 27}\ngrid: {x: [0, 1, 2, 3]}"
    )
    words = ["sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        cluster = ["--backend", "ray", "--address", two_nodes.address, "--jobs", "2"]
        assert main([*words, *cluster]) == 0
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table["x"].iloc[0] == 0
    assert table["step"].iloc[0] == 27
    assert set(table["state"]) == {"finished"}
    assert (table["step"] < 27).any()


def test_a_node_that_dies_loses_and_doubles_no_task(tmp_path, two_nodes):
    out = tmp_path / "shards"

    def kill_second_node() -> None:
        while sum(path.stat().st_size > 20_000 for path in out.glob("*.h5")) < 2:
            time.sleep(0.05)
        two_nodes.kill_second()

    killer = threading.Thread(target=kill_second_node, daemon=True)
    killer.start()
    cluster = ["--backend", "ray", "--address", two_nodes.address, "--jobs", "2", "--shards", "4"]
    assert main([*GENERATE.split(), "--save_path", str(out), *cluster]) == 0
    killer.join(timeout=1)
    assert not killer.is_alive()
    assert read_manifest(out).is_complete
    read_manifest(out).check_sums()
    assert main([*GENERATE.split(), "--save_path", str(tmp_path / "whole.h5")]) == 0
    assert read_contents(out).n_tasks == 1200
    one, other = (
        islice(PriorDumpDataLoader(path, None, 4, shuffle=False), 300)
        for path in (out, tmp_path / "whole.h5")
    )
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours.x.nan_to_num(9.0), theirs.x.nan_to_num(9.0))
        assert torch.equal(ours.y, theirs.y)
