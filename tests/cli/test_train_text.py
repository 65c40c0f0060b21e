"""`openpfn train --corpus`: a network that reads text, pretrained and resumed from the command
line."""

from __future__ import annotations

import pytest

from openpfn import checkpoint
from openpfn.cli import main
from openpfn.configs.text import TextConfig
from tests.text.test_tasks import write_folder

SIZES = "--model.encoder hashing --model.d-model 16 --model.n-layers 1 --model.n-heads 2"
SHORT = f"{SIZES} --model.d-mlp 16 --model.n-buckets 20 --n-epochs 1 --batch-size 16".split()


@pytest.mark.slow
def test_a_corpus_is_trained_on_and_the_run_resumed(tmp_path, capsys):
    corpus, out = write_folder(tmp_path / "corpus"), tmp_path / "run"
    given = ["train", "--preset", "text-small", "--out", str(out)]
    assert main([*given, "--corpus", str(corpus), *SHORT]) == 0
    assert "best mean of AUC and R²" in capsys.readouterr().out
    files = {path.name for path in out.iterdir()}
    assert {"latest.safetensors", "best.safetensors", "history.csv", "history.png"} <= files
    header = checkpoint.read_header(out / "best.safetensors")
    assert isinstance(header.config, TextConfig)
    assert header.config.encoder_fingerprint == "hashing-512"
    assert [t["family"] for t in header.provenance["data"]["tables"]] == [
        "beers-family",
        "cars-family",
    ]
    steps = header.provenance["step"]
    assert main([*given, "--resume", "--n-epochs", "2"]) == 0
    assert checkpoint.read_header(out).provenance["step"] == 2 * steps


def test_a_preset_of_text_needs_a_corpus(capsys):
    assert main(["train", "--preset", "text-small"]) == 2
    assert "Give --corpus" in capsys.readouterr().err
