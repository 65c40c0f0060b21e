"""`with_scores`: tasks whose tables hold what simple models say of the target, as estimators show
them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.scm.noise import Noise
from openpfn.tables.stacking.scores import FEWEST_ROWS, StackedScores


def with_scores(batch: TaskBatch, share: float, noise: Noise) -> TaskBatch:
    """Return the tasks of `batch`; a `share` of them, chosen at random, has stacked scores as
    further columns at random places: out of fold for context rows, those of the whole context for
    query rows. `latents` say which, as `has_scores`. Too few context rows have none.
    """
    chosen = noise.flags(share, batch.n_tasks) & (batch.n_train >= FEWEST_ROWS)
    assert batch.x is not None
    assert batch.n_features is not None
    assert batch.categorical is not None
    added = {int(b): _scores(batch, int(b)) for b in chosen.nonzero().squeeze(1)}
    counts = batch.n_features.tolist()
    widths = [n + (added[b].shape[1] if b in added else 0) for b, n in enumerate(counts)]
    x = batch.x.new_zeros(*batch.y.shape, max(widths))
    categorical = batch.categorical.new_zeros(batch.n_tasks, max(widths))
    for b, (n, width) in enumerate(zip(counts, widths, strict=True)):
        places = torch.arange(width, device=x.device)
        if b in added:
            places = noise.order(width)
            x[b][:, places[n:]] = added[b].to(x)
        x[b][:, places[:n]] = batch.x[b, :, :n]
        categorical[b, places[:n]] = batch.categorical[b, :n]
    return replace(
        batch,
        x=x,
        categorical=categorical,
        n_features=torch.tensor(widths).to(batch.n_features),
        latents={**batch.latents, "has_scores": chosen},
    )


def _scores(batch: TaskBatch, task: int) -> Float[Tensor, "N S"]:
    assert batch.x is not None
    assert batch.n_features is not None
    assert batch.categorical is not None
    n = int(batch.n_features[task])
    rows = batch.x[task, :, :n].double().cpu().numpy()
    is_code = batch.categorical[task, :n].cpu().numpy()
    y = batch.y_context[task].double().cpu().numpy()
    targets = y[:, None]
    if batch.n_classes is not None and batch.n_classes[task] > 2:
        targets = (targets == np.arange(int(batch.n_classes[task]))).astype(float)
    scores, own = StackedScores.fit(rows[: batch.n_train], is_code, targets)
    return torch.from_numpy(np.concatenate([own, scores(rows[batch.n_train :])]))
