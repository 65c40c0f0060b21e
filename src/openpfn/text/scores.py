"""`score`: AUC of classes or R² of numbers, over all rows at once."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import r2_score, roc_auc_score
from torch import Tensor

from openpfn.models.text.network import TextTableNetwork
from openpfn.text.verbalize.table import VerbalizedTable


def score(network: TextTableNetwork, outputs: Tensor, table: VerbalizedTable) -> float:
    """Return the AUC of the outputs (n, C) for the rows of `table`, each pair of classes counted
    alike, or the R² of its numbers; NaN where the rows are all alike."""
    assert table.y is not None
    if table.task == "regression":
        if len(table) < 2 or np.ptp(table.y) == 0:
            return np.nan
        return float(r2_score(table.y, network.estimate(outputs).numpy()))
    return auc(table.y, torch.softmax(outputs, dim=1).numpy())


def auc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the area under the ROC curve, the mean over pairs of the classes that occur; NaN
    where a single one does."""
    found = np.unique(labels)
    if len(found) < 2:
        return np.nan
    if probabilities.shape[1] == 2:
        return float(roc_auc_score(labels, probabilities[:, 1]))
    share = probabilities[:, found] + 1e-12
    places = np.searchsorted(found, labels)
    if len(found) == 2:
        return float(roc_auc_score(places, share[:, 1] / share.sum(axis=1)))
    share = share / share.sum(axis=1, keepdims=True)
    return float(roc_auc_score(places, share.astype(np.float64), multi_class="ovo"))
