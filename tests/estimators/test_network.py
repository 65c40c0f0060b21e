"""A checkpoint means the same network wherever the process stands."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from openpfn import PFN, PFNClassifier, checkpoint
from openpfn.configs.sequence import ClassificationConfig
from openpfn.configs.text import TextConfig
from openpfn.device import pick_device
from openpfn.estimators.network import find_network
from tests.estimators.conftest import random_network

X = np.random.default_rng(0).normal(size=(30, 2))
y = X[:, 0] > 0


def test_a_shipped_name_is_the_shipped_network_whatever_the_folder_holds(tmp_path, monkeypatch):
    expected = find_network("auto", None, "cpu").fingerprint
    monkeypatch.chdir(tmp_path)
    checkpoint.save(tmp_path / "nano" / "latest.safetensors", random_network())
    assert find_network("auto", None, "cpu").fingerprint == expected
    assert find_network("nano", None, "cpu").fingerprint == expected
    own = find_network("./nano", None, "cpu").fingerprint
    assert own != expected
    assert find_network(Path("nano"), None, "cpu").fingerprint == own
    (tmp_path / "tiny").write_text("my notes", encoding="utf-8")
    assert find_network("tiny", None, "cpu").source == "tiny"


@pytest.mark.parametrize("way", ["pickle", "file"])
def test_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch, way):
    monkeypatch.chdir(tmp_path)
    checkpoint.save(Path("mine.safetensors"), random_network())
    fitted = PFNClassifier("mine.safetensors", n_estimators=1).fit(X, y)
    expected = fitted.predict_proba(X)
    packed = pickle.dumps(fitted)
    fitted.save(tmp_path / "fitted.safetensors", embed_weights=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = (
        pickle.loads(packed)
        if way == "pickle"
        else PFNClassifier.load(tmp_path / "fitted.safetensors")
    )
    assert np.array_equal(again.predict_proba(X), expected)


NOT_THERE = ["gpu", "cuda:99", "meta", ""]
NOT_THERE += [] if torch.backends.mps.is_available() else ["mps"]


@pytest.mark.parametrize(
    ("config", "way"),
    [
        (TextConfig(d_model=8, n_layers=1, n_heads=2, d_mlp=8, d_text=16), "TextTableClassifier"),
        (ClassificationConfig(d_model=8, n_layers=1, n_heads=2, input_dim=2), "checkpoint.load"),
    ],
    ids=str,
)
def test_a_network_of_another_kind_is_refused_with_what_takes_it(tmp_path, config, way):
    path = checkpoint.save(tmp_path / "other.safetensors", PFN(config))
    with pytest.raises(ValueError, match=rf"another kind.*Use {way}.*give one of .*nano"):
        PFNClassifier(path).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("name", NOT_THERE)
def test_devices_that_are_not_there_are_told_in_one_line(name):
    with pytest.raises(ValueError, match=f"device is '{name}'") as told:
        pick_device(name)
    assert "\n" not in str(told.value)
