"""Laws of independent jobs: each is answered once, whatever dies, and interrupted ones may finish
their sentence."""

from __future__ import annotations

import importlib.util
import os
import signal
import threading
import time

import pytest

from openpfn.cli import main
from openpfn.jobs import Failed, Pool, pool, threads_of_each, workers
from openpfn.processes import WorkerDied

FUNCTIONS = """
import os, signal, sys, time
from pathlib import Path

def echo(order, tell):
    if order == "die":
        os._exit(3)
    if order == "fail":
        raise LookupError("nothing there")
    if order == "wait":
        time.sleep(3600)
    tell(0.5)
    print("noise of", order, flush=True)
    return (order, os.getpid())

def gone(order, tell):
    os._exit(3)

def threads(order, tell):
    return os.environ["OMP_NUM_THREADS"]

def saves(folder, tell):
    def end(number, frame):
        (Path(folder) / "saved").touch()
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    (Path(folder) / "ready").touch()
    time.sleep(3600)
"""


@pytest.fixture(autouse=True)
def _functions(tmp_path, monkeypatch):
    (tmp_path / "functions_of_test.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(str(tmp_path))


def function(name: str) -> str:
    return f"functions_of_test:{name}"


def test_a_pool_keeps_its_processes_and_replaces_those_that_die():
    with Pool(function("echo"), 2) as processes:
        first = {order: pid for order, (_, pid) in processes.answers(range(20))}
        second = {order: answer for order, answer in processes.answers(["a", "die", "b"])}
    assert set(first) == set(range(20))
    assert len(set(first.values())) <= 2
    assert second["die"] is None
    assert second["a"][0] == "a"
    assert second["b"][0] == "b"
    assert all(worker.process.returncode is not None for worker in processes.workers)


def test_an_error_is_an_answer_and_shares_are_told():
    told = []
    with Pool(function("echo"), 1) as processes:
        answers = dict(
            processes.answers(["fail", "a"], told=lambda order, share: told.append((order, share)))
        )
    assert answers["fail"] == Failed("LookupError: nothing there")
    assert told == [("a", 0.5)]


def test_a_fresh_process_does_one_job_and_writes_its_own_log(tmp_path):
    with Pool(
        function("echo"), 1, fresh=True, log=lambda order: tmp_path / f"{order}" / "log.txt"
    ) as processes:
        answers = dict(processes.answers(["a", "b"]))
    assert answers["a"][1] != answers["b"][1]
    assert (tmp_path / "b" / "log.txt").read_text() == "noise of b\n"


def test_each_job_has_the_threads_that_it_is_given():
    with workers(function("threads"), 1, threads=3) as processes:
        assert list(processes.answers([0])) == [(0, "3")]
    assert threads_of_each(1) == (os.cpu_count() or 1)
    assert threads_of_each(10**6) == 1


@pytest.mark.slow
def test_a_pool_whose_processes_only_die_gives_up(monkeypatch):
    monkeypatch.setattr(pool, "MOST_DEATHS", 2)
    with (
        Pool(function("gone"), 1) as processes,
        pytest.raises(WorkerDied, match="2 processes died, and none has answered"),
    ):
        list(processes.answers(range(9)))


def test_an_error_ends_the_processes_of_a_pool():
    with pytest.raises(LookupError), Pool(function("echo"), 2) as processes:
        raise LookupError(next(processes.answers([1, "wait"])))
    assert all(worker.process.returncode == -signal.SIGKILL for worker in processes.workers)


def test_interrupted_jobs_in_fresh_processes_may_save(tmp_path):
    def interrupted():
        with Pool(function("saves"), 1, fresh=True) as processes:
            answers = processes.answers([str(tmp_path)])
            threading.Thread(target=lambda: list(answers), daemon=True).start()
            while not (tmp_path / "ready").exists():
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "saved").exists()


def test_a_missing_backend_says_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        "openpfn.jobs.clusters.find_spec",
        lambda name: None if name in ("ray", "distributed") else importlib.util.find_spec(name),
    )
    for backend in ("ray", "dask"):
        with pytest.raises(ModuleNotFoundError, match=r"pip install 'openpfn\[scale\]'"):
            workers(function("echo"), 1, backend)
    words = ["benchmark", "tables", "--backend", "ray", "--tables", "iris", "--splits", "1"]
    assert main([*words, "--methods", "knn", "logistic", "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'openpfn[scale]'" in capsys.readouterr().err


def test_processes_have_no_address():
    with pytest.raises(ValueError, match="Choose backend ray or dask"):
        workers(function("echo"), 1, address="auto")
