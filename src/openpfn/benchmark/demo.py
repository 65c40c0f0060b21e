"""The demonstration: how our networks predict real tables that come with scikit-learn, beside other
classifiers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.metrics import one_vs_rest_auc
from openpfn.tables.load import load
from openpfn.tables.splits import context_size, stratified_split

TABLES = ("iris", "wine", "breast_cancer", "digits_3_8_9")
"""The tables, by their bundled names."""
MOST_CONTEXT = 150
"""Context rows of a large table."""
SHOWN = frozenset({"nano", "tiny", "micro"})
"""Shipped checkpoints that are shown where none is given."""
METRICS = {"accuracy": "accuracy", "auc": "AUC", "log_loss": "log-loss"}


def evaluate(
    classifier: Any,
    tables: Sequence[str] = TABLES,
    n_splits: int = 5,
    most_context: int = MOST_CONTEXT,
) -> pd.DataFrame:
    """Return the scores of `classifier` on bundled `tables`: a row per table and split.

    Columns: table, split, n_context, accuracy, auc (mean one-vs-rest area under the ROC curve),
    log_loss (nats) and seconds (fit and prediction). Split i is the same for every classifier.
    """
    import pandas as pd
    from sklearn.base import clone
    from sklearn.metrics import accuracy_score, log_loss

    from openpfn.tables.load import load
    from openpfn.tables.splits import context_size, stratified_split

    results = []
    for name in tables:
        table = load(name)
        for split in range(n_splits):
            context, query = stratified_split(
                table.y, context_size(len(table.y), most_context), seed=split
            )
            y_context, y_query = table.y.iloc[context], table.y.iloc[query]
            started = time.perf_counter()
            fitted: Any = clone(classifier)
            fitted.fit(table.X.iloc[context], y_context)
            probabilities = fitted.predict_proba(table.X.iloc[query])
            results.append(
                {
                    "table": name,
                    "split": split,
                    "n_context": len(context),
                    "accuracy": accuracy_score(
                        y_query, fitted.classes_[probabilities.argmax(axis=1)]
                    ),
                    "auc": one_vs_rest_auc(y_query, probabilities, fitted.classes_),
                    "log_loss": log_loss(y_query, probabilities, labels=fitted.classes_),
                    "seconds": time.perf_counter() - started,
                }
            )
    return pd.DataFrame(results)


def our_methods(checkpoints: Sequence[str]) -> dict[str, Any]:
    """A classifier per checkpoint, by name; if none is given, of the shipped ones that are
    `SHOWN`."""
    from openpfn import checkpoint
    from openpfn.estimators import PFNClassifier

    wanted = checkpoints or [name for name in checkpoint.shipped_names("tabular") if name in SHOWN]
    if not wanted:
        raise ValueError("this installation ships no checkpoint. Give one with --checkpoint PATH.")
    methods: dict[str, Any] = {}
    for source in wanted:
        path = checkpoint.locate(source)
        name = path.stem if path.stem not in ("latest", "best") else path.parent.name
        methods[f"openpfn {name}" if f"openpfn {name}" not in methods else str(source)] = (
            PFNClassifier(source)
        )
    return dict(sorted(methods.items(), key=lambda item: -n_parameters(item[1])))


def n_parameters(classifier: Any) -> int:
    """Parameters of the classifier's checkpoint."""
    from math import prod

    from openpfn import checkpoint

    return sum(map(prod, checkpoint.read_header(classifier.checkpoint).shapes.values()))


def other_methods() -> dict[str, Any]:
    """The classifiers to compare with."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "random forest": RandomForestClassifier(100, random_state=0),
        "nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
    }


def compare(methods: Mapping[str, Any], n_splits: int) -> pd.DataFrame:
    """`evaluate` for each method, in a column `method`; methods run side by side, each network on
    one thread."""
    import torch
    from joblib import Parallel, cpu_count, delayed
    from rich.progress import track

    torch.set_num_threads(
        1
    )  # threads of one small network wait for each other more than they compute
    jobs = [(name, table) for table in reversed(TABLES) for name in methods]
    work = Parallel(n_jobs=min(cpu_count(), 8), backend="threading", return_as="generator")
    found: Any = work(delayed(evaluate)(methods[name], [table], n_splits) for name, table in jobs)
    parts = track(found, "predicting", len(jobs), transient=True)
    return pd.concat(
        [part.assign(method=name) for (name, _), part in zip(jobs, parts, strict=True)],
        ignore_index=True,
    )


def result_table(results: pd.DataFrame, methods: Sequence[str], n_splits: int) -> Any:
    """Means per table and method, and over all tables; the best of each group in bold."""
    from rich import box
    from rich.table import Table

    title = (
        f"Real tables, at most {MOST_CONTEXT} context rows, mean of {n_splits}"
        f" split{'s' if n_splits > 1 else ''}"
    )
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for heading in ("accuracy ↑", "AUC ↑", "log-loss ↓", "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in (*TABLES, "mean of all"):
        of_table = results if name == "mean of all" else results[results["table"] == name]
        means: Any = of_table.groupby("method")[[*METRICS, "seconds"]].mean()
        means = means.loc[list(methods)].round(4)
        best = {
            "accuracy": means["accuracy"].max(),
            "auc": means["auc"].max(),
            "log_loss": means["log_loss"].min(),
        }
        table.add_section()
        table.add_row(f"[bold cyan]{name.replace('_', ' ')}[/]")
        for method, row in means.iterrows():
            cells = [
                f"[bold]{row[m]:.4f}[/]" if row[m] == best[m] else f"{row[m]:.4f}" for m in METRICS
            ]
            table.add_row(f"  {method}", *cells, f"{row['seconds']:.2f}")
    return table


def footnote(name: str, classifier: Any) -> str:
    """Return which tables have more columns than the tasks that the classifier's checkpoint was
    trained on."""
    from openpfn.estimators.network import find_network

    most = find_network(classifier.checkpoint, None, "cpu").max_columns
    wider = [
        table.replace("_", " ")
        for table in TABLES
        if most is not None and load(table).X.shape[1] > most
    ]
    return (
        f"{name} was trained on at most {most} columns: {', '.join(wider)} has more\n"
        if wider
        else ""
    )


def draw(results: pd.DataFrame, methods: Mapping[str, Any], ours: set[str]) -> Any:
    """The figure: beliefs of each method over two columns of wine, and its scores."""
    from sklearn.base import clone

    from openpfn.plots.demo import Method, Plane, demo_figure

    wine, columns = load("wine"), ["alcohol", "flavanoids"]
    rows, _ = stratified_split(wine.y, context_size(len(wine.y)), seed=0)
    points, y = wine.X[columns].to_numpy()[rows], wine.y.to_numpy()[rows]
    low, high = points.min(axis=0), points.max(axis=0)
    low, high = low - 0.08 * (high - low), high + 0.08 * (high - low)
    n = 60
    grid = np.stack(np.meshgrid(*np.linspace(low, high, n).T), axis=-1).reshape(-1, 2)
    drawn = []
    for name, classifier in methods.items():
        fitted: Any = clone(classifier)
        beliefs = fitted.fit(points, y).predict_proba(grid).reshape(n, n, -1)
        of_method = results[results["method"] == name]
        scores = {
            m: (
                of_method.pivot_table(values=m, index="table", columns="split")
                .loc[list(TABLES)]
                .to_numpy()
            )
            for m in METRICS
        }
        drawn.append(Method(name, name in ours, scores, beliefs))
    extent = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    plane = Plane(
        "wine", (columns[0], columns[1]), extent, points, np.unique(y, return_inverse=True)[1]
    )
    arrows = {
        "accuracy": "accuracy →",
        "auc": "AUC, one class against the rest →",
        "log_loss": "← log-loss (nats)",
    }
    return demo_figure(drawn, TABLES, arrows, plane)
