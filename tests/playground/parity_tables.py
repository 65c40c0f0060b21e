"""Tables with the probabilities that `PFNClassifier` gives their unlabelled rows, for the page to
be held against: `python tests/playground/parity_tables.py FILE`."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from openpfn import PFNClassifier

N_CONTEXT, N_QUERIES = 60, 20
TARGET = "target"


def tables() -> dict[str, pd.DataFrame]:
    """Return 20 tables with words, dates, gaps, offsets and up to 64 columns."""
    drawn = np.random.default_rng(0)
    return _real_tables() | {
        "two": synthetic(drawn, 3, 2),
        "ten": synthetic(drawn, 6, 10),
        "one-column": synthetic(drawn, 1, 3),
        "wide": synthetic(drawn, 64, 2),
        "gaps": with_gaps(drawn, synthetic(drawn, 5, 3)),
        "mostly-gaps": with_gaps(drawn, synthetic(drawn, 4, 2), share=0.7),
        "offset": synthetic(drawn, 4, 3, offset=1.7e9),
        "huge": synthetic(drawn, 4, 3, scale=1e20),
        "minute": synthetic(drawn, 4, 3, scale=1e-20),
        "constant": synthetic(drawn, 3, 2).assign(c=4.5),
        "uneven": synthetic(drawn, 4, 4, weights=(0.7, 0.2, 0.06, 0.04)),
        "words": synthetic(drawn, 3, 3).assign(
            colour=drawn.choice(["red", "green", "blue", "10", "9"], N_CONTEXT + N_QUERIES)
        ),
        "truths": synthetic(drawn, 2, 2).assign(
            isNew=drawn.choice(["True", "false"], N_CONTEXT + N_QUERIES)
        ),
        "dates": synthetic(drawn, 2, 2).assign(
            day=pd.date_range("2023-11-05 06:00", periods=N_CONTEXT + N_QUERIES, freq="13h")
            .strftime("%Y-%m-%d %H:%M:%S")
            .to_numpy()
        ),
        "steps": synthetic(drawn, 3, 3).round(0),
        "far": far_queries(synthetic(drawn, 3, 2)),
    }


def _real_tables() -> dict[str, pd.DataFrame]:
    loaders = {
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "breast-cancer": datasets.load_breast_cancer,
        "digits": datasets.load_digits,
    }
    found = {}
    for name, load in loaders.items():
        x, y = load(return_X_y=True)
        chosen = np.random.default_rng(1).permutation(len(y))[: N_CONTEXT + N_QUERIES]
        found[name] = _table(x[chosen], y[chosen])
    return found


def synthetic(
    drawn: np.random.Generator,
    n_columns: int,
    n_classes: int,
    scale: float = 1.0,
    offset: float = 0.0,
    weights: tuple[float, ...] | None = None,
) -> pd.DataFrame:
    """Return rows of classes with different means."""
    n = N_CONTEXT + N_QUERIES
    y = drawn.choice(n_classes, n, p=weights)
    y[:n_classes] = range(n_classes)
    means = drawn.normal(size=(n_classes, n_columns))
    return _table(offset + scale * (means[y] + drawn.normal(size=(n, n_columns))), y)


def with_gaps(drawn: np.random.Generator, table: pd.DataFrame, share: float = 0.2) -> pd.DataFrame:
    gone = drawn.random(table.shape) < share
    gone[:, -1] = False
    return table.mask(gone)


def far_queries(table: pd.DataFrame) -> pd.DataFrame:
    table.iloc[N_CONTEXT:, :-1] *= 1e9
    return table


def _table(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(x, columns=[f"c{j}" for j in range(x.shape[1])])
    return table.assign(**{TARGET: [f"class {label}" for label in y]})


def expected(table: pd.DataFrame) -> dict[str, object]:
    """Return the file of `table`, the target of its last rows empty, and what `tiny` says of
    them."""
    table = table[[name for name in table.columns if name != TARGET] + [TARGET]]
    text = table.assign(**{TARGET: table[TARGET].where(np.arange(len(table)) < N_CONTEXT)}).to_csv(
        index=False
    )
    rows, labels = table.drop(columns=TARGET), table[TARGET]
    classifier = PFNClassifier("tiny", n_estimators=1, columns_per_member=None)
    classifier.fit(rows.iloc[:N_CONTEXT], labels.iloc[:N_CONTEXT])
    return {
        "csv": text,
        "classes": classifier.classes_.tolist(),
        "proba": classifier.predict_proba(rows.iloc[N_CONTEXT:]).tolist(),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    found = {name: expected(table) for name, table in tables().items()}
    assert len(found) == 20, len(found)
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
