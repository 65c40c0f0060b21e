"""A saved regressor predicts as the one in memory; files of the two estimators are not mixed up."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from openpfn import PFNClassifier, PFNRegressor, checkpoint
from openpfn.checkpoint.fingerprint import content_digest
from tests.estimators.conftest import NUMBERS, random_network

NETWORK = random_network(NUMBERS)
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 3))
y = np.exp(X[:, 0]) * 1e20 + 3e20
X_QUERY = RANDOM.normal(size=(9, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [{}, {"states": "float32"}, {"keep_rows": False}],
    ids=["rows", "rows and states", "states alone"],
)
def test_a_loaded_regressor_predicts_the_same(tmp_path, options):
    fitted = PFNRegressor(model=NETWORK, random_state=3).fit(X, y)
    loaded = PFNRegressor.load(fitted.save(tmp_path / "fitted.safetensors", **options))
    for output in ("mean", "mode", "quantiles"):
        answer = loaded.predict(X_QUERY, output=output)
        assert np.array_equal(answer, fitted.predict(X_QUERY, output=output))
    again = PFNRegressor.load(loaded.save(tmp_path / "again.safetensors", **options))
    assert np.array_equal(again.predict(X_QUERY), fitted.predict(X_QUERY))


def test_states_in_bfloat16_answer_nearly_the_same(tmp_path):
    fitted = PFNRegressor(model=NETWORK).fit(X, y)
    path = fitted.save(tmp_path / "narrow.safetensors", states="bfloat16", keep_rows=False)
    difference = PFNRegressor.load(path).predict(X_QUERY) - fitted.predict(X_QUERY)
    assert 0 < np.abs(difference).max() < 0.05 * y.std()


def test_a_constant_target_is_saved_without_a_network(tmp_path):
    fitted = PFNRegressor(model=NETWORK).fit(X, np.full(30, 1e-320))
    loaded = PFNRegressor.load(fitted.save(tmp_path / "fitted.safetensors"))
    assert loaded.predict(X_QUERY).tolist() == [1e-320] * 9


def test_each_estimator_refuses_files_of_the_other_and_says_who_reads_them(tmp_path):
    numbers = PFNRegressor(model=NETWORK).fit(X, y).save(tmp_path / "numbers.safetensors")
    classes = PFNClassifier(model=NETWORK).fit(X, y > 4e20).save(tmp_path / "classes.safetensors")
    with pytest.raises(ValueError, match=r"holds a PFNRegressor.* Load it with PFNRegressor.load"):
        PFNClassifier.load(numbers)
    with pytest.raises(
        ValueError, match=r"holds a PFNClassifier.* Load it with PFNClassifier.load"
    ):
        PFNRegressor.load(classes)
    weights = checkpoint.save(tmp_path / "weights.safetensors", NETWORK)
    with pytest.raises(ValueError, match="does not hold a PFNRegressor"):
        PFNRegressor.load(weights)


@pytest.mark.parametrize(
    "change",
    [
        {"spread": -1.0},
        {"spread": 0.0},
        {"centre": float("nan")},
        {"columns": [7]},
        {"context": None},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_together_are_refused_even_with_their_digest(tmp_path, change):
    path = PFNRegressor(model=NETWORK).fit(X, y).save(tmp_path / "fitted.safetensors")
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["openpfn_estimator"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = json.dumps(record | change)
    metadata = {"openpfn_estimator": text, "openpfn_digest": content_digest(tensors, text)}
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="its parts do not fit together"):
        PFNRegressor.load(path)


def test_a_flipped_bit_is_refused(tmp_path):
    path = PFNRegressor(model=NETWORK).fit(X, y).save(tmp_path / "fitted.safetensors")
    content = bytearray(path.read_bytes())
    for position in torch.randint(8, len(content), (20,)).tolist():
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged|not a whole|does not hold|has format"):
            PFNRegressor.load(path)
