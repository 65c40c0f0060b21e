"""Quality of predicted probabilities, also where the query rows lack some of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float


def one_vs_rest_auc(y: Any, probabilities: Float[np.ndarray, "Q k"], classes: Any) -> float:
    """Return the mean over classes of the area under the ROC curve of each against the rest.

    NaN if all rows have one class.

    Classes that no row or every row of `y` has are left out.
    """
    from sklearn.metrics import roc_auc_score

    y = np.asarray(y)
    areas = [
        roc_auc_score(y == c, probabilities[:, i])
        for i, c in enumerate(classes)
        if 0 < (y == c).sum() < len(y)
    ]
    return float(np.mean(areas)) if areas else float("nan")
