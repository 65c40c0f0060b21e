"""`openpfn predict`: probabilities in a file, inputs untouched, errors in one line."""

from __future__ import annotations

import errno
import io
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, checkpoint, cli
from openpfn.tables.load import load
from tests.estimators.conftest import random_network


@pytest.fixture(autouse=True)
def _shipped_network(tmp_path_factory, monkeypatch):
    """A small random network stands in for the shipped nano."""
    folder = tmp_path_factory.mktemp("weights")
    checkpoint.save(folder / "nano.safetensors", random_network())
    monkeypatch.setattr("openpfn.checkpoint.location.SHIPPED", folder)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """TRAIN.csv and TEST.csv with the columns of iris and one of words, in the current folder."""
    iris = load("iris")
    table = iris.X.assign(place=np.where(np.arange(150) % 4, "field", "garden"), species=iris.y)
    table.iloc[::2].to_csv(tmp_path / "TRAIN.csv", index=False)
    table.iloc[1:40:2].to_csv(tmp_path / "TEST.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> int:
    return cli.main(
        ["predict", "TRAIN.csv", "TEST.csv", "--target", "species", "--out", "OUT.csv", *arguments]
    )


@pytest.mark.slow
def test_the_file_holds_what_the_classifier_predicts(files, capsys):
    before = (files / "TRAIN.csv").read_bytes(), (files / "TEST.csv").read_bytes()
    assert run() == 0
    assert ((files / "TRAIN.csv").read_bytes(), (files / "TEST.csv").read_bytes()) == before
    out = pd.read_csv(files / "OUT.csv")
    assert list(out.columns) == [
        "prediction",
        "probability of setosa",
        "probability of versicolor",
        "probability of virginica",
    ]
    train, test = pd.read_csv(files / "TRAIN.csv"), pd.read_csv(files / "TEST.csv")
    classifier = PFNClassifier().fit(train.drop(columns="species"), train["species"])
    assert_allclose(
        out.iloc[:, 1:], classifier.predict_proba(test.drop(columns="species")), atol=2e-6
    )
    assert out["prediction"].tolist() == classifier.predict(test.drop(columns="species")).tolist()
    printed = capsys.readouterr().out
    assert "75 context rows, 3 classes: setosa, versicolor, virginica" in printed
    assert "place: categories (2 distinct)" in printed
    assert "petal length (cm): numbers" in printed
    assert "accuracy" in printed


@pytest.mark.slow
def test_the_test_table_needs_no_target_and_may_have_its_columns_in_any_order(files, capsys):
    assert run() == 0
    with_target = (files / "OUT.csv").read_bytes()
    test = pd.read_csv(files / "TEST.csv")
    test.drop(columns="species").iloc[:, ::-1].assign(extra=1).to_csv(
        files / "TEST.csv", index=False
    )
    capsys.readouterr()
    assert run("--force") == 0
    printed = capsys.readouterr().out
    assert "accuracy" not in printed
    assert "are not used: extra" in printed
    assert (files / "OUT.csv").read_bytes() == with_target


def test_no_file_is_overwritten_unasked(files, capsys):
    (files / "OUT.csv").write_text("precious", encoding="utf-8")
    assert run() == 2
    assert (
        "OUT.csv exists. Choose another --out, or overwrite it with --force."
        in capsys.readouterr().err
    )
    assert (files / "OUT.csv").read_text(encoding="utf-8") == "precious"
    assert run("--force") == 0
    assert (files / "OUT.csv").read_text(encoding="utf-8").startswith("prediction,")


@pytest.mark.parametrize("out", ["TEST.csv", "./TRAIN.csv", "link.csv"])
def test_an_input_is_never_overwritten(files, capsys, out):
    (files / "link.csv").symlink_to(files / "TEST.csv")
    assert (
        cli.main(
            ["predict", "TRAIN.csv", "TEST.csv", "--target", "species", "--out", out, "--force"]
        )
        == 2
    )
    assert "is an input file, which is never overwritten" in capsys.readouterr().err
    assert (files / "TEST.csv").read_text(encoding="utf-8").startswith("sepal length")


def test_a_failure_leaves_no_file(files, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    assert run() == 2
    assert {path.name for path in files.iterdir()} == {"TRAIN.csv", "TEST.csv"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["TRAIN.csv", "TEST.csv", "--target", "specie"],
            "TRAIN.csv has no column 'specie'. Did you mean 'species'?",
        ),
        (["TRAIN.csv", "TEST.csv", "--target", "place"], "TEST.csv has no column 'species'"),
        (
            ["TRIAN.csv", "TEST.csv", "--target", "species"],
            "there is no file TRIAN.csv. Did you mean TRAIN.csv?",
        ),
        (
            ["one.csv", "TEST.csv", "--target", "y"],
            "holds only the value '1': at least two classes",
        ),
        (["none.csv", "TEST.csv", "--target", "y"], "holds no values: at least two classes"),
        (["alone.csv", "TEST.csv", "--target", "y"], "no column besides 'y'"),
        (["empty.csv", "TEST.csv", "--target", "y"], "empty.csv is empty"),
        (["TRAIN.csv", "header.csv", "--target", "species"], "header.csv holds no rows"),
    ],
)
def test_errors_are_one_clear_line(files, capsys, arguments, message):
    test = pd.read_csv(files / "TEST.csv")
    if "place" in arguments:
        test = test.drop(columns="species")
        test.to_csv(files / "TEST.csv", index=False)
    contents = {
        "one": "a,y\n1,1\n2,1\n",
        "none": "a,y\n1,\n2,\n",
        "alone": "y\n1\n2\n",
        "empty": "",
        "header": "a,species\n",
    }
    for name, content in contents.items():
        (files / f"{name}.csv").write_text(content, encoding="utf-8")
    assert cli.main(["predict", *arguments, "--out", "OUT.csv"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (files / "OUT.csv").exists()


def test_rows_without_target_are_left_out_and_unknown_classes_not_scored(files, capsys):
    train, test = pd.read_csv(files / "TRAIN.csv"), pd.read_csv(files / "TEST.csv")
    train.loc[:4, "species"] = None
    test["species"] = test["species"].where(test.index > 2, "tulip")
    train.to_csv(files / "TRAIN.csv", index=False)
    test.to_csv(files / "TEST.csv", index=False)
    assert run() == 0
    printed = capsys.readouterr().out
    assert "left out 5 rows of TRAIN.csv without species" in printed
    assert "17 rows, 3 rows left out: class missing or not in the context" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "separator"),
    [("p.csv.gz", ","), ("p.csv.bz2", ","), ("p.csv.xz", ","), ("p.zip", ","), ("p.tsv", "\t")],
)
def test_the_file_is_what_its_name_says(files, name, separator):
    assert run() == 0
    assert run("--out", name) == 0
    pd.testing.assert_frame_equal(pd.read_csv(name, sep=separator), pd.read_csv("OUT.csv"))


def test_names_of_formats_that_are_not_written_are_refused(files, capsys):
    for name in ("p.feather", "p.ODS", "p.csv.zst", "p.parquet.gz"):
        assert run("--out", name) == 2
        assert "names a format that is not written" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("labels", [[0.0, 1.0, None], [True, False], [1, 2], ["a", "b "]], ids=str)
def test_labels_are_written_as_given(files, labels):
    y = pd.Series([labels[i % len(labels)] for i in range(30)])
    table = pd.DataFrame({"a": np.arange(30.0), "y": y})
    table.to_parquet("TRAIN.parquet")
    command = ["predict", "TRAIN.parquet", "TRAIN.parquet", "--target", "y", "--out", "OUT.csv"]
    assert cli.main(command) == 0
    out = pd.read_csv("OUT.csv", dtype=str)
    headings = {c.removeprefix("probability of ") for c in out.columns[1:]}
    assert headings == {str(v) for v in y.dropna().unique()}
    assert set(out["prediction"]) <= headings


def test_labels_of_other_types_are_scored_by_what_they_say(files, capsys):
    table = pd.DataFrame({"a": np.arange(20.0), "y": np.arange(20) % 2})
    table.to_parquet("TRAIN.parquet")
    table.assign(y=table["y"].astype(float)).to_csv("TEST.csv", index=False)
    command = ["predict", "TRAIN.parquet", "TEST.csv", "--target", "y", "--out", "OUT.csv"]
    assert cli.main(command) == 0
    assert "(20 rows)" in capsys.readouterr().out


@pytest.mark.slow
def test_numbers_written_with_commas_give_the_same_predictions(files, capsys):
    assert run() == 0
    expected = (files / "OUT.csv").read_bytes()
    for name in ("TRAIN.csv", "TEST.csv"):
        pd.read_csv(name).to_csv(name, index=False, sep=";", decimal=",")
    capsys.readouterr()
    assert run("--force") == 0
    assert (files / "OUT.csv").read_bytes() == expected
    assert "with decimal commas" in capsys.readouterr().out


def test_another_spelling_of_numbers_is_told(files, capsys):
    test = pd.read_csv("TEST.csv").drop(columns="species")
    test.to_csv("TEST.csv", index=False, sep=";", decimal=",")
    assert run() == 0
    error = capsys.readouterr().err
    assert "'petal length (cm)'" in error
    assert "of 20 values could not be read as numbers" in error


def test_empty_unnamed_columns_are_not_demanded(files):
    train = (files / "TRAIN.csv").read_text(encoding="utf-8")
    (files / "TRAIN.csv").write_text(train.replace("\n", ",\n"), encoding="utf-8")
    assert run() == 0


def test_a_console_without_the_letters_stops_nothing(files, monkeypatch):
    train = pd.read_csv("TRAIN.csv").rename(columns={"place": "重さ"})
    train.to_csv("TRAIN.csv", index=False)
    pd.read_csv("TEST.csv").rename(columns={"place": "重さ"}).to_csv("TEST.csv", index=False)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="cp1252"))
    assert run() == 0
    sys.stdout.flush()
    assert b"??: categories" in shown.getvalue()


def test_a_full_disk_is_told_with_the_file(files, monkeypatch, capsys):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    assert run() == 2
    assert "error: cannot write OUT.csv: No space left on device." in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_line(files, capsys):
    assert run("--device", "gpu") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_many_classes_and_columns_are_predicted_and_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(60, 110))).add_prefix("column ")
    table["species"] = [f"kind {i % 26}" for i in range(60)]
    table[:54].to_csv("TRAIN.csv", index=False)
    table[54:].to_csv("TEST.csv", index=False)
    assert run("--n-estimators", "1") == 0
    out = pd.read_csv("OUT.csv")
    assert out.shape == (6, 27)
    assert_allclose(out.iloc[:, 1:].sum(axis=1), 1, atol=1e-4)
    printed = capsys.readouterr()
    assert "beyond what was trained: 2 views see 100 of 110 columns each" in printed.out
    assert "beyond what was trained: 26 classes are told apart by hierarchy" in printed.out
    assert "X has" not in printed.err


def test_scores_of_simple_models_are_shown_where_they_are_asked_for(files):
    found = {}
    for choice in ("on", "off"):
        assert run("--stacking", choice, "--force") == 0
        found[choice] = pd.read_csv(files / "OUT.csv").iloc[:, 1:]
    train, test = pd.read_csv(files / "TRAIN.csv"), pd.read_csv(files / "TEST.csv")
    classifier = PFNClassifier(stacking=True)
    classifier.fit(train.drop(columns="species"), train["species"])
    wanted = classifier.predict_proba(test.drop(columns="species"))
    assert_allclose(found["on"], wanted, atol=2e-6)
    assert abs(found["on"] - found["off"]).to_numpy().max() > 1e-4
