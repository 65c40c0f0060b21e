"""`openpfn corpus`: build, info, export and import say what they did."""

from __future__ import annotations

import json

import pytest
from small_corpora import ENTRIES, HOUSES, WEATHER

from openpfn.cli import main


@pytest.fixture
def specification(tmp_path, no_network):
    WEATHER.to_csv(tmp_path / "weather.csv", index=False)
    HOUSES.to_parquet(tmp_path / "houses.parquet")
    (tmp_path / "spec.json").write_text(json.dumps({"tables": ENTRIES}))
    return tmp_path / "spec.json"


def test_a_corpus_is_built_described_exported_and_imported(specification, tmp_path, capsys):
    folder, file = str(tmp_path / "corpus"), str(tmp_path / "c.h5")
    assert main(["corpus", "build", str(specification), "--out", folder]) == 0
    assert "[1/2] weather: 24 rows, 3 columns, CC BY 4.0" in capsys.readouterr().out
    assert main(["corpus", "info", folder]) == 0
    told = capsys.readouterr().out
    assert "homes: regression of price, 24 rows, 2 columns, family homes, validation" in told
    assert "2 tables (1 of classification, 1 of regression) of 2 families, 48 rows" in told
    assert main(["corpus", "export", folder, "--out", file, "--template", "v1.1"]) == 0
    assert main(["corpus", "import", file, "--out", str(tmp_path / "again")]) == 0
    assert "homes: 24 rows, 2 cells each" in capsys.readouterr().out


def test_failures_are_told_in_one_line(specification, tmp_path, capsys):
    (tmp_path / "houses.parquet").write_bytes(b"")
    out = str(tmp_path / "corpus")
    assert main(["corpus", "build", str(specification), "--out", out]) == 2
    assert "error: 1 of 2 tables could not be made: homes: " in capsys.readouterr().err
    assert main(["corpus", "info", str(tmp_path)]) == 2
    assert "is no corpus" in capsys.readouterr().err
    assert main(["corpus", "unite"]) == 2
