"""Threads that ask one classifier at the same time get what one thread gets."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from openpfn import PFNClassifier, checkpoint
from tests.estimators.conftest import random_network

X = np.random.default_rng(0).normal(size=(40, 3))
y = (X[:, 0] > 0).astype(int)


@pytest.fixture(autouse=True)
def _frequent_switches():
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["pickle", "file", "memory"])
def test_threads_get_the_same_probabilities(tmp_path, way):
    source = checkpoint.save(tmp_path / "mine.safetensors", random_network())
    fitted = PFNClassifier(source, n_estimators=3).fit(X, y)
    expected = fitted.predict_proba(X)
    path = fitted.save(tmp_path / "fitted.safetensors")
    for _ in range(3):
        asked = {
            "pickle": lambda: pickle.loads(pickle.dumps(fitted)),
            "file": lambda: PFNClassifier.load(path),
            "memory": lambda: fitted,
        }[way]()
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, a=asked: a.predict_proba(X), range(16)))
        assert all(np.array_equal(answer, expected) for answer in answers)


def test_a_model_in_training_goes_back_to_it_after_the_last_thread():
    model = random_network()
    fitted = PFNClassifier(model=model, n_estimators=1).fit(X, y)
    model.train()
    expected = fitted.predict_proba(X)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fitted.predict_proba(X), range(16)))
    assert all(np.array_equal(answer, expected) for answer in answers)
    assert model.training
