"""Embeddings of rows: what a network hands to its head, in each view."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import softmax

from openpfn import PFNClassifier, PFNRegressor
from tests.estimators.conftest import NUMBERS, SMALL, random_network

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 3))
Y = np.arange(30) % 3


@pytest.fixture(scope="module")
def model():
    return random_network(NUMBERS)


def test_there_is_a_vector_per_view_and_row(model):
    classifier = PFNClassifier(model=model, n_estimators=3).fit(X, Y)
    assert classifier.get_embeddings(X[:7]).shape == (3, 7, NUMBERS.d_model)
    assert classifier.get_embeddings().shape == (3, 30, NUMBERS.d_model)
    regressor = PFNRegressor(model=model, n_estimators=2).fit(X, X[:, 0])
    assert regressor.get_embeddings(X[:7]).shape == (2, 7, NUMBERS.d_model)


def test_the_head_of_the_network_makes_the_logits_of_them(model):
    classifier = PFNClassifier(model=model, n_estimators=1).fit(X, Y)
    vectors = torch.from_numpy(classifier.get_embeddings(X[:5]))
    logits = model.head(vectors, torch.tensor([3]))[0, :, :3].detach().numpy()
    canonical = softmax(logits.astype(np.float64), axis=1)
    expected = classifier.predict_proba(X[:5])[:, classifier.order_]
    assert_allclose(canonical, expected, atol=1e-5)


def test_views_come_in_the_order_of_the_members(model):
    one = PFNClassifier(model=model, n_estimators=1, random_state=3).fit(X, Y)
    four = PFNClassifier(model=model, n_estimators=4, random_state=3).fit(X, Y)
    assert_allclose(four.get_embeddings(X[:4])[0], one.get_embeddings(X[:4])[0], atol=1e-5)


def test_rows_of_the_context_come_in_the_order_of_fit(model):
    shuffled = RANDOM.permutation(30)
    once = PFNClassifier(model=model, n_estimators=2).fit(X, Y).get_embeddings()
    again = PFNClassifier(model=model, n_estimators=2).fit(X[shuffled], Y[shuffled])
    assert_allclose(again.get_embeddings(), once[:, shuffled], atol=1e-5)


def test_a_row_of_the_context_is_embedded_as_in_a_pass_of_all_rows(model):
    from openpfn.batch import TaskBatch

    x = torch.randn(1, 8, 3)
    batch = TaskBatch(x, (torch.arange(8)[None] % 2).float(), 8, n_classes=torch.tensor([2]))
    with torch.no_grad():
        fast = model.embedded_context(batch)
        statistics = model.cell_encoder.fit(x, None, None)
        cells = model.embed(x, batch.y, statistics)
        for layer in model.stack:
            cells, _ = layer(cells, None, 8 + model.config.n_thinking_rows)
    whole = model.final_norm(cells[:, -1, model.config.n_thinking_rows :])
    assert_allclose(fast.numpy(), whole.numpy(), atol=1e-5)


def test_what_has_no_embeddings_is_told(kernel, tmp_path):
    with pytest.raises(ValueError, match="the model in memory gives no embeddings"):
        PFNClassifier(model=kernel).fit(X, Y).get_embeddings(X)
    small = random_network(SMALL)
    with pytest.raises(ValueError, match="all targets of the context are equal"):
        PFNClassifier(model=small).fit(X, np.ones(30)).get_embeddings(X)
    fitted = PFNClassifier(model=small, n_estimators=1).fit(X, Y)
    loaded = PFNClassifier.load(fitted.save(tmp_path / "classifier.safetensors"))
    assert_allclose(loaded.get_embeddings(X[:3]), fitted.get_embeddings(X[:3]))
    with pytest.raises(ValueError, match="does not hold the rows in the order of fit"):
        loaded.get_embeddings()


def test_logits_are_the_logarithms_of_the_probabilities(model):
    classifier = PFNClassifier(model=model).fit(X, Y)
    logits = classifier.predict_logits(X[:6])
    assert_allclose(softmax(logits, axis=1), classifier.predict_proba(X[:6]), rtol=1e-9)
    assert PFNClassifier(model=model).fit(X, np.ones(30)).predict_logits(X[:2]).tolist() == [
        [0.0],
        [0.0],
    ]
