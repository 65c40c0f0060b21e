"""Embeddings of rows: what the last layer of a network hands to its head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from openpfn.estimators.views.ensemble import context_rows
from openpfn.models.modes import in_evaluation


def query_embeddings(estimator: Any, X: Any) -> Float[np.ndarray, "V Q E"]:
    """Return the embedding of each row of `X` in each of the estimator's V views."""
    table = estimator._table(X, reset=False)
    context = _context_of(estimator, "embedded")
    found: dict[int, list[np.ndarray]] = {}
    rows = estimator.read_rows(table)
    for group, _, _, vectors in context.answers(rows, "embedded"):
        for view, part in zip(group, vectors.numpy(), strict=True):
            found.setdefault(id(view), []).append(part)
    views = [view for group, _ in context.views_and_states() for view in group]
    parts = {_place(context, view): np.concatenate(found[id(view)]) for view in views}
    return np.stack([parts[i] for i in range(len(views))])


def context_embeddings(estimator: Any) -> Float[np.ndarray, "V n E"]:
    """Return the embedding of each row of the context in each of the estimator's V views, in the
    order of `fit`."""
    context = _context_of(estimator, "embedded_context")
    order = getattr(context, "order", None)
    if context.rows is None or order is None:
        raise ValueError(
            f"this {type(estimator).__name__} was loaded from a file, which does not hold the rows"
            " in the order of fit. Give the rows as X, or fit it again."
        )
    if any(context_rows(member, context.targets) is not None for member in context.members):
        raise ValueError(
            "each view sees some of the context's rows, so they have no embeddings in all views."
            " Give the rows as X, or set rows_per_member=None."
        )
    network, parts = context.ready_network(), {}
    for group, _ in context.views_and_states():
        rows = np.stack([view(context.rows) for view in group])
        targets = np.stack([context.shown(view, context.targets) for view in group])
        batch = context.batch(rows, targets, group, targets.shape[1], network.device.type)
        with in_evaluation(network.model), torch.inference_mode():
            vectors = network.model.embedded_context(batch.to(network.device)).float().cpu().numpy()
        for view, part in zip(group, vectors, strict=True):
            parts[_place(context, view)] = part
    canonical = np.stack([parts[i] for i in range(len(parts))])  # (V, n, E)
    embeddings = np.empty_like(canonical)
    embeddings[:, order] = canonical
    return embeddings


def _context_of(estimator: Any, method: str) -> Any:
    context = estimator.context_
    if context is None:
        raise ValueError(
            "all targets of the context are equal, so no network was asked and there are no"
            " embeddings. Fit rows of at least two different targets."
        )
    network = context.ready_network()
    if not hasattr(network.model, method):
        raise ValueError(
            f"{network} gives no embeddings: it has no method {method}. Use a network of"
            " TabularConfig, such as a shipped checkpoint."
        )
    return context


def _place(context: Any, view: Any) -> int:
    return context.members.index(view.member)
