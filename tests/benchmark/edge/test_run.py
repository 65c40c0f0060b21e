"""Laws of `openpfn benchmark edge`: equal rows and columns for all, losses against f32, means on
the page and no table's name."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from openpfn import cli
from openpfn.benchmark.edge import report as edge_report
from openpfn.benchmark.edge.config import PEERS, EdgeConfig
from openpfn.benchmark.edge.run import fitting_tables, informative, numeric
from openpfn.benchmark.tables.suites import LoadedTable
from openpfn.export.options import BACKENDS


def test_the_columns_that_tell_classes_apart_are_chosen():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.normal(size=(60, 6))
    x[:, 4] += 5 * y
    x[:, 1] -= 3 * y
    x[:, 0], x[:, 2] = 7.0, np.nan
    x[::5, 4] = np.nan
    np.testing.assert_array_equal(informative(x, y, 2), [1, 4])
    np.testing.assert_array_equal(informative(x * 1000 + 3, y, 2), [1, 4])
    np.testing.assert_array_equal(informative(x, y, 6), np.arange(6))
    assert set(informative(x, y, 4)) == {1, 3, 4, 5}


def test_only_numbers_are_kept():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"], "c": [np.nan, 4.0]})
    kept = numeric(LoadedTable(frame, np.array([0, 1]), {"b": "categorical"}, None, 2, ""))
    assert list(kept.X.columns) == ["a", "c"]
    assert kept.kinds == {"a": "numeric", "c": "numeric"}


def test_tables_that_do_not_fit_are_left_out(folder):
    names = [entry.name for entry, _ in fitting_tables(str(folder), EdgeConfig(rows=50))]
    assert names == ["visits", "words", "iris"]
    with pytest.raises(ValueError, match="Raise max_classes, or lower rows"):
        fitting_tables(str(folder), EdgeConfig(rows=100))


def test_a_loss_is_taken_table_by_table():
    accuracy = {"x f32": [0.9, 0.8], "x int8": [0.89, 0.8], "knn": [0.7, 0.7]}
    rows = [
        {
            "suite": "s",
            "table": f"t{i}",
            "half": "B",
            "counted": True,
            "method": name,
            "accuracy": value,
            "roc_auc": value,
            "log_loss": 0.1,
        }
        for name, values in accuracy.items()
        for i, value in enumerate(values)
    ]
    rows.append(rows[0] | {"table": "seen by everybody", "counted": False, "accuracy": 0.0})
    found = {one["method"]: one for one in edge_report.means(rows)}
    assert found["x f32"]["accuracy"] == pytest.approx(0.85)
    assert found["x int8"]["lost"] == pytest.approx(0.5)
    assert found["x int8"]["lost_error"] == pytest.approx(0.5)
    assert "lost" not in found["x f32"]
    assert "lost" not in found["knn"]


@pytest.mark.slow
def test_the_command_measures_every_backend_and_peer(folder, tmp_path):
    words = [
        "--suite",
        str(folder),
        "--splits",
        "2",
        "--rows",
        "40",
        "--cores",
        "--out",
        str(tmp_path / "edge.json"),
    ]
    assert cli.main(["benchmark", "edge", *words, "--page", str(tmp_path / "edge.md")]) == 0
    results = json.loads((tmp_path / "edge.json").read_text())
    assert {row["method"] for row in results["rows"]} == {
        f"tiny {backend}" for backend in BACKENDS
    } | set(PEERS)
    by_method = {one["method"]: one for one in results["means"]}
    assert by_method["tiny f32"]["n_tables"] == 2, (
        "iris is bundled elsewhere: it is measured and does not count"
    )
    assert abs(by_method["tiny int8"]["lost"]) < 5
    assert by_method["tiny f32"]["log_loss"] < np.log(2)
    page = (tmp_path / "edge.md").read_text()
    assert "visits" not in page
    assert "Means of 2 tables" in page
    halves = {row["table"]: row["half"] for row in results["rows"] if row["counted"]}
    n_b = sum(half == "B" for half in halves.values())
    assert max((one["n_tables"] for one in results["means_of_half_b"]), default=0) == n_b
    assert (f"The {n_b} tables of half B alone" in page) == (n_b > 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "nowhere"], "no suite"),
        (["--cores", "z80"], "host, cortex-m0"),
        (["--checkpoints", "nano"], "cannot be exported"),
        (["--checkpoints", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_told_before_anything_is_measured(words, message, tmp_path, capsys):
    assert cli.main(["benchmark", "edge", *words, "--out", str(tmp_path / "edge.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "edge.json").exists()


@pytest.mark.parametrize(
    "change", [{"rows": 1}, {"splits": 0}, {"max_classes": 1}, {"suite": ()}], ids=str
)
def test_impossible_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        EdgeConfig(**change)
