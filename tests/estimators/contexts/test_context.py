"""The context in the network: bounded memory, the same answers however the work is cut."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from openpfn import PFNClassifier, checkpoint
from openpfn.estimators.contexts import context
from openpfn.estimators.network import find_network, nested_bytes
from tests.estimators.conftest import KernelNetwork, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 6))
y = RANDOM.permutation(np.arange(40) % 3)
X_QUERY = RANDOM.normal(size=(300, 6))


def test_less_memory_means_smaller_passes_and_the_same_answer():
    passes, answers = [], []
    for limit in (None, 10**6, 10**5):
        model = KernelNetwork()
        answers.append(
            PFNClassifier(model=model, memory_limit=limit).fit(X, y).predict_proba(X_QUERY)
        )
        passes.append(max(b * q * (d + 1) for b, q, d in model.n_read))
    assert passes[0] > passes[1] > passes[2]
    assert_allclose(answers[1], answers[0], atol=1e-6)
    assert_allclose(answers[2], answers[0], atol=1e-6)


@pytest.mark.slow
def test_a_context_that_does_not_fit_is_read_anew(network):
    kept = PFNClassifier(model=network).fit(X, y)
    dropped = PFNClassifier(model=network, memory_limit=1).fit(X, y)
    assert kept.context_ is not None
    assert dropped.context_ is not None
    assert all(state is not None for state in kept.context_.states)
    assert all(state is None for state in dropped.context_.states)
    assert_allclose(dropped.predict_proba(X_QUERY[:9]), kept.predict_proba(X_QUERY[:9]), atol=1e-6)


def test_query_rows_are_read_in_multiples_of_eight():
    model = KernelNetwork()
    PFNClassifier(model=model).fit(X, y).predict_proba(X_QUERY[:13])
    assert {q % 8 for _, q, _ in model.n_read} == {0}


def test_members_of_one_width_pass_together():
    model = KernelNetwork()
    PFNClassifier(model=model, n_estimators=3).fit(X, y).predict_proba(X_QUERY[:4])
    assert model.n_read == [(3, 8, 6)]


def test_views_of_one_width_are_asked_together_and_answer_as_apart(monkeypatch):
    table, target = RANDOM.normal(size=(1000, 8)), RANDOM.integers(2, size=1000)
    together = PFNClassifier("tiny").fit(table, target)
    monkeypatch.setattr(context, "BYTES_JOINED", 0)
    apart = PFNClassifier("tiny").fit(table, target)
    n_passes = [len(list(one.context_.answers(X_QUERY[:2, [0] * 8]))) for one in (together, apart)]
    assert n_passes == [2, 4]  # principal components widen one view
    answers = [one.predict_proba(table[:20]) for one in (together, apart)]
    assert_allclose(answers[0], answers[1], atol=1e-6)


def test_a_pickle_holds_neither_states_nor_the_weights_of_a_checkpoint(tmp_path):
    network = random_network()
    path = checkpoint.save(tmp_path / "some.safetensors", network)
    classifier = PFNClassifier(path).fit(X, y)
    content = pickle.dumps(classifier)
    assert len(content) < path.stat().st_size / 4
    assert np.array_equal(
        pickle.loads(content).predict_proba(X_QUERY[:9]), classifier.predict_proba(X_QUERY[:9])
    )


def test_a_pickle_refuses_weights_that_it_was_not_fitted_with(tmp_path):
    path = checkpoint.save(tmp_path / "some.safetensors", random_network(seed=1))
    content = pickle.dumps(PFNClassifier(path).fit(X, y))
    checkpoint.save(path, random_network(seed=2))
    with pytest.raises(ValueError, match="fitted with other weights"):
        pickle.loads(content).predict(X_QUERY)


def test_a_checkpoint_is_loaded_once(tmp_path):
    path = checkpoint.save(tmp_path / "some.safetensors", random_network())
    assert find_network(path, None, "cpu") is find_network(str(path), None, "cpu")


def test_a_missing_checkpoint_is_told():
    with pytest.raises(FileNotFoundError, match="no-such-checkpoint"):
        PFNClassifier("no-such-checkpoint").fit(X, y)


def test_bytes_of_nested_states_are_counted():
    assert (
        nested_bytes([{"a": torch.zeros(3), "b": (torch.zeros(2, dtype=torch.float64), None)}, 5])
        == 28
    )
