"""A classifier saved with its states predicts without its rows; what a file without rows holds, and
what is refused."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from openpfn import PFNClassifier, registry
from openpfn.configs.published import PublishedConfig
from openpfn.estimators import saving
from openpfn.estimators.contexts import states
from openpfn.models import PFN, TabularPFN
from tests.estimators.conftest import SMALL, KernelNetwork, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 4)) * [1, 10, 1e5, 1] + [0, 0, 1e6, 0]
X[:, 3] = RANDOM.integers(0, 3, 60)
X[::9, 0] = np.nan
y = np.array(["b", "A", "c"])[(X[:, 1] > 0).astype(int) + (X[:, 2] > 1e6)]
X_QUERY = X[:20] + RANDOM.normal(size=(20, 4))


@pytest.mark.slow
@pytest.mark.parametrize("keep_rows", [True, False])
@pytest.mark.parametrize("attention", registry.names("attention"))
def test_states_of_every_attention_come_back_bit_by_bit(tmp_path, attention, keep_rows):
    network = random_network(dataclasses.replace(SMALL, attention_type=attention))
    fitted = PFNClassifier(model=network).fit(X, y)
    loaded = PFNClassifier.load(
        fitted.save(tmp_path / "fitted.safetensors", states="float32", keep_rows=keep_rows)
    )
    assert loaded.state_bytes_ == fitted.state_bytes_ > 0
    assert np.array_equal(loaded.predict_proba(X_QUERY), fitted.predict_proba(X_QUERY))


@pytest.mark.slow
@pytest.mark.parametrize("attention", registry.names("attention"))
def test_states_in_bfloat16_take_less_room_and_answer_nearly_the_same(tmp_path, attention):
    network = random_network(dataclasses.replace(SMALL, attention_type=attention))
    fitted = PFNClassifier(model=network).fit(X, y)
    narrow = fitted.save(tmp_path / "narrow.safetensors", states="bfloat16", keep_rows=False)
    wide = fitted.save(tmp_path / "wide.safetensors", states="float32", keep_rows=False)
    assert tensor_bytes(narrow, "states/0/layers/") * 2 == tensor_bytes(wide, "states/0/layers/")
    difference = PFNClassifier.load(narrow).predict_proba(X_QUERY) - fitted.predict_proba(X_QUERY)
    assert 0 < np.abs(difference).max() < 0.02


PUBLISHED = PublishedConfig(d_model=16, n_heads=2, n_layers=2, d_mlp=32, max_classes=3)


@pytest.mark.parametrize(
    "model", [random_network(PUBLISHED), KernelNetwork()], ids=["published", "kernel"]
)
def test_states_of_other_networks_come_back(tmp_path, monkeypatch, model):
    fitted = PFNClassifier(model=model).fit(X, y)
    expected = fitted.predict_proba(X_QUERY)
    if isinstance(
        model, KernelNetwork
    ):  # a class of the user's own: its weights cannot be embedded, but there are none
        monkeypatch.setattr(saving, "checkpoint_bytes", lambda network: np.zeros(1, dtype=np.uint8))
        monkeypatch.setattr(
            saving, "embedded_network", lambda content, device: fitted.context_.ready_network()
        )
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors", keep_rows=False))
    assert np.array_equal(loaded.predict_proba(X_QUERY), expected)


def test_a_classifier_loaded_with_states_does_not_read_the_context(tmp_path, monkeypatch):
    path = (
        PFNClassifier(model=random_network())
        .fit(X, y)
        .save(tmp_path / "fitted.safetensors", states="float32")
    )
    read, summarize = [], TabularPFN.summarize

    def counted(model: Any, batch: Any, *limit: Any) -> Any:
        read.append(batch.n_train)
        return summarize(model, batch, *limit)

    monkeypatch.setattr(TabularPFN, "summarize", counted)
    PFNClassifier.load(path).predict(X_QUERY)
    assert max(read) == 2  # the rows of zeros that tell how a state is made


def test_a_file_without_rows_holds_no_array_as_long_as_the_context_but_the_states(tmp_path):
    network = random_network(dataclasses.replace(SMALL, attention_type="linear", use_ranks=True))
    X, y = RANDOM.normal(size=(1357, 3)), np.arange(1357) % 2
    path = (
        PFNClassifier(model=network)
        .fit(X, y)
        .save(tmp_path / "fitted.safetensors", keep_rows=False)
    )
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "checkpoint"}  # noqa: SIM118
    assert not {"rows", "labels"} & tensors.keys()
    assert (
        max(
            max(tensor.shape, default=0)
            for name, tensor in tensors.items()
            if name.startswith("states/")
        )
        <= 1000
    )
    assert (
        max(tensor.numel() for name, tensor in tensors.items() if name.startswith("views/"))
        <= 3 * 1000
    )


@pytest.mark.slow
def test_fewer_column_values_hardly_change_the_answer(tmp_path):
    network = random_network(dataclasses.replace(SMALL, use_ranks=True))
    X = RANDOM.normal(size=(2400, 3)) ** 3
    X[::5, 0] = np.nan
    fitted = PFNClassifier(model=network, n_estimators=2).fit(X, X[:, 1] > 0)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "fitted.safetensors", keep_rows=False))
    difference = np.abs(loaded.predict_proba(X[:50]) - fitted.predict_proba(X[:50])).max()
    assert 0 < difference < 0.005
    assert loaded.state_bytes_ < fitted.state_bytes_


@pytest.mark.slow
def test_a_classifier_without_rows_can_be_saved_pickled_and_fitted_again(tmp_path):
    fitted = PFNClassifier(model=random_network()).fit(X, y)
    expected = fitted.predict_proba(X_QUERY)
    once = PFNClassifier.load(fitted.save(tmp_path / "once.safetensors", keep_rows=False))
    twice = PFNClassifier.load(once.save(tmp_path / "twice.safetensors", keep_rows=False))
    for copy in (twice, pickle.loads(pickle.dumps(twice)), twice.fit(X, y)):
        assert np.array_equal(copy.predict_proba(X_QUERY), expected)
    with pytest.raises(ValueError, match="keep_rows=False"):
        once.save(tmp_path / "rows.safetensors")


@pytest.mark.slow
def test_states_that_were_not_kept_cannot_be_saved(tmp_path):
    fitted = PFNClassifier(model=random_network(), memory_limit=1).fit(X, y)
    assert fitted.state_bytes_ == 0
    for options in ({"keep_rows": False}, {"states": "float32"}):
        with pytest.raises(ValueError, match="memory_limit = 1 bytes"):
            fitted.save(tmp_path / "fitted.safetensors", **options)
    assert list(tmp_path.iterdir()) == []
    loaded = PFNClassifier.load(fitted.save(tmp_path / "rows.safetensors"))
    assert np.array_equal(loaded.predict_proba(X_QUERY), fitted.predict_proba(X_QUERY))


@pytest.mark.slow
def test_an_unpickled_classifier_reads_its_context_to_save_it(tmp_path):
    fitted = PFNClassifier(model=random_network()).fit(X, y)
    copy = pickle.loads(pickle.dumps(fitted))
    loaded = PFNClassifier.load(copy.save(tmp_path / "fitted.safetensors", keep_rows=False))
    assert np.array_equal(loaded.predict_proba(X_QUERY), fitted.predict_proba(X_QUERY))


def test_one_class_needs_no_states(tmp_path):
    fitted = PFNClassifier(model=random_network()).fit(X, np.ones(60))
    assert fitted.state_bytes_ == 0
    loaded = PFNClassifier.load(
        fitted.save(tmp_path / "fitted.safetensors", keep_rows=False, states="bfloat16")
    )
    assert loaded.predict(X_QUERY).tolist() == [1.0] * 20


def test_unknown_precisions_and_unfitted_classifiers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="one of float32, bfloat16"):
        PFNClassifier(model=random_network()).fit(X, y).save(
            tmp_path / "fitted.safetensors", states="int8"
        )
    assert not hasattr(PFNClassifier(), "state_bytes_")


def test_states_that_do_not_fit_the_network_are_refused(tmp_path):
    network, other = random_network(), PFN(dataclasses.replace(SMALL, attention_type="linear"))
    fitted = [PFNClassifier(model=model, n_estimators=1).fit(X, y) for model in (network, other)]
    softmax, linear = (classifier.context_.states[0] for classifier in fitted)
    with pytest.raises(ValueError, match="do not fit this network"):
        states.put_together(states.take_apart(softmax), like=linear)


def test_ends_of_unknown_kinds_are_named():
    with pytest.raises(TypeError, match="a set at 'a/0'"):
        states.take_apart({"a": [{1, 2}], "b": torch.zeros(1)})


def test_files_of_format_1_keep_predicting():
    loaded = PFNClassifier.load(Path(__file__).parent / "data" / "format1.safetensors")
    query = pd.DataFrame({"size": [0.126, None, 0.362], "colour": ["green", "red", "blue"]})
    expected = [
        [0.415039, 0.25269, 0.332271],
        [0.419913, 0.253149, 0.326938],
        [0.412807, 0.253504, 0.333688],
    ]
    assert loaded.classes_.tolist() == ["pear", "plum", "sloe"]
    np.testing.assert_allclose(loaded.predict_proba(query), expected, atol=2e-5)


def test_files_of_a_later_format_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "FORMAT", 99)
    path = PFNClassifier(model=random_network()).fit(X, y).save(tmp_path / "later.safetensors")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="format 99"):
        PFNClassifier.load(path)


def test_truncated_files_are_refused(tmp_path):
    path = (
        PFNClassifier(model=random_network())
        .fit(X, y)
        .save(tmp_path / "fitted.safetensors", keep_rows=False)
    )
    content = path.read_bytes()
    for length in (0, 5, 200, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            PFNClassifier.load(path)


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["views/", "states/0/layers/1", "encoder/", "checkpoint"])
def test_files_whose_parts_are_missing_are_refused(tmp_path, gone):
    frame = pd.DataFrame({"note": [f"word {i} of many" for i in range(60)], "size": X[:, 1]})
    path = (
        PFNClassifier(model=random_network())
        .fit(frame, y)
        .save(tmp_path / "fitted.safetensors", keep_rows=False)
    )
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith(gone)}  # noqa: SIM118
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(ValueError, match=r"is damaged|do not fit this network"):
        PFNClassifier.load(path)
    save_file(tensors, path, metadata={"openpfn_estimator": "{"})
    with pytest.raises(ValueError, match="is damaged"):
        PFNClassifier.load(path)


def tensor_bytes(path: Path, prefix: str) -> int:
    """Bytes of the floating tensors in `path` whose names begin with `prefix`."""
    with safe_open(path, framework="pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
    return sum(
        tensor.numel() * tensor.element_size() for tensor in tensors if tensor.is_floating_point()
    )
