"""`openpfn runs`, as a person uses it."""

from __future__ import annotations

import pytest

from openpfn import cli
from openpfn.training.tracking.base import RunRecord
from openpfn.training.tracking.registry import RunRegistry


@pytest.fixture
def registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENPFN_REGISTRY", "mine")
    registry = RunRegistry()
    (tmp_path / "weights").write_bytes(b"weights")
    run = registry.start_run(RunRecord("abc12345", "linear", "p", tags=("v1",)))
    for step in (100, 1000):
        registry.log_checkpoint(run, step, tmp_path / "weights")
    registry.finish_run(run.id, "finished")
    registry.start_run(RunRecord("def67890", "other", "q"))
    return registry


def shown(capsys, *arguments: str) -> list[list[str]]:
    assert cli.main(["runs", *arguments]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_runs_are_listed_newest_first_and_by_project_and_tags(registry, capsys):
    header, newest, oldest = shown(capsys)
    assert header[:4] == ["id", "name", "project", "state"]
    assert [*newest[:4], *newest[5:]] == ["def67890", "other", "q", "running", "none"]
    assert [*oldest[:4], *oldest[5:]] == [
        "abc12345",
        "linear",
        "p",
        "finished",
        "2",
        "(100–1000)",
        "v1",
    ]
    assert shown(capsys, "--project", "p")[1:] == shown(capsys, "--tags", "v1")[1:] == [oldest]


def test_the_checkpoints_of_a_run_and_the_file_of_a_step(registry, capsys):
    assert [line[:2] for line in shown(capsys, "linear")[1:]] == [
        [s, f"checkpoint-abc12345-step-{s}"] for s in ("100", "1000")
    ]
    ((path,),) = shown(capsys, "abc12345", "--step", "100")
    assert path == str(registry.fetch(registry.run("linear"), 100))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody"], "no run with id or name 'nobody'"),
        (["linear", "--step", "10"], "no checkpoint of step 10"),
        (["--step", "10"], "--step needs a run"),
        (["--registry", "nowhere"], "no registry of runs at nowhere"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(registry, capsys, arguments, message):
    assert cli.main(["runs", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
