"""The demonstration's second part: how our networks predict a number, beside ridge regression and a
random forest."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.benchmark.metrics import regression_metrics

N_CONTEXT = 150
LEVELS = (np.arange(99) + 0.5) / 99
"""Levels of the quantiles that the CRPS is computed from."""
METRICS = {"rmse": "RMSE ↓", "r2": "R² ↑", "crps": "CRPS ↓", "coverage": "in 90% interval"}


def our_regressors(classifiers: Mapping[str, Any]) -> dict[str, Any]:
    """A regressor for each of our `classifiers` whose checkpoint predicts numbers, too."""
    from openpfn.estimators import PFNRegressor
    from openpfn.estimators.network import find_network

    return {
        name: PFNRegressor(one.checkpoint)
        for name, one in classifiers.items()
        if find_network(one.checkpoint, None, "auto").predicts("numbers")
    }


def other_regressors() -> dict[str, Any]:
    """The regressors to compare with."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "ridge regression": make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 20))),
        "random forest": RandomForestRegressor(100, random_state=0),
    }


def evaluate(regressors: Mapping[str, Any], n_splits: int) -> pd.DataFrame:
    """Return the scores on diabetes: a row per method and split, with `METRICS` and seconds."""
    X, y = diabetes()
    results = []
    for split in range(n_splits):
        context, query = random_split(len(y), split)
        for name, regressor in regressors.items():
            started = time.perf_counter()
            mean, quantiles = answers(regressor, X.iloc[context], y[context], X.iloc[query])
            results.append(
                {"method": name, "split": split}
                | regression_metrics(y[query], mean, LEVELS, quantiles)
                | {"seconds": time.perf_counter() - started}
            )
    return pd.DataFrame(results)


def diabetes() -> tuple[pd.DataFrame, Float[np.ndarray, " n"]]:
    """The table: ten measurements, and how far the disease went in a year."""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X, y.to_numpy(dtype=np.float64)


def random_split(n_rows: int, seed: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " q"]]:
    """Row numbers of `N_CONTEXT` context rows, and of all others."""
    order = np.random.default_rng(seed).permutation(n_rows)
    return order[:N_CONTEXT], order[N_CONTEXT:]


def answers(
    regressor: Any, X: pd.DataFrame, y: Float[np.ndarray, " n"], X_query: pd.DataFrame
) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, "Q L"]]:
    """Means and quantiles at `LEVELS`: a network's own; of others the prediction plus the quantiles
    of the errors that they make on rows they have not seen."""
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_predict

    fitted: Any = clone(regressor)
    fitted.fit(X, y)
    mean = fitted.predict(X_query)
    if hasattr(fitted, "interval"):
        return mean, fitted.predict(X_query, output="quantiles", quantiles=LEVELS)
    errors = y - cross_val_predict(regressor, X, y, cv=5)
    return mean, mean[:, None] + np.quantile(errors, LEVELS)


def result_table(results: pd.DataFrame, methods: Sequence[str], n_splits: int) -> Any:
    """Means per method; the best of each column in bold."""
    from rich import box
    from rich.table import Table

    splits = f"{n_splits} split{'s' if n_splits > 1 else ''}"
    title = f"A number: diabetes, {N_CONTEXT} context rows, mean of {splits}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("")
    for heading in (*METRICS.values(), "seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    means: Any = results.groupby("method")[[*METRICS, "seconds"]].mean().loc[list(methods)]
    best = {"rmse": means["rmse"].min(), "r2": means["r2"].max(), "crps": means["crps"].min()}
    for method, row in means.iterrows():
        cells = []
        for metric, digits in (("rmse", 1), ("r2", 3), ("crps", 1)):
            cell = f"{row[metric]:.{digits}f}"
            cells.append(f"[bold]{cell}[/]" if row[metric] == best[metric] else cell)
        table.add_row(f"  {method}", *cells, f"{row['coverage']:.0%}", f"{row['seconds']:.2f}")
    return table


def draw(regressor: Any, name: str) -> Any:
    """The figure: what `regressor` believes of the query rows of the first split, and the truth."""
    from sklearn.base import clone

    from openpfn.plots.predictive import densities, fan, figure_of_two

    X, y = diabetes()
    context, query = random_split(len(y), 0)
    fitted: Any = clone(regressor)
    believed = fitted.fit(X.iloc[context], y[context]).predict(X.iloc[query], output="distribution")
    figure, (above, below) = figure_of_two(f"What {name} believes of diabetes")
    fan(believed, truth=y[query], axes=above, y_label="disease progression")
    by_mean = np.argsort(believed.mean.numpy())
    chosen = by_mean[np.linspace(0, len(by_mean) - 1, 5).astype(int)]
    densities(believed, chosen, truth=y[query], axes=below, y_label="disease progression")
    return figure
