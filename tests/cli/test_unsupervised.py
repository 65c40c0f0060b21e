"""`openpfn impute`, `outliers`, `generate` and `explain`: files and JSON, errors in one line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import (
    PFNClassifier,
    PFNExplainer,
    PFNImputer,
    PFNOutlierDetector,
    checkpoint,
    cli,
)
from tests.estimators.conftest import NUMBERS, random_network


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    """TABLE.csv with missing cells in the current folder, and a random network as nano."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"size": random.normal(size=30).round(3), "colour": ["red", "blue"] * 15})
    table["kind"] = np.where(table["size"] > 0, "big", "small")
    table.loc[3, "size"] = None
    table.loc[4:6, "colour"] = None
    table.to_csv(tmp_path / "TABLE.csv", index=False)
    checkpoint.save(tmp_path / "weights" / "nano.safetensors", random_network(NUMBERS))
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", tmp_path / "weights")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_missing_cells_are_filled_and_the_others_stay_letter_by_letter(capsys):
    assert cli.main(["impute", "TABLE.csv", "--out", "OUT.csv"]) == 0
    words, filled = (pd.read_csv(name, dtype=str) for name in ("TABLE.csv", "OUT.csv"))
    assert filled.notna().all(axis=None)
    there = words.notna()
    assert (filled[there].fillna("") == words.fillna("")).all(axis=None)
    expected = PFNImputer().fit_transform(words)
    pd.testing.assert_frame_equal(filled, expected)
    printed = capsys.readouterr().out
    assert "colour: categories (2 distinct), 3 missing: 3 filled" in printed
    assert "4 cells of 30 rows filled, from 30 rows" in printed


def test_filled_rows_are_printed_as_json(capsys):
    assert cli.main(["impute", "TABLE.csv", "--json", "--sample", "--context", "TABLE.csv"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["filled"] == {"size": 1, "colour": 3, "kind": 0}
    assert len(told["rows"]) == 30
    assert told["rows"][4]["colour"] in ("red", "blue")


def test_scores_of_rows_are_written(capsys):
    command = ["outliers", "TABLE.csv", "--out", "OUT.parquet", "--contamination", "0.1"]
    assert cli.main([*command, "--n-orders", "1"]) == 0
    out = pd.read_parquet("OUT.parquet")
    words = pd.read_csv("TABLE.csv", dtype=str)
    detector = PFNOutlierDetector(contamination=0.1, n_orders=1).fit(words)
    assert_allclose(out["score"], detector.score_samples(words), rtol=1e-5)
    assert out["outlier"].sum() == 3
    printed = capsys.readouterr().out
    assert "3 of 30 rows are outliers" in printed
    assert f"row {out['score'].argmin() + 1}: " in printed


def test_new_rows_are_written(capsys):
    assert cli.main(["generate", "TABLE.csv", "--rows", "7", "--out", "OUT.csv.gz"]) == 0
    rows = pd.read_csv("OUT.csv.gz")
    assert list(rows.columns) == ["size", "colour", "kind"]
    assert len(rows) == 7
    assert set(rows["colour"]) <= {"red", "blue"}
    assert "7 rows like the 30 of TABLE.csv" in capsys.readouterr().out


def test_values_of_cells_add_up_to_the_probability_of_the_row(files, capsys):
    command = ["explain", "TABLE.csv", "TABLE.csv", "--target", "kind", "--rows", "4"]
    assert cli.main([*command, "--out", "OUT.csv", "--figure", "OUT.png"]) == 0
    out = pd.read_csv("OUT.csv")
    assert list(out.columns) == [
        "prediction",
        "class",
        "explained",
        "base value",
        "size",
        "colour",
    ]
    assert_allclose(out["base value"] + out["size"] + out["colour"], out["explained"], atol=1e-6)
    words = pd.read_csv("TABLE.csv", dtype=str)
    X = words[["size", "colour"]]
    classifier = PFNClassifier().fit(X, words["kind"])
    assert_allclose(out["explained"], classifier.predict_proba(X[:4]).max(axis=1), atol=1e-6)
    assert out["prediction"].tolist() == classifier.predict(X[:4]).tolist()
    values = PFNExplainer(classifier).shap_values(X[:4])
    place = list(classifier.classes_).index(out["class"][0])
    assert_allclose(out.loc[0, ["size", "colour"]].astype(float), values[0, :, place], atol=1e-6)
    assert (files / "OUT.png").read_bytes().startswith(b"\x89PNG")
    assert "Mean size of the Shapley values:" in capsys.readouterr().out


def test_a_number_is_explained_in_its_units(capsys):
    command = ["explain", "TABLE.csv", "TABLE.csv", "--target", "size", "--rows", "2", "--json"]
    assert cli.main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "regression"
    row = told["rows"][0]
    assert abs(row["base value"] + row["colour"] + row["kind"] - row["prediction"]) < 1e-6
    assert set(told["importance"]) == {"colour", "kind"}


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["impute", "TABEL.csv", "--json"], "there is no file TABEL.csv. Did you mean TABLE.csv?"),
        (["impute", "TABLE.csv"], "there is no --out. Name the file to write"),
        (["impute", "TABLE.csv", "--out", "TABLE.csv", "--force"], "is an input file, which is"),
        (["impute", "TABLE.csv", "--out", "OUT.feather"], "names a format that is not written"),
        (["impute", "TABLE.csv", "--json", "--context", "OTHER.csv"], "OTHER.csv has no column"),
        (["outliers", "TABLE.csv", "--json", "--contamination", "0.9"], "contamination is 0.9"),
        (["outliers", "ONE.csv", "--json"], "X has 1 sample, but"),
        (["outliers", "HEADER.csv", "--json"], "HEADER.csv holds no rows"),
        (["generate", "TABLE.csv", "--rows", "0", "--json"], "n_rows is 0, must be"),
        (["explain", "TABLE.csv", "TABLE.csv", "--target", "kin", "--json"], "no column 'kin'"),
        (
            ["explain", "TABLE.csv", "TABLE.csv", "--target", "kind", "--label", "x", "--json"],
            "--label is 'x', but the classes are big, small",
        ),
        (
            ["explain", "TABLE.csv", "TABLE.csv", "--target", "kind", "--json", "--figure", "a.x"],
            "--figure a.x is none of .png, .svg, .pdf",
        ),
    ],
    ids=" ".join,
)
def test_errors_are_one_clear_line(files, capsys, command, message):
    (files / "OTHER.csv").write_text("size,hue\n1,red\n", encoding="utf-8")
    (files / "ONE.csv").write_text("size,hue\n1,red\n", encoding="utf-8")
    (files / "HEADER.csv").write_text("size,hue\n", encoding="utf-8")
    assert cli.main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
