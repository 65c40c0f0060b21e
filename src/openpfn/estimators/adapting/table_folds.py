"""`fine_tuned`: the network of an estimator fine-tuned to folds of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from openpfn.configs.fine_tuning import FineTuneOptions
from openpfn.estimators.adapting.fine_tuning import FineTuned, fine_tune
from openpfn.estimators.adapting.fold_training import Fold
from openpfn.estimators.network import Network
from openpfn.estimators.views.canonical import folds
from openpfn.estimators.views.encoded_rows import EncodedRows
from openpfn.estimators.views.ensemble import Member

MEMBERS_THAT_JUDGE = 2
"""Members whose answers to held-out rows decide on fine-tuning: more cost time and tell little."""


def fine_tuned(
    estimator: Any,
    network: Network,
    members: list[Member],
    rows: EncodedRows,
    targets: Int[np.ndarray, " n"] | Float[np.ndarray, " n"],
    options: FineTuneOptions,
) -> FineTuned:
    """Return `network` fine-tuned to encoded `rows` in canonical order, as `estimator` shows them.

    What is learnt of the target beside the network (statistics, scores of texts) is learnt for each
    fold anew. Raises ValueError for more classes than the network tells apart.
    """
    n_classes = estimator._n_classes or 0
    if n_classes > network.max_classes:
        raise ValueError(
            f"fine_tune is asked for, but y has {n_classes} classes and the network tells"
            f" {network.max_classes} apart. Leave it out, or merge rare classes."
        )
    table_folds = []
    judging = members if estimator.calibrate else members[:MEMBERS_THAT_JUDGE]
    for inside, outside in folds(len(rows), options.n_folds):
        known = targets[inside]
        added, shown, categorical = estimator._shown_context(network, rows[inside], known)
        seen, judges = (
            estimator._planned(some, network, shown, known, categorical, added.n_always)[0]
            for some in (members, judging)
        )
        query = estimator._shown(rows[outside], added)
        table_folds.append(Fold(shown, known, categorical, outside, query, seen, judges))
    return fine_tune(estimator, network, table_folds, targets, options, estimator.seed_)
