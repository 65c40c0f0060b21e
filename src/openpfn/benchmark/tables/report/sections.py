"""Parts of the report about one task: ranks, table by table, learning curves, calibration, time,
and all scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark import page
from openpfn.benchmark.metrics import COVERAGE, N_BINS, SMALLER_IS_BETTER
from openpfn.benchmark.page import Field, Line
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.report import statistics
from openpfn.benchmark.tables.report.summary import TITLES, best_of, metrics_of, part
from openpfn.plots import benchmark as draw

TABLE_METRICS = {
    "classification": ("roc_auc", "accuracy", "log_loss"),
    "regression": ("rmse", "crps", "r2", "coverage"),
}
"""Metrics whose scores on each table are listed."""
CURVES = {"classification": ("roc_auc", "log_loss"), "regression": ("rmse", "crps")}
"""Metrics whose means are drawn against the context size."""


def ranks(
    values: pd.DataFrame,
    metric: str,
    look: dict[str, draw.Style],
    ours: list[str],
) -> str:
    """Mean ranks by `metric`, whose `values` are (tables, methods), with the critical difference
    between them, and p-values of all pairs."""
    n_tables, n_methods = values.shape
    if n_tables < 2 or n_methods < 3:
        return ""
    title = TITLES[metric]
    distance = statistics.critical_difference(n_methods, n_tables)
    p = statistics.friedman(values)
    means = statistics.ranks(values, metric).mean().sort_values()
    figure = draw.rank_diagram({str(n): float(r) for n, r in means.items()}, distance, look)
    caption = (
        f"Mean ranks by {title}, best on the left. Methods joined by a bar do not differ"
        f" significantly (Nemenyi's test at 5%, {n_tables} tables). Friedman's test that all"
        f" methods are alike: p = {p:.2g}."
    )
    order = [str(n) for n in means.index]
    pairs = statistics.wilcoxon_holm(values).loc[order, order]
    lines = [
        Line(
            [
                Field(a),
                *(
                    (
                        Field("")
                        if a == b
                        else Field(f"{row[b]:.2g}", style="best" if row[b] < 0.05 else "")
                    )
                    for b in order
                ),
            ],
            a in ours,
        )
        for a, row in name_and_row(pairs)
    ]
    inner = page.table(["p-value", *order], lines) + page.prose(
        f"Wilcoxon's signed-rank test of the tables' {title} for each pair, corrected by Holm's"
        " method; bold below 5%.",
        "faint",
    )
    return page.picture(draw.svg(figure), caption) + page.folded(
        f"p-values of all pairs by {title}", inner
    )


def dots(
    rows: pd.DataFrame, task: str, metric: str, context: str, look: dict[str, draw.Style]
) -> str:
    """The `metric` of every method on every table."""
    rows = rows[(rows["task"] == task) & (rows["context"] == context)]
    wide = _by_table(rows, metric)
    apart = set(rows.loc[~rows["counted"], "table"])
    order = (
        wide.drop(columns=FLOOR, errors="ignore")
        .mean(axis=1)
        .sort_values(ascending=metric in SMALLER_IS_BETTER)
        .index
    )
    order = [t for t in order if t not in apart] + [t for t in order if t in apart]
    wide = wide.loc[order]
    names = [n for n in look if n in wide.columns and n != FLOOR]
    failed = _by_table(
        rows.assign(bad=(rows["status"] != "ok").astype(float)), "bad", fill=False
    ).reindex(wide.index)
    figure = draw.dot_plot(
        [str(t) for t in order],
        {n: wide[n].to_numpy(dtype=float) for n in names},
        {n: failed[n].fillna(0).to_numpy() > 0 for n in names},
        f"{TITLES[metric]} (mean of the splits)",
        look,
        sum(t in apart for t in order),
    )
    caption = (
        f"Each table's {TITLES[metric]}, easiest table first, context of"
        f" {words_of_context(context)}. A hollow mark: some split failed."
    )
    if apart:
        caption += (
            " Tables below the line come with scikit-learn too and are left out of all means."
        )
    return page.picture(draw.svg(figure), caption)


def curves(rows: pd.DataFrame, task: str, sizes: list[str], look: dict[str, draw.Style]) -> str:
    """Means against the context size, over the tables that have all sizes."""
    if len(sizes) < 2:
        return ""
    shown = [m for m in CURVES[task] if m in metrics_of(rows, task)]
    panels: dict[str, Any] = {}
    limits, n_tables = {}, 0
    for metric in shown:
        by_size = {size: statistics.scores(part(rows, task, size), metric) for size in sizes}
        common = sorted(set.intersection(*(set(v.index) for v in by_size.values())))
        names = [n for n in look if all(n in v.columns for v in by_size.values())]
        n_tables = len(common)
        if not common or not names:
            return page.prose(
                "No table was measured at all context sizes: there are no learning curves.",
                "faint",
            )
        found = {
            size: statistics.mean_and_error(v.loc[common, names]) for size, v in by_size.items()
        }
        panels[TITLES[metric]] = {
            n: tuple(
                np.array([found[s].loc[n, column] for s in sizes], dtype=float)
                for column in ("mean", "error")
            )
            for n in names
            if n != FLOOR
        }
        floor = (
            [float(np.asarray(found[s].loc[FLOOR, "mean"])) for s in sizes]
            if FLOOR in names
            else []
        )
        limits[TITLES[metric]] = _limits(
            [mean for mean, _ in panels[TITLES[metric]].values()],
            floor,
            metric in SMALLER_IS_BETTER,
        )
    figure = draw.learning_curves(sizes, panels, look, limits)
    caption = (
        f"Means over the {n_tables} tables measured at every context size, with standard"
        " errors. Axes end where guessing the constant prediction would be; what is worse runs"
        " out of the picture."
    )
    return page.subheading("Learning curves") + page.picture(draw.svg(figure), caption)


def calibration(
    rows: pd.DataFrame, found: pd.DataFrame, task: str, look: dict[str, draw.Style]
) -> str:
    """Accuracy against confidence of each method; for numbers, coverage against what was asked."""
    bins = {
        str(n): pooled_bins(rows.loc[rows["label"] == n, "calibration"])
        for n in found.index
        if n != FLOOR
    }
    bins = {n: b for n, b in bins.items() if len(b)}
    if not bins:
        return ""
    of_classes = task == "classification"
    metric = "calibration_error" if of_classes else "coverage"
    figure = draw.calibration_panels(
        bins,
        {n: float(np.asarray(found.loc[n, metric])) for n in bins},
        look,
        ("confidence", "accuracy") if of_classes else ("share asked for", "share covered"),
    )
    if of_classes:
        caption = (
            "Accuracy against confidence of the chosen class, all tables and splits together in at"
            f" most {N_BINS} bins; the number is the mean calibration error of the single tables."
            " Below the diagonal a method is overconfident."
        )
    else:
        caption = (
            "Share of the query rows whose number lies in the central interval of each share of the"
            f" probability, all tables and splits together; the number is the mean coverage of"
            f" {COVERAGE:.0%} intervals on the single tables. Below the diagonal intervals are too"
            " narrow."
        )
    return page.subheading("Calibration") + page.picture(draw.svg(figure), caption)


def time(found: pd.DataFrame, main: str, look: dict[str, draw.Style]) -> str:
    """The metric `main` against the time of fitting and predicting."""
    points = {
        n: (row["fit_seconds"] + row["predict_seconds"], row[main])
        for n, row in name_and_row(found)
        if n != FLOOR and np.isfinite(row["fit_seconds"])
    }
    if not points:
        return ""
    figure = draw.quality_against_time(
        points, f"mean {TITLES[main]}", look, main not in SMALLER_IS_BETTER
    )
    caption = (
        "Quality against time. The broken line joins methods that no other is both faster and"
        " better than. Tuning is not counted."
    )
    return page.subheading("Quality and time") + page.picture(draw.svg(figure), caption)


def every_table(rows: pd.DataFrame, task: str, context: str) -> str:
    """Tables of the scores of every method on every table."""
    rows = rows[(rows["task"] == task) & (rows["context"] == context)]
    facts = rows.drop_duplicates("table").set_index("table").sort_index()
    pieces = []
    for metric in [m for m in TABLE_METRICS[task] if m in metrics_of(rows, task)]:
        wide = _by_table(rows, metric).sort_index()
        best = wide.apply(best_of, axis=1, metric=metric)
        lines = []
        for name, row in name_and_row(wide):
            sizes = [
                whole(float(facts[column][name]))
                for column in ("n_context", "n_query", "n_features")
            ]
            about = "{} + {} rows, {} columns".format(*sizes)
            fields = [
                Field(
                    f"{row[n]:.3f}" if np.isfinite(row[n]) else "",
                    style="best" if row[n] == best[name] else "",
                )
                for n in wide.columns
            ]
            lines.append(Line([Field(name, about), *fields]))
        pieces.append(
            page.folded(
                f"{TITLES[metric]} on every table",
                page.table(["table", *map(str, wide.columns)], lines),
            )
        )
    return page.subheading("All scores") + "".join(pieces)


def pooled_bins(texts: pd.Series) -> np.ndarray:
    """(confidence, accuracy, rows) of at most `N_BINS` bins of about equal mass, from the bins of
    single splits."""
    found = [
        tuple(map(float, b.split(","))) for text in texts.dropna() for b in str(text).split(";")
    ]
    if not found:
        return np.empty((0, 3))
    bins = np.array(found)
    # equal confidences first come together, so that no order among them decides
    _, place = np.unique(bins[:, 0].round(3), return_inverse=True)
    n = np.bincount(place, bins[:, 2])
    middle = (np.cumsum(n) - n / 2) / n.sum() * N_BINS
    place = np.unique(middle.astype(int), return_inverse=True)[1][place]
    n = np.bincount(place, bins[:, 2])
    return np.stack(
        [
            np.bincount(place, bins[:, 0] * bins[:, 2]) / n,
            np.bincount(place, bins[:, 1] * bins[:, 2]) / n,
            n,
        ],
        axis=1,
    )


def _by_table(rows: pd.DataFrame, metric: str, fill: bool = True) -> pd.DataFrame:
    """Means over splits, tables × methods, every table that has any."""
    rows = statistics.filled(rows, metric) if fill else rows.assign(score=rows[metric])
    return rows.pivot_table(index="table", columns="label", values="score", aggfunc="mean")


def _limits(
    means: list[np.ndarray], floor: list[float], smaller_is_better: bool
) -> tuple[float, float]:
    """Return the ends of an axis: the best mean with some air; on the other side the worst, but not
    beyond the floor."""
    low, high = min(float(m.min()) for m in means), max(float(m.max()) for m in means)
    if floor:
        low, high = (
            (low, min(high, max(floor))) if smaller_is_better else (max(low, min(floor)), high)
        )
    air = 0.05 * max(high - low, 1e-6)
    return low - air, high + air


def name_and_row(frame: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """The lines of a frame, each with the name in its index."""
    found: dict[Any, dict[Any, Any]] = frame.to_dict("index")
    return [(str(name), row) for name, row in found.items()]


def words_of_context(context: str) -> str:
    return "half the rows" if context == "half" else f"{context} rows"


def whole(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else ""
