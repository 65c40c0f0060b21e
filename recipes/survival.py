"""Survival in discrete time: how long until something happens, where some rows were only watched
for a while.

Time is cut into intervals; each row becomes one row per interval that it lived through, and a
classifier learns whether the event came in it (the hazard; Tutz & Schmid 2016). Rows that were not
watched to the end say nothing of later intervals, which is all that censoring means here.

python recipes/survival.py
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

INTERVAL = "interval"
"""Column that holds the number of the interval."""


class DiscreteSurvival:
    """Chances of living on, interval by interval, from any classifier's probabilities."""

    def __init__(self, classifier: Any, n_intervals: int = 8) -> None:
        self.classifier, self.n_intervals = classifier, n_intervals

    def fit(
        self, X: pd.DataFrame, time: Float[np.ndarray, " n"], event: Bool[np.ndarray, " n"]
    ) -> DiscreteSurvival:
        """Learn from rows `X`: the `time` each was watched, and whether it ended with the event."""
        if not event.any():
            raise ValueError("no row ended with the event: there is nothing to learn from.")
        shares = np.arange(1, self.n_intervals) / self.n_intervals
        inner = np.quantile(time[event], shares, method="higher")  # times of events
        self.ends = np.unique([*inner, time.max()])
        last = np.searchsorted(self.ends, time)  # the interval in which watching ended
        # one that was left early within its last interval did not live through it
        lived = np.where(event, last + 1, last + (time >= self.ends[last]))
        rows = np.repeat(np.arange(len(X)), lived)
        interval = np.arange(len(rows)) - np.repeat(np.cumsum(lived) - lived, lived)
        happened = event[rows] & (interval == last[rows])
        self.classifier.fit(X.iloc[rows].assign(**{INTERVAL: interval.astype(float)}), happened)
        return self

    def predict_survival(self, X: pd.DataFrame) -> Float[np.ndarray, "Q K"]:
        """Return the chance that each row of `X` lives beyond each of `ends`."""
        n = len(self.ends)
        interval = np.tile(np.arange(n, dtype=float), len(X))
        asked = X.iloc[np.repeat(np.arange(len(X)), n)].assign(**{INTERVAL: interval})
        hazard = self.classifier.predict_proba(asked)[:, -1].reshape(len(X), n)
        return np.cumprod(1 - hazard, axis=1)


def concordance(
    risk: Float[np.ndarray, " n"], time: Float[np.ndarray, " n"], event: Bool[np.ndarray, " n"]
) -> float:
    """Return how often, of two rows, the one whose event came first had the higher risk."""
    earlier = (time[:, None] < time) & event[:, None]
    higher, equal = risk[:, None] > risk, risk[:, None] == risk
    return float((higher + 0.5 * equal)[earlier].mean())


def drawn_patients(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Return drawn patients: columns, times, and whether the event came before the end of study."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame(
        {"age": random.uniform(30, 80, n), "treatment": random.choice(["old", "new"], n)}
    )
    risk = 0.06 * (X["age"] - 55) - 1.2 * (X["treatment"] == "new")
    time = random.exponential(10 / np.exp(risk.to_numpy()))
    watched = random.uniform(2, 25, n)
    return X, np.minimum(time, watched), time <= watched


def main() -> None:
    """Fit on drawn patients, and tell how well others are ranked."""
    from openpfn import PFNClassifier

    X, time, event = drawn_patients(300)
    model = DiscreteSurvival(PFNClassifier(), n_intervals=5).fit(X[:150], time[:150], event[:150])
    curves = model.predict_survival(X[150:])
    print("chance to live beyond", np.round(model.ends, 1).tolist())
    print(pd.DataFrame(curves[:3].round(2)).to_string(header=False))
    risk = -curves.mean(axis=1)
    print(f"concordance {concordance(risk, time[150:], event[150:]):.3f}")


if __name__ == "__main__":
    main()
