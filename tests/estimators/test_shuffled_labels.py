"""A shipped network learns from its context: with the context's labels permuted it knows no more
than how common the classes are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.benchmark.metrics import roc_auc
from openpfn.scm.noise import Noise
from openpfn.scm.stacked import with_scores

N_TABLES, N_CONTEXT, N_QUERY, WIDTH = 48, 60, 80, 4
SHARE = 0.3
"""Share of the rows that are of class 1."""


def tables() -> TaskBatch:
    """Tables whose class is a noisy linear function of their columns."""
    generator = torch.Generator().manual_seed(0)
    n_rows = N_CONTEXT + N_QUERY
    x = torch.randn(N_TABLES, n_rows, WIDTH, generator=generator)
    weight = torch.randn(N_TABLES, WIDTH, 1, generator=generator)
    score = (x @ (weight / weight.norm(dim=1, keepdim=True))).squeeze(2)
    score = score + 0.3 * torch.randn(score.shape, generator=generator)
    y = (score > torch.quantile(score, 1 - SHARE, dim=1, keepdim=True)).float()
    return TaskBatch(
        x,
        y,
        N_CONTEXT,
        torch.full((N_TABLES,), WIDTH),
        torch.full((N_TABLES,), 2),
        torch.zeros(N_TABLES, WIDTH, dtype=torch.bool),
    )


def permuted(batch: TaskBatch) -> TaskBatch:
    """The same tables, the labels of each context in random order."""
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(N_TABLES, N_CONTEXT, generator=generator).argsort(1)
    y = batch.y.clone()
    y[:, :N_CONTEXT] = y[:, :N_CONTEXT].gather(1, order)
    return TaskBatch(batch.x, y, N_CONTEXT, batch.n_features, batch.n_classes, batch.categorical)


def scores(model, batch: TaskBatch) -> tuple[np.ndarray, float]:
    """ROC AUC of each table, and the mean log-loss."""
    with torch.inference_mode():
        p = model.predictive(batch).probs[..., :2].double().numpy()
    y = batch.y_query.long().numpy()
    areas = [
        roc_auc(labels, one / one.sum(1, keepdims=True)) for labels, one in zip(y, p, strict=True)
    ]
    return np.array(areas), float(-np.log(np.take_along_axis(p, y[..., None], axis=2)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("stacking", [False, True], ids=["plain", "stacked"])
@pytest.mark.parametrize(("name", "least_area"), [("micro", 0.68), ("tiny", 0.9), ("nano", 0.9)])
def test_with_permuted_labels_a_shipped_network_falls_to_the_base_rate(
    name: str, least_area: float, stacking: bool
) -> None:
    def shown(batch: TaskBatch) -> TaskBatch:
        noise = Noise(torch.Generator().manual_seed(2))
        return with_scores(batch, 1.0, noise) if stacking else batch

    model = checkpoint.load(name).model.eval()
    entropy = -SHARE * math.log(SHARE) - (1 - SHARE) * math.log(1 - SHARE)
    areas, loss = scores(model, shown(tables()))
    assert areas.mean() > least_area
    assert loss < entropy - 0.05
    areas, loss = scores(model, shown(permuted(tables())))
    error = areas.std(ddof=1) / math.sqrt(N_TABLES)
    assert abs(areas.mean() - 0.5) < 3.5 * error
    assert error < 0.05
    assert entropy - 0.01 < loss < entropy + 0.2
