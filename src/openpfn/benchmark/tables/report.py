"""The report of a benchmark: one HTML page that says who is better, by how much, how surely, at
what cost, and where things failed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark import page
from openpfn.benchmark.metrics import LEAST_PROBABILITY, N_BINS, SMALLER_IS_BETTER
from openpfn.benchmark.page import Field, Line
from openpfn.benchmark.tables import compare, statistics
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.summary import (
    METRICS,
    TITLES,
    best_scores,
    n_tables_of,
    part,
    parts,
    summary,
)
from openpfn.files import write_whole
from openpfn.plots import benchmark as draw

TABLE_METRICS = {
    "classification": ("roc_auc", "accuracy", "log_loss"),
    "regression": ("r2", "mae", "crps"),
}
"""Metrics whose scores on each table are listed."""


def write_report(
    rows: pd.DataFrame,
    out: Path,
    *,
    baseline: pd.DataFrame | None = None,
    context: str | None = None,
) -> Path:
    """Write the report of `rows` to `out`, whole or not at all. `context` chooses the context size
    of the main tables.

    Raises ValueError when there is nothing to report.
    """
    if rows.empty:
        raise ValueError("there are no results to report. Run openpfn benchmark tables first.")
    write_whole(out, Report(rows, baseline, context).html())
    return out


class Report:
    """A page about `rows`, part by part."""

    def __init__(
        self, rows: pd.DataFrame, baseline: pd.DataFrame | None, context: str | None
    ) -> None:
        self.rows = rows.assign(label=statistics.label(rows))
        self.baseline = baseline
        self.context = context
        names = [n for n in dict.fromkeys(self.rows["label"]) if n != FLOOR]
        self.ours = _ours(self.rows)
        self.look = draw.styles([*names, FLOOR], self.ours)

    def html(self) -> str:
        """The page."""
        tasks = [
            task
            for task in METRICS
            if any(t == task and len(part(self.rows, t, c)) for t, c in parts(self.rows))
        ]
        sections = [(task, task.capitalize(), self._task(task)) for task in tasks]
        if self.baseline is not None:
            sections.append(("changes", "What changed", compare.section(self.rows, self.baseline)))
        sections.append(("failures", "Failures", self._failures()))
        sections.append(("protocol", "Protocol", self._protocol()))
        body = "".join(page.heading(title, anchor) + text for anchor, title, text in sections)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        suites = ", ".join(_short(s) for s in self.rows["suite"].unique())
        n_failed = int((self.rows["status"] != "ok").sum())
        subtitle = (
            f"Suite {suites} · {self.rows['table'].nunique()} tables · {len(self.rows)} cells,"
            f" {n_failed} failed · {when}"
        )
        return page.page(
            "OpenPFN on real tables",
            subtitle,
            [(anchor, title) for anchor, title, _ in sections],
            body,
        )

    def _task(self, task: str) -> str:
        sizes = [
            context
            for t, context in parts(self.rows)
            if t == task and len(part(self.rows, t, context))
        ]
        context = self._main_context(task, sizes)
        rows = part(self.rows, task, context)
        found = summary(self.rows, task, context)
        if not n_tables_of(found):
            return page.prose(
                "No table was measured with all methods yet: run the benchmark to its end."
            )
        values = statistics.scores(rows, METRICS[task][0]).drop(columns=FLOOR, errors="ignore")
        pieces = [
            self._lede(found, values, task, context),
            self._main_table(found, task),
            self._left_out(rows, values),
            self._ranks(found, values, task),
            self._dots(task, context),
            self._curves(task, sizes),
            self._calibration(rows, found) if task == "classification" else "",
            self._time(found, task),
            self._every_table(task, context),
        ]
        others = [size for size in sizes if size != context]
        pieces += [
            page.folded(
                f"The same table for a context of {_rows(size)}",
                self._main_table(summary(self.rows, task, size), task),
            )
            for size in others
        ]
        return "".join(pieces)

    def _main_context(self, task: str, sizes: list[str]) -> str:
        if self.context is not None:
            if self.context not in sizes:
                raise ValueError(
                    f"there are no {task} results for context {self.context!r}. Choose one of"
                    f" {', '.join(sizes)}."
                )
            return self.context
        return max(
            sizes,
            key=lambda size: (
                part(self.rows, task, size)["table"].nunique(),
                size == "150",
                sizes.index(size),
            ),
        )

    def _lede(self, found: pd.DataFrame, values: pd.DataFrame, task: str, context: str) -> str:
        main, title = METRICS[task][0], TITLES[METRICS[task][0]]
        leader = str(found.index[0])
        facts: Any = found.to_dict("index")
        words = (
            f"On {len(values)} tables with a context of {_rows(context)},"
            f" {_mark(leader, self.ours)} has the best mean rank ({facts[leader]['rank']:.2f} of"
            f" {values.shape[1]}; mean {title} {facts[leader][main]:.3f})."
        )
        p_values = (
            statistics.wilcoxon_holm(values) if len(values) > 1 and values.shape[1] > 1 else None
        )
        for name in [n for n in self.ours if n in facts and n != leader]:
            place = list(found.index).index(name) + 1
            gap = facts[name][main] - facts[leader][main]
            sure = ""
            if p_values is not None:
                p = float(np.asarray(p_values.loc[name, leader]))
                sure = (
                    f", {'a significant' if p < 0.05 else 'no significant'} difference,"
                    f" Wilcoxon–Holm p = {p:.2g}"
                )
            words += (
                f" **{name}** is {_ordinal(place)} with {facts[name][main]:.3f} ({gap:+.3f}{sure})."
            )
        return page.prose(words, "lede")

    def _main_table(self, found: pd.DataFrame, task: str) -> str:
        metrics = METRICS[task]
        if found.empty:
            return page.prose("No table was measured with all methods.")
        head = [
            "method",
            "mean rank",
            "wins",
            *(TITLES[m] for m in metrics),
            "fit",
            "predict",
            "peak MiB",
            "failed",
        ]
        best = best_scores(found, metrics)
        lines = []
        for name, row in _lines(found):
            place = (
                [Field(""), Field("")]
                if name == FLOOR
                else [Field(f"{row['rank']:.2f}"), Field(f"{row['wins']:.0%}", share=row["wins"])]
            )
            fields = [Field(name), *place]
            for m in metrics:
                spread = (
                    f"{row['low']:.3f}–{row['high']:.3f}"
                    if m == metrics[0] and np.isfinite(row["low"])
                    else ""
                )
                error = f"± {row[m + '_error']:.3f}" if np.isfinite(row[m + "_error"]) else ""
                fields.append(
                    Field(
                        f"{row[m]:.3f}",
                        f"{error}\n{spread}".strip(),
                        "best" if row[m] == best[m] else "",
                    )
                )
            fields += [
                Field(_seconds(row["fit_seconds"])),
                Field(_seconds(row["predict_seconds"])),
                Field(_whole(row["peak_mib"])),
            ]
            fields.append(Field(str(int(row["n_failed"])) if row["n_failed"] else "", style="bad"))
            lines.append(Line(fields, name in self.ours))
        note = (
            f"Means over {n_tables_of(found)} tables (each the mean of its splits) ± standard error"
            " over tables; under it the 95% bootstrap interval of the mean when families of tables"
            f" are drawn anew. Ranks and wins by {TITLES[metrics[0]]}. Bold is best. Times are"
            " medians per split, one thread, preparation of the columns included; memory is the"
            " largest growth of the process."
        )
        return page.table(head, lines) + page.prose(note, "faint")

    def _left_out(self, rows: pd.DataFrame, values: pd.DataFrame) -> str:
        missing = sorted(set(rows["table"]) - set(values.index))
        return (
            page.prose(
                f"Not yet measured with every method, left out of the means: {', '.join(missing)}.",
                "faint",
            )
            if missing
            else ""
        )

    def _ranks(self, found: pd.DataFrame, values: pd.DataFrame, task: str) -> str:
        n_tables, n_methods = values.shape
        if n_tables < 2 or n_methods < 3:
            return ""
        title = TITLES[METRICS[task][0]]
        distance = statistics.critical_difference(n_methods, n_tables)
        p = statistics.friedman(values)
        figure = draw.rank_diagram(
            {str(n): float(r) for n, r in found["rank"].dropna().items()}, distance, self.look
        )
        caption = (
            f"Mean ranks by {title}, best on the left. Methods joined by a bar do not differ"
            f" significantly (Nemenyi's test at 5%, {n_tables} tables). Friedman's test that all"
            f" methods are alike: p = {p:.2g}."
        )
        order = [str(n) for n in found.index if n != FLOOR]
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
                a in self.ours,
            )
            for a, row in _lines(pairs)
        ]
        inner = page.table(["p-value", *order], lines) + page.prose(
            f"Wilcoxon's signed-rank test of the tables' {title} for each pair, corrected by Holm's"
            " method; bold below 5%.",
            "faint",
        )
        return (
            page.subheading("Ranks")
            + page.picture(draw.svg(figure), caption)
            + page.folded("p-values of all pairs", inner)
        )

    def _dots(self, task: str, context: str) -> str:
        main = METRICS[task][0]
        rows = self.rows[(self.rows["task"] == task) & (self.rows["context"] == context)]
        wide = _by_table(rows, main)
        apart = set(rows.loc[~rows["counted"], "table"])
        order = (
            wide.drop(columns=FLOOR, errors="ignore")
            .mean(axis=1)
            .sort_values(ascending=main in SMALLER_IS_BETTER)
            .index
        )
        order = [t for t in order if t not in apart] + [t for t in order if t in apart]
        wide = wide.loc[order]
        names = [n for n in self.look if n in wide.columns and n != FLOOR]
        failed = _by_table(
            rows.assign(bad=(rows["status"] != "ok").astype(float)), "bad", fill=False
        ).reindex(wide.index)
        figure = draw.dot_plot(
            [str(t) for t in order],
            {n: wide[n].to_numpy(dtype=float) for n in names},
            {n: failed[n].fillna(0).to_numpy() > 0 for n in names},
            f"{TITLES[main]} (mean of the splits)",
            self.look,
            sum(t in apart for t in order),
        )
        caption = (
            f"Each table's {TITLES[main]}, easiest table first, context of {_rows(context)}. A"
            " hollow mark: some split failed."
        )
        if apart:
            caption += (
                " Tables below the line come with scikit-learn too and are left out of all means."
            )
        return page.subheading("Table by table") + page.picture(draw.svg(figure), caption)

    def _curves(self, task: str, sizes: list[str]) -> str:
        if len(sizes) < 2:
            return ""
        shown = ("roc_auc", "log_loss") if task == "classification" else ("r2", "crps")
        panels: dict[str, Any] = {}
        limits, n_tables = {}, 0
        for metric in shown:
            by_size = {
                size: statistics.scores(part(self.rows, task, size), metric) for size in sizes
            }
            common = sorted(set.intersection(*(set(v.index) for v in by_size.values())))
            names = [n for n in self.look if all(n in v.columns for v in by_size.values())]
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
        figure = draw.learning_curves(sizes, panels, self.look, limits)
        caption = (
            f"Means over the {n_tables} tables measured at every context size, with standard"
            " errors. Axes end where guessing the constant prediction would be; what is worse runs"
            " out of the picture."
        )
        return page.subheading("Learning curves") + page.picture(draw.svg(figure), caption)

    def _calibration(self, rows: pd.DataFrame, found: pd.DataFrame) -> str:
        bins = {
            str(n): pooled_bins(rows.loc[rows["label"] == n, "calibration"])
            for n in found.index
            if n != FLOOR
        }
        bins = {n: b for n, b in bins.items() if len(b)}
        if not bins:
            return ""
        figure = draw.calibration_panels(
            bins, {n: float(np.asarray(found.loc[n, "calibration_error"])) for n in bins}, self.look
        )
        caption = (
            "Accuracy against confidence of the chosen class, all tables and splits together in at"
            f" most {N_BINS} bins; the number is the mean calibration error of the single tables."
            " Below the diagonal a method is overconfident."
        )
        return page.subheading("Calibration") + page.picture(draw.svg(figure), caption)

    def _time(self, found: pd.DataFrame, task: str) -> str:
        main = METRICS[task][0]
        points = {
            n: (row["fit_seconds"] + row["predict_seconds"], row[main])
            for n, row in _lines(found)
            if n != FLOOR and np.isfinite(row["fit_seconds"])
        }
        if not points:
            return ""
        figure = draw.quality_against_time(
            points, f"mean {TITLES[main]}", self.look, main not in SMALLER_IS_BETTER
        )
        caption = (
            "Quality against time. The broken line joins methods that no other is both faster and"
            " better than. Tuning is not counted."
        )
        return page.subheading("Quality and time") + page.picture(draw.svg(figure), caption)

    def _every_table(self, task: str, context: str) -> str:
        rows = self.rows[(self.rows["task"] == task) & (self.rows["context"] == context)]
        facts = rows.drop_duplicates("table").set_index("table").sort_index()
        pieces = []
        for metric in TABLE_METRICS[task]:
            wide = _by_table(rows, metric).sort_index()
            best = wide.min(axis=1) if metric in SMALLER_IS_BETTER else wide.max(axis=1)
            lines = []
            for name, row in _lines(wide):
                sizes = [
                    _whole(float(facts[column][name]))
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

    def _failures(self) -> str:
        failed = self.rows[self.rows["status"] != "ok"]
        rule = (
            "A method that fails on a split is scored there as the constant prediction (class"
            " frequencies or the mean of the context rows), so that failing never pays; its row"
            " stays in the results with the error."
        )
        if failed.empty:
            return page.prose(f"None. {rule}", "faint")
        grouped = failed.assign(error=failed["error"].fillna("").astype(str)).groupby(
            ["label", "error"]
        )
        lines = [
            Line(
                [
                    Field(str(name)),
                    Field(str(len(group))),
                    Field(", ".join(sorted(set(group["table"]))), style="words"),
                    Field(str(error)[:300], style="words"),
                ]
            )
            for (name, error), group in grouped  # type: ignore[misc]
        ]
        return page.prose(rule, "faint") + page.table(["method", "cells", "tables", "error"], lines)

    def _protocol(self) -> str:
        rows = self.rows
        first = rows.iloc[0]
        words = (
            f"Each table is split {rows['split'].nunique()} times, the same way for every method"
            f" (seed {first['seed']}): stratified by class or at random, by groups where the index"
            " names them. The context has the size asked for, at most half of the rows; at most"
            f" {first['max_query']} of the other rows are the query. Everything, preparation"
            " included, is learnt from the context rows alone. Log-loss takes probabilities below"
            f" {LEAST_PROBABILITY:g} for that; the Brier score sums over classes; ROC AUC is the"
            f" mean of one class against the rest; the calibration error has {N_BINS} bins of equal"
            " mass; CRPS of a point prediction is its absolute error; MAE and CRPS are in standard"
            " deviations of the target."
        )
        newest = rows.drop_duplicates("label", keep="last").sort_values("label")
        lines = [
            Line(
                [
                    Field(r["label"]),
                    Field(r["method_version"], style="words"),
                    Field(_short_hash(r["checkpoint_sha256"]), style="words"),
                    Field(r["device"]),
                ],
                r["label"] in self.ours,
            )
            for r in newest.to_dict("records")
        ]
        versions = ", ".join(
            f"{name.replace('_', '-')} {'/'.join(sorted(set(rows[name].dropna().astype(str))))}"
            for name in ("openpfn", "python", "scikit_learn", "numpy", "torch")
        )
        return (
            page.prose(words)
            + page.table(["method", "package", "weights (sha256)", "device"], lines)
            + page.prose(versions, "faint")
        )


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


def _ours(rows: pd.DataFrame) -> list[str]:
    """Labels of methods that are checkpoints of this package."""
    is_ours = rows["method_version"].fillna("").astype(str).str.startswith("openpfn ")
    return list(dict.fromkeys(rows.loc[is_ours, "label"]))


def _limits(
    means: list[np.ndarray], floor: list[float], smaller_is_better: bool
) -> tuple[float, float]:
    """Where an axis ends: the best mean with some air on one side; on the other the worst, but not
    beyond the floor."""
    low, high = min(float(m.min()) for m in means), max(float(m.max()) for m in means)
    if floor:
        low, high = (
            (low, min(high, max(floor))) if smaller_is_better else (max(low, min(floor)), high)
        )
    air = 0.05 * max(high - low, 1e-6)
    return low - air, high + air


def _lines(frame: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    found: dict[Any, dict[Any, Any]] = frame.to_dict("index")
    return [(str(name), row) for name, row in found.items()]


def _mark(name: str, ours: list[str]) -> str:
    return f"**{name}**" if name in ours else name


def _rows(context: str) -> str:
    return "half the rows" if context == "half" else f"{context} rows"


def _seconds(value: float) -> str:
    return (
        ""
        if not np.isfinite(value)
        else f"{1000 * value:.0f} ms"
        if value < 1
        else f"{value:.1f} s"
    )


def _whole(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else ""


def _ordinal(place: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(place, f"{place}th")


def _short(suite: str) -> str:
    return suite if ":" in suite else Path(suite).name


def _short_hash(digest: Any) -> str:
    return digest[:12] if isinstance(digest, str) else ""
