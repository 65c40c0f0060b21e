"""A pool that goes part by part through memory answers as one that stands there whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from openpfn.bayes.exact import StreamedMixture, TaskPool, pool
from openpfn.heads import GaussianMixture

N_TASKS, N_ROWS, N_POOL = 3, 6, 40


def numbers(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y, TASKS = (
    numbers(N_TASKS, N_ROWS, 2, seed=0),
    numbers(N_TASKS, N_ROWS, seed=1),
    numbers(N_POOL, 2, seed=2),
)
WEIGHTS = numbers(N_POOL, seed=3)
WEIGHTS[:9] = -torch.inf  # a whole part without weight


def in_parts(monkeypatch, n_numbers: int) -> None:
    for name in ("LARGEST_WHOLE", "LARGEST_PART"):
        monkeypatch.setattr(pool, name, n_numbers)


def whole_and_parts(monkeypatch, ask) -> tuple[Any, Any]:
    whole = ask()
    in_parts(monkeypatch, 7 * N_TASKS * N_ROWS)  # parts of 7 tasks, the last of 5
    return whole, ask()


@pytest.mark.slow
@pytest.mark.parametrize("log_weights", [None, WEIGHTS, WEIGHTS.flip(0)])
@pytest.mark.parametrize("way", ["prefixes", "predictive"])
def test_every_answer_is_that_of_the_whole(monkeypatch, log_weights, way):
    model = TaskPool(TASKS, 0.04, log_weights=log_weights)
    asked = (X, Y) if way == "prefixes" else (X[:, :2], Y[:, :2], X)
    whole, parts = whole_and_parts(monkeypatch, lambda: getattr(model, way)(*asked))
    assert isinstance(whole, GaussianMixture)
    assert isinstance(parts, StreamedMixture)
    assert parts.shape == whole.shape == (N_TASKS, N_ROWS)
    for name in ("mean", "variance", "std", "median"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), atol=1e-9, rtol=0)
    for name in ("log_prob", "cdf"):
        for y in (Y, Y + 3, -8.0):
            torch.testing.assert_close(
                getattr(parts, name)(y), getattr(whole, name)(y), atol=1e-9, rtol=1e-9
            )
    torch.testing.assert_close(
        parts.quantile([0.01, 0.5, 0.99]), whole.quantile([0.01, 0.5, 0.99]), atol=1e-9, rtol=0
    )
    assert (
        whole.log_prob(whole.mode) - whole.log_prob(parts.mode)
    ).max() < 0.04  # at most a quarter of σ away


@pytest.mark.slow
@pytest.mark.parametrize("noise_variance", [0.04, 1e-12])
def test_entropy_and_score_are_those_of_the_whole(monkeypatch, noise_variance):
    model = TaskPool(TASKS, noise_variance)
    whole, parts = whole_and_parts(monkeypatch, lambda: model.predictive(X[:, :0], Y[:, :0], X))
    assert isinstance(parts, StreamedMixture)
    monkeypatch.setattr("openpfn.bayes.exact.streamed.NUMBERS_IN_MEMORY", 4 * N_POOL)
    torch.testing.assert_close(parts.entropy(), whole.entropy(), atol=1e-9, rtol=0)
    for y in (Y, 0.3, numbers(5, 1, 1, seed=4)):
        torch.testing.assert_close(parts.crps(y), whole.crps(y), atol=1e-9, rtol=0)


@pytest.mark.slow
def test_draws_have_the_mean_and_the_variance(monkeypatch):
    many = X[:1, :1].expand(2000, 2, 2)
    in_parts(monkeypatch, 10 * 4000)
    parts = TaskPool(TASKS, 0.04).predictive(X[:1, :0], Y[:1, :0], many.reshape(1, 4000, 2))
    drawn = parts.sample(torch.Generator().manual_seed(0))
    assert abs(drawn.mean() - parts.mean[0, 0]) < 4 * (parts.variance[0, 0] / 4000).sqrt()
    assert abs(drawn.var() / parts.variance[0, 0] - 1) < 0.1


@pytest.mark.parametrize("family", ["bernoulli", "categorical"])
def test_classes_and_posteriors_are_those_of_the_whole(monkeypatch, family):
    tasks = TASKS if family == "bernoulli" else numbers(N_POOL, 2, 3, seed=5)
    model, labels = TaskPool(tasks, family=family), (Y > 0).double()
    whole, parts = whole_and_parts(monkeypatch, lambda: model.prefixes(X, labels))
    torch.testing.assert_close(parts.probs, whole.probs, atol=1e-12, rtol=0)
    first = model.posterior(X, labels).logits
    monkeypatch.undo()
    torch.testing.assert_close(first, model.posterior(X, labels).logits, atol=1e-12, rtol=0)


def test_memory_does_not_grow_with_the_pool(monkeypatch):
    model = TaskPool(numbers(2000, 2, seed=7), 0.1)
    in_parts(monkeypatch, 10 * N_TASKS * N_ROWS)
    answer: Any = model.prefixes(X, Y)
    sizes = [log_weights.shape[-1] for log_weights, _ in answer.parts()]
    assert set(sizes) == {10}
    assert sum(sizes) == 2000


def test_arrays_are_rows():
    model = TaskPool(TASKS.numpy(), 0.04)
    expected = TaskPool(TASKS, 0.04).predictive(X, Y, X).mean
    assert torch.equal(model.predictive(X.numpy(), Y.numpy(), X.numpy()).mean, expected)
