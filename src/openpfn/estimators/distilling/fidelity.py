"""`Fidelity`: how near a distilled model is to its teacher, and what of the teacher's skill it
keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Fidelity:
    """How near a student's answers are to the teacher's on rows that it did not learn from."""

    n_rows: int
    """Rows that both were asked about."""
    explained: float
    """Share of the variance of the teacher's answers (log-odds, or standardised numbers) that the
    student's explain."""
    error: float
    """Root of the mean squared difference of these."""

    @classmethod
    def of(cls, taught: Float[np.ndarray, "N V"], answered: Float[np.ndarray, "N V"]) -> Fidelity:
        """Return how near `answered` is to what was `taught`."""
        squared = float(((answered - taught) ** 2).mean())
        variance = float(taught.var(axis=0).mean())
        explained = 1 - squared / variance if variance > 0 else 1.0
        return cls(len(taught), explained, float(np.sqrt(squared)))

    def __str__(self) -> str:
        return (
            f"explains {self.explained:.1%} of the variance of the network's answers to"
            f" {self.n_rows} other rows"
        )


@dataclass(frozen=True)
class Kept:
    """Scores of a teacher and its student on rows whose targets are known."""

    metric: str
    """ROC AUC, or R²."""
    teacher: float
    student: float
    base: float
    """Score of what knows nothing: 0.5, or 0."""

    @property
    def share(self) -> float:
        """Share of the teacher's gain over knowing nothing that the student keeps."""
        gain = self.teacher - self.base
        return (self.student - self.base) / gain if gain else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.metric} {self.student:.4f}, the network {self.teacher:.4f}:"
            f" {self.share:.1%} of the gain over {self.base:g} kept"
        )


def what_is_kept(teacher: Any, student: Any, X: Any, y: Any) -> Kept:
    """Return the scores of both on rows `X` with targets `y`.

    Raises ValueError where `y` is constant, so that there is nothing to score.
    """
    from sklearn.metrics import r2_score

    y = np.asarray(y)
    if len(np.unique(y)) < 2:
        raise ValueError("all targets are equal: give rows with at least two different ones.")
    if hasattr(teacher, "classes_"):
        return Kept("ROC AUC", _auc(y, teacher, X), _auc(y, student, X), 0.5)
    taught, learned = (float(r2_score(y, one.predict(X))) for one in (teacher, student))
    return Kept("R²", taught, learned, 0.0)


def _auc(y: np.ndarray, classifier: Any, X: Any) -> float:
    """Return the mean ROC AUC of each class of `y` against the rest."""
    from sklearn.metrics import roc_auc_score

    probabilities = classifier.predict_proba(X)
    found = [
        float(roc_auc_score(y == label, probabilities[:, place]))
        for place, label in enumerate(classifier.classes_)
        if 0 < (y == label).sum() < len(y)
    ]
    return float(np.mean(found))
