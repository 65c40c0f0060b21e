"""The results file survives crashes and refuses what cannot be compared."""

from __future__ import annotations

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


def test_the_later_of_two_equal_cells_counts(tmp_path):
    file = results.ResultsFile(tmp_path / "results.csv")
    file.append(ROW | {"accuracy": 0.1, "checkpoint_sha256": "old"})
    file.append(ROW | {"accuracy": 0.9, "checkpoint_sha256": "new"})
    assert results.read(tmp_path)["accuracy"].tolist() == [0.9]


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
