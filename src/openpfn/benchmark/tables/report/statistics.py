"""From rows to statements: scores by table and method, ranks, win rates, intervals and tests."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from openpfn.benchmark.metrics import SMALLER_IS_BETTER

IN_TARGET_UNITS = frozenset({"rmse", "mae", "crps", "width"})
"""Metrics that are divided by the target's standard deviation, so that tables can be averaged."""
N_RESAMPLES = 5000
"""Bootstrap samples behind an interval."""
TIE = 1e-9
"""Scores closer than this are equal."""


def label(rows: pd.DataFrame) -> pd.Series:
    """Return a name for the method of each row; tuned ones carry their budget."""
    tuned = rows["tuned"].fillna("0").astype(str)
    return (
        rows["method"]
        .astype(str)
        .where(tuned == "0", rows["method"].astype(str) + " (tuned " + tuned + " s)")
    )


def filled(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """`rows` with a column `score`, and `label`; what failed scores as the constant prediction on
    the same split (or worst of all there).

    A score that does not exist for the split itself (the ROC AUC of a single class) stays missing
    for all methods.
    """
    rows = rows.assign(
        label=label(rows),
        score=rows[metric] / (rows["target_std"] if metric in IN_TARGET_UNITS else 1.0),
    )
    where = ["table", "context", "split"]
    floor = rows[(rows["method"] == "constant") & (rows["status"] == "ok")].set_index(where)[
        "score"
    ]
    failed = rows["status"] != "ok"
    if failed.any():
        at = pd.MultiIndex.from_frame(rows.loc[failed, where])
        worst = (
            rows[~failed]
            .groupby(where)["score"]
            .agg("max" if metric in SMALLER_IS_BETTER else "min")
        )
        rows.loc[failed, "score"] = floor.reindex(at).fillna(worst.reindex(at)).to_numpy()
    return rows


def scores(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean `metric` over splits: one row per table, one column per method. `rows` are of one task
    and context size.

    Tables on which some method was not run (rather than failed) are left out: all methods are
    averaged over the same tables.
    """
    rows = filled(rows, metric)
    wide = rows.pivot_table(index="table", columns="label", values="score", aggfunc="mean")
    return wide.dropna()


def mean_and_error(values: pd.DataFrame) -> pd.DataFrame:
    """Columns `mean` and `error` (standard error over tables) of each method."""
    n = len(values)
    error = values.std(ddof=1) / np.sqrt(n) if n > 1 else values.iloc[0] * np.nan if n else np.nan
    return pd.DataFrame({"mean": values.mean(), "error": error})


def bootstrap_interval(
    values: pd.DataFrame, families: pd.Series, coverage: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Columns `low` and `high`: percentile interval of each method's mean when families of tables
    are drawn anew.

    Tables of one family come together, since they say nearly the same. `families` is indexed by
    table.
    """
    random = np.random.default_rng(seed)
    of_table = pd.factorize(families.reindex(values.index))[0]
    n_families = of_table.max() + 1 if len(of_table) else 0
    if n_families < 2:
        return pd.DataFrame({"low": np.nan, "high": np.nan}, index=values.columns)
    member = np.eye(n_families)[of_table]  # (tables, families)
    times = random.multinomial(
        n_families, np.full(n_families, 1 / n_families), size=N_RESAMPLES
    )  # (resamples, families)
    sums, counts = times @ (member.T @ values.to_numpy()), times @ member.sum(axis=0)
    means = sums / counts[:, None]
    tail = (1 - coverage) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return pd.DataFrame({"low": low, "high": high}, index=values.columns)


def ranks(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Rank of each method on each table: 1 is best, ties share."""
    return values.round(9).rank(axis=1, ascending=metric in SMALLER_IS_BETTER, method="average")


def win_rates(values: pd.DataFrame, metric: str) -> pd.Series:
    """Share of the comparisons (table, other method) that each method wins; ties count half."""
    ahead = _ahead(values, metric)
    n = values.shape[1]
    return ahead.sum(axis=1) / (n - 1) if n > 1 else ahead.sum(axis=1) * np.nan


def _ahead(values: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Share of the tables on which the row's method beats the column's; 0 on the diagonal."""
    signed = -values if metric in SMALLER_IS_BETTER else values
    out = pd.DataFrame(0.0, index=values.columns, columns=values.columns)
    for a, b in itertools.permutations(values.columns, 2):
        difference = signed[a] - signed[b]
        out.loc[a, b] = float(np.mean(np.where(difference.abs() <= TIE, 0.5, difference > 0)))
    return out


def friedman(values: pd.DataFrame) -> float:
    """p-value of Friedman's test that all methods rank alike; NaN with fewer than 3 methods or 2
    tables."""
    from scipy.stats import friedmanchisquare

    if values.shape[1] < 3 or len(values) < 2:
        return float("nan")
    return float(friedmanchisquare(*values.to_numpy().T).pvalue)


def critical_difference(n_methods: int, n_tables: int, level: float = 0.05) -> float:
    """Mean ranks farther apart than this differ significantly: Nemenyi's test (Demšar 2006, eq. in
    §3.2.2)."""
    from scipy.stats import studentized_range

    q = studentized_range.ppf(1 - level, n_methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(n_methods * (n_methods + 1) / (6 * n_tables)))


def wilcoxon_holm(values: pd.DataFrame) -> pd.DataFrame:
    """p-values (methods, methods) of Wilcoxon's signed-rank test for each pair, corrected by Holm's
    method for all pairs.

    Two methods that are equal on every table get 1.
    """
    from scipy.stats import wilcoxon

    pairs = list(itertools.combinations(values.columns, 2))
    raw = []
    for a, b in pairs:
        difference = (values[a] - values[b]).round(9)
        raw.append(float(wilcoxon(difference).pvalue) if (difference != 0).any() else 1.0)
    out = pd.DataFrame(1.0, index=values.columns, columns=values.columns)
    for (a, b), p in zip(pairs, holm(raw), strict=True):
        out.loc[a, b] = out.loc[b, a] = p
    return out


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction: reject where the corrected value is below the level, and the
    family-wise error is bounded by it."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()
