"""The command `openpfn export`: what it writes, prints and refuses."""

from __future__ import annotations

import json

import pytest
import torch
from export.c_library import random_network

from openpfn import checkpoint
from openpfn.cli import main
from openpfn.export.record import RECORD, read_record


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    """The library of a small network, exported by the command."""
    folder = tmp_path_factory.mktemp("small")
    checkpoint.save(folder / "small.safetensors", random_network(max_classes=3))
    words = ["export", "c", str(folder / "small.safetensors"), "--out", str(folder / "fw")]
    assert main(words) == 0
    return folder / "fw"


def verify(folder, *words):
    return main(["export", "verify", str(folder), "--optimize=-O0", "--queries", "5", *words])


@pytest.mark.slow
def test_an_export_is_verified_on_the_host(tmp_path, capsys):
    header = tmp_path / "firmware" / "tinypfn_weights.h"
    words = ["--checkpoint", "tiny", f"--output={header}", "--backend", "int8"]
    assert main(["export", "c", *words]) == 0
    names = {path.name for path in (tmp_path / "firmware").iterdir()}
    assert names >= {"pfn.h", "pfn.c", "pfn_model.h", "pfn_weights.h"}
    assert verify(tmp_path / "firmware", "--rows", "30") == 0
    assert "logits differ by at most" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 3])
def test_by_default_a_library_carries_the_classes_of_its_network(tmp_path, n_classes):
    checkpoint.save(tmp_path / "few.safetensors", random_network(max_classes=n_classes))
    out = tmp_path / "firmware"
    assert main(["export", "c", str(tmp_path / "few.safetensors"), "--out", str(out)]) == 0
    assert read_record(out)["max_classes"] == n_classes
    assert f"PFN_MAX_CLASSES {n_classes}\n" in (out / "pfn_model.h").read_text()


@pytest.mark.slow
def test_a_checkpoint_named_by_a_relative_path_is_found_from_elsewhere(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "few.safetensors", random_network(max_classes=2))
    (tmp_path / "t.csv").write_text("a,b,y\n1,,x\n2,3,z\n3,,x\n4,,z\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    words = ["few.safetensors", "--out", "firmware", "--context", "t.csv"]
    assert main(["export", "c", *words]) == 0
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert verify("../firmware", "--frozen") == 0


EMPTY_COLUMNS = {
    "one": "a,b,c,y\n" + "".join(f"{i},,{i % 3},{'no yes'.split()[i % 2]}\n" for i in range(12)),
    "first": "a,b,y\n" + "".join(f",{i * i % 7},{'no yes'.split()[i % 2]}\n" for i in range(12)),
    "all": "a,b,y\n" + "".join(f",,{'no yes'.split()[i % 2]}\n" for i in range(12)),
}


@pytest.mark.slow
@pytest.mark.parametrize("which", EMPTY_COLUMNS)
def test_a_table_with_an_empty_column_is_verified(tmp_path, capsys, which):
    (tmp_path / "t.csv").write_text(EMPTY_COLUMNS[which])
    table = str(tmp_path / "t.csv")
    assert main(["export", "c", "micro", "--out", str(tmp_path / "fw"), "--context", table]) == 0
    assert verify(tmp_path / "fw", "--frozen") == 0
    assert "the same class for 100%" in capsys.readouterr().out
    if which != "all":
        assert verify(tmp_path / "fw", "--data", table) == 0


def test_a_network_that_the_c_code_does_not_carry_is_refused(tmp_path, capsys):
    assert main(["export", "c", "nano", "--out", str(tmp_path)]) == 2
    assert "carries linear, ridge" in capsys.readouterr().err


def test_a_budget_is_printed_and_a_chip_that_is_too_small_refused(capsys):
    assert main(["export", "budget", "tiny", "--chip", "esp32-wroom"]) == 0
    assert "fits" in capsys.readouterr().out
    assert main(["export", "budget", "tiny", "--chip", "stm32f030f4"]) == 2
    assert "does not fit stm32f030f4" in capsys.readouterr().err
    assert main(["export", "budget", "tiny", "--chip", "abacus"]) == 2
    assert "esp32-c3" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["c", "budget"])
@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors"])
def test_a_file_of_pytorch_gets_a_hint_at_import(tmp_path, capsys, command, name):
    torch.save({"weight": torch.zeros(2)}, tmp_path / name)
    out = ["--out", str(tmp_path / "fw")] if command == "c" else []
    assert main(["export", command, str(tmp_path / name), *out]) == 2
    assert "openpfn import" in one_line(capsys)
    assert not (tmp_path / "fw").exists()


@pytest.mark.parametrize("content", [None, b"", b"no checkpoint", b"\x10" + bytes(40)], ids=str)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path, capsys, content):
    path = tmp_path / "made.safetensors"
    if content is not None:
        path.write_bytes(content)
    for words in (["c", str(path), "--out", str(tmp_path / "fw")], ["budget", str(path)]):
        assert main(["export", *words]) == 2
        assert str(path) in one_line(capsys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no file"),
        ("a,y\n1e30,x\n2,z\n3,x\n", "'a'"),
        ("a,y\n1e-30,x\n2e-30,z\n3e-30,x\n", "'a'"),
        ("a,y\n,x\n,z\n,x\n", "0 columns with values"),
        ("a,y\n1,x\n", "1 rows"),
    ],
    ids=str,
)
def test_a_table_that_cannot_be_shown_is_refused_in_one_line(
    firmware, tmp_path, capsys, table, message
):
    if table is not None:
        (tmp_path / "t.csv").write_text(table)
    assert verify(firmware, "--data", str(tmp_path / "t.csv")) == 2
    assert message in one_line(capsys)


DAMAGE = {
    "no code": (lambda folder: (folder / "pfn.c").unlink(), "holds no pfn.c"),
    "other code": (lambda folder: (folder / "pfn.c").write_text("int x = ;"), "failed"),
    "no record": (lambda folder: (folder / RECORD).unlink(), f"holds no {RECORD}"),
    "half a record": (lambda folder: (folder / RECORD).write_text("{"), "damaged"),
    "an empty record": (lambda folder: (folder / RECORD).write_text("{}"), "damaged"),
    "an unknown backend": (
        lambda folder: (folder / RECORD).write_text(
            json.dumps(read_record(folder) | {"backend": "int4"})
        ),
        "damaged",
    ),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_library_is_refused_in_one_line(tmp_path, firmware, capsys, how):
    for path in firmware.iterdir():
        (tmp_path / path.name).write_text(path.read_text())
    damage, message = DAMAGE[how]
    damage(tmp_path)
    assert verify(tmp_path) == 2
    assert message in one_line(capsys)


@pytest.mark.parametrize("words", [["verify", "nowhere"], ["fly"]])
def test_what_is_not_there_is_named(words, capsys):
    assert main(["export", *words]) == 2
    assert words[-1] in capsys.readouterr().err


def one_line(capsys) -> str:
    """Return the one line that was complained."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]
