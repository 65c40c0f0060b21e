"""Laws of `openpfn benchmark edge`: equal rows and columns for all, chosen on context rows; losses
against f32; cells that are not measured twice; means on the page and no table's name."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from openpfn import cli
from openpfn.benchmark.edge import run as edge_run
from openpfn.benchmark.edge.config import RENAMED, EdgeConfig
from openpfn.benchmark.edge.methods import carried_values, filled, peers_of
from openpfn.benchmark.edge.report import leagues
from openpfn.benchmark.edge.results import means, verdicts, with_few_rows
from openpfn.benchmark.edge.run import fitting_cells, informative, numeric
from openpfn.benchmark.tables.suites import LoadedTable
from openpfn.export.options import BACKENDS

PEERS = ("logistic", "knn", "small_mlp")


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
    cells = fitting_cells(str(folder), EdgeConfig(rows=(80, 81)))
    assert [(entry.name, rows) for _, entry, _, rows in cells] == [
        ("visits", 80),
        ("words", 80),
        ("iris", 80),
    ], "of 120 rows, 40 are left to ask about"
    with pytest.raises(ValueError, match="Raise max_classes, or lower rows"):
        fitting_cells(str(folder), EdgeConfig(rows=(1000,)))


def result(table, method, value, rows=20, league="A", counted=True):
    scores = {"accuracy": value, "roc_auc": value, "log_loss": 1 - value, "calibration_error": 0.1}
    own = {"suite": "s", "table": table, "rows": rows, "half": "B", "counted": counted}
    return own | {"method": method, "league": league} | scores


def test_a_loss_is_taken_table_by_table():
    accuracy = {"x f32": [0.9, 0.8], "x int8": [0.89, 0.8], "knn": [0.7, 0.7]}
    rows = [
        result(f"t{i}", name, value)
        for name, values in accuracy.items()
        for i, value in enumerate(values)
    ]
    rows.append(result("seen by everybody", "x f32", 0.0, counted=False))
    found = {one["method"]: one for one in means(rows)}
    assert found["x f32"]["accuracy"] == pytest.approx(0.85)
    assert found["x int8"]["lost"] == pytest.approx(0.5)
    assert found["x int8"]["lost_error"] == pytest.approx(0.5)
    assert "lost" not in found["x f32"]
    assert "lost" not in found["knn"]


def test_verdicts_are_over_few_rows_and_name_the_best_rival():
    rows = [
        result("t", name, value, n, league)
        for n in (10, 50, 100)
        for name, league, value in (
            ("x f32", "network", 0.8 if n < 100 else 0.1),
            ("knn", "A", 0.7),
            ("lda", "A", 0.75),
            ("xgboost", "B", 0.9),
        )
    ]
    found = means(rows)
    assert with_few_rows(found, "s", "accuracy")["x f32"] == pytest.approx(0.8)
    in_a, in_b = verdicts(found, "s")
    assert in_a.startswith("x f32 against league A: log-loss 0.2000, better than the best, lda")
    assert "accuracy 0.8000, worse than the best, xgboost with 0.9000" in in_b


def test_a_comparison_without_methods_trained_elsewhere_tells_of_none():
    methods = [{"method": "x int8", "league": "network"}, {"method": "lda", "league": "A"}]
    told = leagues({"methods": methods, "config": {"precision_bytes": 1}})
    assert "lda" in told
    assert "League B" not in told


def test_columns_are_chosen_and_values_filled_on_context_rows_alone():
    x, query = np.array([[1.0, np.nan], [3.0, np.nan]]), np.array([[np.nan, 5.0]])
    shown, asked = filled(x, query)
    np.testing.assert_array_equal(shown, [[1, 0], [3, 0]])
    np.testing.assert_array_equal(asked, [[2, 5]])


def test_columns_that_hardly_vary_in_the_context_are_zeros_everywhere():
    x, query = np.array([[1.0, 1e-30], [3.0, 0.0]]), np.array([[2.0, 7.0]])
    shown, asked = carried_values(x, query)
    np.testing.assert_array_equal(shown[:, 1], 0)
    np.testing.assert_array_equal(asked, [[2, 0]])


def test_a_peer_that_is_not_there_is_told_with_the_others():
    with pytest.raises(ValueError, match="Choose among logistic, lda"):
        peers_of(EdgeConfig(peers=("perceptron",)))


@pytest.mark.slow
def test_the_command_measures_every_backend_and_league_and_resumes(
    folder, tmp_path, monkeypatch, capsys
):
    out, page = tmp_path / "edge.json", tmp_path / "edge.md"
    words = ["--suite", str(folder), "--splits", "1", "--train", "20", "40", "--cores"]
    words += ["--features", "3", "--test", "30", "--peers", *PEERS, "--out", str(out)]
    assert cli.main(["benchmark", "edge", *words, "--page", str(page)]) == 0
    results = json.loads(out.read_text())
    assert {row["method"] for row in results["rows"]} == {
        f"tiny {backend}" for backend in BACKENDS
    } | set(PEERS)
    assert {row["rows"] for row in results["rows"]} == {20, 40}
    found = {(one["method"], one["rows"]): one for one in results["means"]}
    assert found["tiny f32", 40]["n_tables"] == 2, (
        "iris is bundled elsewhere: it is measured and does not count"
    )
    assert abs(found["tiny int8", 40]["lost"]) < 5
    assert found["tiny f32", 40]["log_loss"] < np.log(2)
    told = [one for one in results["methods"] if one["league"] == "B"]
    assert told[0]["allowed_bytes"] > 20_000, "of tiny with int8"
    text, report = page.read_text(), (tmp_path / "edge.html").read_text()
    for written in (text, report):
        assert "visits" not in written
        assert "tiny int8 against league B" in written
        assert "Means of 2 tables" in written
    cells = re.findall(r"(\d) of (\d)", capsys.readouterr().out)
    assert len(cells) == int(cells[0][1])

    results["rows"] = [row for row in results["rows"] if row["rows"] == 20]
    results["config"]["rows"] = [20]  # as if fewer had been asked for
    out.write_text(json.dumps(results))
    measured = []
    measure = edge_run.measured_cell
    monkeypatch.setattr(
        edge_run,
        "measured_cell",
        lambda cell, *more: measured.append(cell[3]) or measure(cell, *more),
    )
    assert cli.main(["benchmark", "edge", *words]) == 0
    assert set(measured) == {40}
    again = json.loads(out.read_text())
    assert again["means"] == json.loads(json.dumps(means(again["rows"])))
    assert {row["rows"] for row in again["rows"]} == {20, 40}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--suite", "nowhere"], "no suite"),
        (["--cores", "z80"], "host, cortex-m0"),
        (["--checkpoints", "nano"], "cannot be exported"),
        (["--checkpoints", "nowhere"], "nowhere"),
        (["--peers", "perceptron"], "no peer 'perceptron'"),
    ],
)
def test_wrong_words_are_told_before_anything_is_measured(words, message, tmp_path, capsys):
    assert cli.main(["benchmark", "edge", *words, "--out", str(tmp_path / "edge.json")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "edge.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"rows": (1,)},
        {"splits": 0},
        {"max_classes": 1},
        {"suite": ()},
        {"precision_bytes": 4, "backends": ("int8",)},
    ],
    ids=str,
)
def test_impossible_options_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        EdgeConfig(**change)


def test_options_by_other_names_are_options():
    fields = {f"--{name.replace('_', '-')}" for name in EdgeConfig.__dataclass_fields__}
    assert set(RENAMED.values()) <= fields
