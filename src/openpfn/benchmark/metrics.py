"""Metrics of predicted probabilities and numbers: closed formulas, each robust to small query
sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

LEAST_PROBABILITY = 1e-7
"""Log-loss takes a smaller probability for this: nothing costs more than 16.1 nats."""
N_BINS = 15
"""Bins of equal mass in the calibration error."""

Labels = Int[np.ndarray, " Q"]
Probabilities = Float[np.ndarray, "Q k"]
Numbers = Float[np.ndarray, " Q"]

CLASSIFICATION = (
    "roc_auc",
    "accuracy",
    "balanced_accuracy",
    "log_loss",
    "brier",
    "calibration_error",
)
REGRESSION = ("rmse", "crps", "mae", "r2", "coverage", "width")
SMALLER_IS_BETTER = frozenset(
    {"log_loss", "brier", "calibration_error", "rmse", "mae", "crps", "width"}
)
COVERAGE = 0.9
"""Share of the probability in the interval whose coverage and width are measured."""
INTERVALS = np.arange(1, 10) / 10
"""Shares of the probability in the intervals behind the picture of coverage."""


def classification_metrics(y: Labels, p: Probabilities) -> dict[str, float]:
    """Return all of `CLASSIFICATION` for class indices `y` and probabilities `p` of the table's
    classes."""
    chosen = p.argmax(axis=1)
    return {
        "roc_auc": roc_auc(y, p),
        "accuracy": float((chosen == y).mean()),
        "balanced_accuracy": float(np.mean([(chosen[y == c] == c).mean() for c in np.unique(y)])),
        "log_loss": float(-np.log(np.maximum(p[np.arange(len(y)), y], LEAST_PROBABILITY)).mean()),
        "brier": float(((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1).mean()),
        "calibration_error": calibration_error(p.max(axis=1), chosen == y),
    }


def regression_metrics(
    y: Numbers,
    prediction: Numbers,
    levels: Float[np.ndarray, " L"] | None = None,
    quantiles: Float[np.ndarray, "Q L"] | None = None,
) -> dict[str, float]:
    """Return all of `REGRESSION`.

    Without `quantiles` (at evenly spaced `levels`) the prediction is a point, whose CRPS is its
    absolute error and which has no interval. `coverage` is the share of `y` inside the central
    interval of the share `COVERAGE`, `width` its mean length.
    """
    error = y - prediction
    mae = float(np.abs(error).mean())
    spread = float(((y - y.mean()) ** 2).sum())
    found = {
        "rmse": float(np.sqrt((error**2).mean())),
        "crps": mae,
        "mae": mae,
        "r2": 1 - float((error**2).sum()) / spread if spread > 0 else float("nan"),
    }
    if levels is None or quantiles is None:
        return found | {"coverage": float("nan"), "width": float("nan")}
    low, high = central_interval(COVERAGE, levels, quantiles)
    return found | {
        "crps": crps_of_quantiles(y, levels, quantiles),
        "coverage": float(((low <= y) & (y <= high)).mean()),
        "width": float((high - low).mean()),
    }


def coverage_bins(
    y: Numbers, levels: Float[np.ndarray, " L"], quantiles: Float[np.ndarray, "Q L"]
) -> Float[np.ndarray, "intervals 3"]:
    """(share, coverage, rows) of the central interval of each share of `INTERVALS`."""
    ends = [central_interval(share, levels, quantiles) for share in INTERVALS]
    inside = [((low <= y) & (y <= high)).mean() for low, high in ends]
    return np.stack([INTERVALS, inside, np.full(len(ends), len(y))], axis=1)


def central_interval(
    share: float, levels: Float[np.ndarray, " L"], quantiles: Float[np.ndarray, "Q L"]
) -> tuple[Numbers, Numbers]:
    """Return the ends of the central interval that holds `share` of the probability: quantiles
    between two `levels` are interpolated."""
    low, high = (_quantile((1 + s) / 2, levels, quantiles) for s in (-share, share))
    return low, high


def _quantile(
    level: float, levels: Float[np.ndarray, " L"], quantiles: Float[np.ndarray, "Q L"]
) -> Numbers:
    place = float(np.interp(level, levels, np.arange(len(levels))))
    below = int(place)
    above = min(below + 1, len(levels) - 1)
    part = place - below
    return (1 - part) * quantiles[:, below] + part * quantiles[:, above]


def roc_auc(y: Labels, p: Probabilities) -> float:
    """Area under the ROC curve, one class against the rest, averaged over the classes that some but
    not all query rows have.

    Two classes give the ordinary area. NaN where all rows are of one class.
    """
    from scipy.stats import rankdata

    areas = []
    for c in range(p.shape[1]):
        positive = y == c
        n_positive, n_negative = int(positive.sum()), int((~positive).sum())
        if n_positive and n_negative:
            # Mann and Whitney's U: ties count half
            u = rankdata(p[:, c])[positive].sum() - n_positive * (n_positive + 1) / 2
            areas.append(u / (n_positive * n_negative))
    return float(np.mean(areas)) if areas else float("nan")


def one_vs_rest_auc(y: Any, p: Probabilities, classes: Any) -> float:
    """Return `roc_auc` for labels `y` as they are, whose column in `p` is their place in
    `classes`."""
    labels = np.asarray(y)
    indices = np.full(len(labels), -1)
    for i, c in enumerate(classes):
        indices[labels == c] = i
    return roc_auc(indices, p)


def calibration_error(confidence: Numbers, right: Bool[np.ndarray, " Q"]) -> float:
    """Mean distance between confidence and accuracy over `N_BINS` bins of equal mass, weighted by
    their rows."""
    bins = calibration_bins(confidence, right)
    return float((bins[:, 2] * np.abs(bins[:, 0] - bins[:, 1])).sum() / bins[:, 2].sum())


def calibration_bins(
    confidence: Numbers, right: Bool[np.ndarray, " Q"]
) -> Float[np.ndarray, "bins 3"]:
    """(mean confidence, accuracy, rows) of each bin, from low to high. Equal confidences share a
    bin: no row order decides."""
    edges = np.unique(np.quantile(confidence, np.arange(1, N_BINS) / N_BINS, method="inverted_cdf"))
    place = np.searchsorted(edges, confidence, side="left")
    rows = [
        (confidence[place == b].mean(), right[place == b].mean(), (place == b).sum())
        for b in np.unique(place)
    ]
    return np.array(rows, dtype=float)


def crps_of_quantiles(
    y: Numbers, levels: Float[np.ndarray, " L"], quantiles: Float[np.ndarray, "Q L"]
) -> float:
    """Continuous ranked probability score: twice the mean pinball loss over evenly spaced levels
    (Gneiting and Raftery 2007, §4.2)."""
    error = y[:, None] - quantiles
    return float(2 * np.maximum(levels * error, (levels - 1) * error).mean())
