"""Results in JSON are written whole, and recognised."""

from __future__ import annotations

import pytest

from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.benchmark.record import new_record, read_json, write_json


def test_a_record_is_read_back_with_its_options_and_machine(tmp_path):
    record = new_record(BayesConfig(only=("coin",)), threads=1)
    write_json(tmp_path / "x.json", record)
    assert read_json(tmp_path / "x.json") == record
    assert record["config"]["only"] == ["coin"]
    assert record["config"]["out"] == "bayes.json"
    assert record["machine"]["cores"] >= 1
    assert record["machine"]["versions"]["torch"]


def test_results_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "speed.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_json(path, {"unwritable": object()})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["{}", "[]", '{"version": 2, "rows": []}'])
def test_another_file_is_no_results(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match="holds no results"):
        read_json(tmp_path / "x.json")
