"""The command `openpfn export`: what it writes, tells and refuses."""

from __future__ import annotations

import pytest

from openpfn.cli import main


def test_an_export_is_verified_on_the_host(tmp_path, capsys):
    header = tmp_path / "firmware" / "tinypfn_weights.h"
    assert (
        main(["export", "c", "--checkpoint", "tiny", f"--output={header}", "--backend", "int8"])
        == 0
    )
    assert {path.name for path in (tmp_path / "firmware").iterdir()} >= {
        "pfn.h",
        "pfn.c",
        "pfn_model.h",
        "pfn_weights.h",
    }
    assert (
        main(
            [
                "export",
                "verify",
                str(tmp_path / "firmware"),
                "--rows",
                "30",
                "--queries",
                "5",
                "--optimize=-O1",
            ]
        )
        == 0
    )
    assert "logits differ by at most" in capsys.readouterr().out


def test_a_network_that_the_c_code_does_not_carry_is_refused(tmp_path, capsys):
    assert main(["export", "c", "nano", "--out", str(tmp_path)]) == 2
    assert "carries linear, ridge" in capsys.readouterr().err


def test_a_budget_is_told_and_a_chip_that_is_too_small_refused(capsys):
    assert main(["export", "budget", "tiny", "--chip", "esp32-wroom"]) == 0
    assert "fits" in capsys.readouterr().out
    assert main(["export", "budget", "tiny", "--chip", "stm32f030f4"]) == 2
    assert "does not fit stm32f030f4" in capsys.readouterr().err
    assert main(["export", "budget", "tiny", "--chip", "abacus"]) == 2
    assert "esp32-c3" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["verify", "nowhere"], ["fly"]])
def test_what_is_not_there_is_told(words, capsys):
    assert main(["export", *words]) == 2
    assert words[-1] in capsys.readouterr().err
