"""The registry on disk: what is put in comes out, from many processes at once, and after a kill."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from full_disk import with_files_of_at_most

from openpfn.files import sha256_of
from openpfn.training.tracking.base import RunRecord, Tracker
from openpfn.training.tracking.registry import RunRegistry

N_PROCESSES, N_STEPS = 6, 20


@pytest.fixture
def registry(tmp_path):
    return RunRegistry(tmp_path / "registry")


def weights(folder: Path, content: bytes) -> Path:
    path = folder / "latest.safetensors"
    path.write_bytes(content)
    return path


def test_a_file_that_is_no_registry_is_told(tmp_path):
    (tmp_path / "registry.sqlite").write_text("something else")
    with pytest.raises(ValueError, match=r"registry\.sqlite is no registry of runs"):
        RunRegistry(tmp_path).runs()
    with pytest.raises(FileExistsError, match="is a file, but a registry is a folder"):
        RunRegistry(tmp_path / "registry.sqlite").start_run(RunRecord(""))


def test_a_file_system_without_hard_links_will_do(registry, monkeypatch):
    monkeypatch.setattr(
        "os.link", lambda *_: (_ for _ in ()).throw(PermissionError("no links here"))
    )
    run = registry.start_run(RunRecord("", "exp"))
    assert registry.run("exp").id == run.id
    assert not list(registry.folder.glob(".*.part"))


def test_it_is_a_tracker(registry):
    assert isinstance(registry, Tracker)


def test_a_run_comes_back_as_it_was_recorded(registry):
    given = RunRecord(
        "",
        "exp",
        "p",
        tags=("a", "b"),
        notes="why",
        model_config={"d": 1e-10},
        data_config={"list": [1, 2]},
    )
    started = registry.start_run(given)
    registry.log_metrics(started.id, 1, {"loss": 0.5, "nothing": float("nan")})
    registry.log_metrics(started.id, 2, {"loss": float("inf"), "mse": 2.0})
    registry.finish_run(started.id, "finished")
    found = registry.run(started.id)
    assert found == replace(started, state="finished")
    assert replace(found, id="", created_at="", url=None, state="running") == given
    table = registry.metrics(started.id)
    assert table.loc[1].dropna().to_dict() == {"loss": 0.5}
    assert table.loc[2].to_dict() == {"loss": float("inf"), "mse": 2.0}


def test_a_run_is_found_by_id_or_by_its_name_if_that_is_one_runs_alone(registry):
    first, second = (registry.start_run(RunRecord("", name, "p")) for name in ("twin", "other"))
    assert registry.run("twin").id == first.id
    third = registry.start_run(RunRecord("", "twin", "p"))
    with pytest.raises(LookupError, match=f"2 runs are called 'twin'.*{third.id}, {first.id}"):
        registry.run("twin")
    with pytest.raises(LookupError, match="no run with id or name 'nobody'"):
        registry.run("nobody")
    with pytest.raises(LookupError, match="no run"):
        registry.run(second.id, project="another")


def test_runs_are_told_by_project_and_all_their_tags_newest_first(registry):
    for project, tags in (("p", ("a",)), ("p", ("a", "b")), ("q", ("b",))):
        registry.start_run(RunRecord("", f"{project}{len(tags)}", project, tags=tags))
    assert [run.name for run in registry.runs()] == ["q1", "p2", "p1"]
    assert [run.name for run in registry.runs("p")] == ["p2", "p1"]
    assert [run.name for run in registry.runs(tags=["b", "a"])] == ["p2"]


def test_step_100_is_not_step_1000(registry, tmp_path):
    run = registry.start_run(RunRecord(""))
    for step in (1000, 100):
        registry.log_checkpoint(run, step, weights(tmp_path, str(step).encode()))
    assert registry.fetch(run, 100).read_bytes() == b"100"
    assert [(c.step, c.name) for c in registry.checkpoints(run)] == [
        (s, f"checkpoint-{run.id}-step-{s}") for s in (100, 1000)
    ]
    with pytest.raises(LookupError, match=r"no checkpoint of step 10\. Steps kept: 100, 1000"):
        registry.fetch(run, 10)


def test_a_file_is_kept_once_and_as_long_as_a_checkpoint_names_it(registry, tmp_path):
    first, second = (registry.start_run(RunRecord("")) for _ in range(2))
    for run in (first, second):
        registry.log_checkpoint(run, 1, weights(tmp_path, b"same"))
    assert registry.fetch(first, 1) == registry.fetch(second, 1)
    registry.log_checkpoint(first, 1, weights(tmp_path, b"new"))
    assert registry.fetch(second, 1).read_bytes() == b"same"
    registry.log_checkpoint(second, 1, weights(tmp_path, b"new"))
    assert [path.read_bytes() for path in registry.folder.rglob("*.safetensors")] == [b"new"]


def test_a_file_that_was_changed_is_refused(registry, tmp_path):
    run = registry.start_run(RunRecord(""))
    registry.log_checkpoint(run, 1, weights(tmp_path, b"weights"))
    registry.fetch(run, 1).write_bytes(b"others")
    with pytest.raises(ValueError, match="was changed after it was recorded"):
        registry.fetch(run, 1)


def test_an_id_that_is_taken_gives_a_new_one_unless_the_run_goes_on(registry):
    first = registry.start_run(RunRecord("abc", "one"))
    second = registry.start_run(RunRecord("abc", "two"))
    again = registry.start_run(RunRecord("abc", "one"), resumed=True)
    assert (first.id, again.id, again.created_at) == ("abc", "abc", first.created_at)
    assert second.id != "abc"
    assert len(registry.runs()) == 2


def test_a_place_without_a_registry_is_told_and_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError, match="no registry of runs at"):
        RunRegistry(tmp_path / "none").runs()
    assert not (tmp_path / "none").exists()


def test_a_registry_of_a_newer_version_is_refused(registry):
    registry.start_run(RunRecord(""))
    rows = sqlite3.connect(registry.database)
    rows.execute("PRAGMA user_version = 99")
    rows.close()
    with pytest.raises(ValueError, match="version 99"):
        registry.runs()


def record_a_run(folder: Path, number: int) -> None:
    registry = RunRegistry(folder / "registry")
    run = registry.start_run(RunRecord("same-id", f"run {number}", "p"))
    for step in range(1, N_STEPS + 1):
        registry.log_metrics(run.id, step, {"loss": number + 1 / step})
        if step % 5 == 0:
            path = folder / f"{number}.safetensors"
            path.write_bytes(f"{step}".encode())  # the same content in all processes: the same file
            registry.log_checkpoint(run, step, path)
    registry.finish_run(run.id, "finished")


@pytest.mark.slow
def test_many_processes_record_their_runs_at_once(tmp_path):
    """They also race for the making of the registry, and for one id."""
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=record_a_run, args=(tmp_path, number))
        for number in range(N_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * N_PROCESSES
    registry = RunRegistry(tmp_path / "registry")
    assert len({run.id for run in registry.runs("p")}) == N_PROCESSES
    for run in registry.runs():
        number = int(run.name.split()[1])
        assert run.state == "finished"
        assert registry.metrics(run.id)["loss"].tolist() == pytest.approx(
            [number + 1 / step for step in range(1, N_STEPS + 1)]
        )
        assert [registry.fetch(run, c.step).read_bytes() for c in registry.checkpoints(run)] == [
            b"5",
            b"10",
            b"15",
            b"20",
        ]
    assert len(list(registry.folder.rglob("*.safetensors"))) == 4


def record_for_ever(folder: Path) -> None:
    registry = RunRegistry(folder / "registry")
    run = registry.start_run(RunRecord(""))
    step = 0
    while True:
        step += 1
        registry.log_metrics(run.id, step, {"loss": 1.0})
        registry.log_checkpoint(run, step % 3, weights(folder, os.urandom(1000)))


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_the_registry_whole(tmp_path):
    registry = RunRegistry(tmp_path / "registry")
    for kill in range(5):
        process = multiprocessing.get_context("fork").Process(
            target=partial(record_for_ever, tmp_path)
        )
        process.start()
        while not registry.exists() or len(registry.runs()) <= kill:  # however busy the machine
            time.sleep(0.001)
        time.sleep(0.02 + 0.017 * kill)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        for run in registry.runs():
            for checkpoint in registry.checkpoints(run):
                path = registry.fetch(
                    run, checkpoint.step
                )  # whole, and the file that its name says
                assert path.stem == sha256_of(path)
        with sqlite3.connect(registry.database) as rows:
            assert rows.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows.close()
    assert len(registry.runs()) == 5


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_no_part(registry, tmp_path):
    run = registry.start_run(RunRecord(""))
    registry.log_checkpoint(run, 1, weights(tmp_path, b"small"))
    size = registry.database.stat().st_size
    path = weights(tmp_path, os.urandom(4 * size))

    def fill() -> None:
        with pytest.raises(OSError, match=r"could not keep the checkpoint of step 2 .*too large"):
            registry.log_checkpoint(run, 2, path)
        figures = {f"figure {i}": 0.1 for i in range(100_000)}
        registry.log_metrics(run.id, 1, figures)
        with pytest.raises(OSError, match="could not write its records"):
            registry.flush()

    assert with_files_of_at_most(2 * size, fill)
    assert not list(registry.folder.rglob("*.part*"))
    assert [one.step for one in registry.checkpoints(run)] == [1]
    assert registry.fetch(run, 1).read_bytes() == b"small"
    registry.log_checkpoint(run, 2, path)
    assert registry.fetch(run, 2).read_bytes() == path.read_bytes()


def test_a_registry_that_cannot_be_made_is_told_and_leaves_no_part(tmp_path):
    registry = RunRegistry(tmp_path / "registry")

    def make() -> None:
        with pytest.raises(OSError, match="the registry could not make its database"):
            registry.start_run(RunRecord(""))

    assert with_files_of_at_most(5000, make)
    assert list(registry.folder.iterdir()) == []


def test_the_next_run_sweeps_what_a_killed_one_left(registry):
    registry.start_run(RunRecord(""))
    left = registry.folder / f".abcdefgh.{dead_process()}.part"
    left.write_bytes(b"half")
    registry.start_run(RunRecord(""))
    assert not left.exists()


def dead_process() -> int:
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process
