"""Every training recipe runs, made short by options after its own."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from openpfn import checkpoint

RECIPES = sorted((Path(__file__).parent.parent / "recipes").glob("train_*.py"))
SHORT = ["--num-steps", "2", "--batch-size", "2", "--eval-batches", "1", "--eval-every", "2", "--n-workers", "0"]
SHORT += ["--tasks.max-features", "3", "--tasks.max-seq-len", "42"]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(recipe), "--out", str(tmp_path), *SHORT])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(recipe), run_name="__main__")
    assert not end.value.code
    header = checkpoint.read_header(tmp_path)
    assert header.provenance["step"] == 2
    assert (header.training_config or {})["optimizer"] == "muon"
