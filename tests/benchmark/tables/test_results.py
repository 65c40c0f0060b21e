"""The results file survives crashes and refuses what cannot be compared."""

from __future__ import annotations

import resource

import numpy as np
import pandas as pd
import pytest

from openpfn.benchmark.tables import results

ROW = {
    "suite": "s",
    "table": "t",
    "method": "m",
    "tuned": "0",
    "context": "150",
    "split": 0,
    "status": "ok",
    "counted": True,
    "accuracy": 0.5,
}


def test_what_is_appended_is_read_back(tmp_path):
    file = results.ResultsFile(tmp_path / "out" / "results.csv")
    file.append(
        ROW
        | {"error": 'a "quoted", two\nlined error', "options": {"C": 1.5}, "roc_auc": float("nan")}
    )
    (row,) = results.read(tmp_path / "out").to_dict("records")
    assert row["error"] == 'a "quoted", two lined error'
    assert row["options"] == '{"C": 1.5}'
    assert row["accuracy"] == 0.5
    assert row["roc_auc"] != row["roc_auc"]
    assert row["counted"]


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_last_line_that_was_cut_off_is_repaired(tmp_path, cut):
    path = tmp_path / "results.csv"
    file = results.ResultsFile(path)
    for split in range(3):
        file.append(ROW | {"split": split})
    path.write_bytes(path.read_bytes()[:-cut])
    assert results.read(path)["split"].tolist() == [0, 1]
    results.ResultsFile(path).append(ROW | {"split": 2})
    assert results.read(path)["split"].tolist() == [0, 1, 2]


def test_a_header_that_was_cut_off_is_written_again(tmp_path):
    path = tmp_path / "results.csv"
    results.ResultsFile(path)
    path.write_bytes(path.read_bytes()[:-5])
    results.ResultsFile(path).append(ROW)
    assert len(results.read(path)) == 1


@pytest.fixture
def disk_of():
    """Let files grow to so many bytes only."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size or most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize("room", [0, 1, 50])
def test_a_full_disk_leaves_whole_rows_alone(tmp_path, disk_of, room):
    path = tmp_path / "results.csv"
    file = results.ResultsFile(path)
    file.append(ROW)
    before = path.read_bytes()
    disk_of(len(before) + room)
    for _ in range(2):
        with pytest.raises(OSError, match="too large"):
            file.append(ROW | {"split": 1})
        assert path.read_bytes() == before
    results.ResultsFile(path)
    disk_of(None)
    file.append(ROW | {"split": 1})
    assert results.read(path)["split"].tolist() == [0, 1]


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[:40] + b"\n",
        lambda line: line[:40] + line,
        lambda line: b"\0" * 30 + b"\n",
        lambda line: b"\xff" + line,
        lambda line: b"\n",
        lambda line: line.replace(b"ok", b""),
    ],
)
def test_damaged_lines_are_no_rows_and_go_when_the_run_goes_on(tmp_path, damage):
    path = tmp_path / "results.csv"
    file = results.ResultsFile(path)
    for split in range(3):
        file.append(ROW | {"split": split})
    head, first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(head + first + damage(second) + third)
    assert results.read(path)["split"].tolist() == [0, 2]
    results.ResultsFile(path)
    assert path.read_bytes() == head + first + third


def test_a_cell_that_was_measured_twice_is_one_row_when_the_run_goes_on(tmp_path):
    path = tmp_path / "results.csv"
    file = results.ResultsFile(path)
    for accuracy in (0.1, 0.2, 0.3):
        for split in range(2):
            file.append(ROW | {"split": split, "accuracy": accuracy})
    results.ResultsFile(path)
    assert path.read_bytes().count(b"\n") == 1 + 2
    assert results.read(path)["accuracy"].tolist() == [0.3, 0.3]


def test_the_later_of_two_equal_cells_counts(tmp_path):
    file = results.ResultsFile(tmp_path / "results.csv")
    file.append(ROW | {"accuracy": 0.1, "checkpoint_sha256": "old"})
    file.append(ROW | {"accuracy": 0.9, "checkpoint_sha256": "new"})
    assert results.read(tmp_path)["accuracy"].tolist() == [0.9]


def as_written_before(path):
    """Take the columns out of a file that older versions did not have."""
    rows = pd.read_csv(path, dtype="string", keep_default_na=False)
    rows.drop(columns=list(results.ADDED)).to_csv(path, index=False)


def test_an_older_file_is_read_and_goes_on(tmp_path):
    path = tmp_path / "results.csv"
    file = results.ResultsFile(path)
    numbers = ROW | {"task": "regression", "r2": 0.5, "crps": 2.0, "error": 'a "quoted", word'}
    file.append(numbers)
    as_written_before(path)
    (old,) = results.read(path).to_dict("records")
    assert (old["r2"], old["crps"]) == (0.5, 2.0)
    assert np.isnan(old["rmse"])
    results.ResultsFile(path).append(numbers | {"split": 1, "rmse": 3.0, "coverage": 0.9})
    rows = results.read(path)
    assert rows["crps"].tolist() == [2.0, 2.0]
    assert rows["error"].tolist() == ['a "quoted", word'] * 2
    assert rows["rmse"].fillna(0).tolist() == [0.0, 3.0]
    assert results.unfinished(rows).tolist() == [True, False]


def test_another_protocol_is_refused(tmp_path):
    file = results.ResultsFile(tmp_path / "results.csv")
    file.append(ROW | {"seed": 0, "max_query": 2000, "max_half": 1000})
    rows = results.read(tmp_path)
    results.require_protocol(
        rows, {"suite": "s", "seed": 0, "max_query": 2000, "max_half": 1000}, tmp_path
    )
    with pytest.raises(ValueError, match="max_query 2000, now max_query is 50"):
        results.require_protocol(
            rows, {"suite": "s", "seed": 0, "max_query": 50, "max_half": 1000}, tmp_path
        )


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no results file"):
        results.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="there are no results"):
        results.read(tmp_path / "nowhere")
