"""The report of a benchmark: one HTML page that says who is better, by how much, how surely, at
what cost, and where things failed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark import page
from openpfn.benchmark.metrics import COVERAGE, LEAST_PROBABILITY, N_BINS
from openpfn.benchmark.page import Field, Line
from openpfn.benchmark.tables.methods import FLOOR
from openpfn.benchmark.tables.report import compare, sections, statistics
from openpfn.benchmark.tables.report.sections import name_and_row, whole, words_of_context
from openpfn.benchmark.tables.report.summary import (
    METRICS,
    TITLES,
    best_scores,
    n_tables_of,
    part,
    parts,
    ranked,
    summary,
)
from openpfn.files import write_whole
from openpfn.plots import benchmark as draw


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
        metrics = ranked(self.rows, task)
        values = {
            m: statistics.scores(rows, m).drop(columns=FLOOR, errors="ignore") for m in metrics
        }
        ranks = [sections.ranks(values[m], m, self.look, self.ours) for m in metrics]
        pieces = [
            *(self._lede(found, values[m], m, context, m == metrics[0]) for m in metrics),
            self._main_table(found, task),
            self._left_out(rows, values[metrics[0]]),
            page.subheading("Ranks") if any(ranks) else "",
            *ranks,
            page.subheading("Table by table"),
            *(sections.dots(self.rows, task, m, context, self.look) for m in metrics),
            sections.curves(self.rows, task, sizes, self.look),
            sections.calibration(rows, found, task, self.look),
            sections.time(found, metrics[0], self.look),
            sections.every_table(self.rows, task, context),
        ]
        others = [size for size in sizes if size != context]
        pieces += [
            page.folded(
                f"The same table for a context of {words_of_context(size)}",
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

    def _lede(
        self, found: pd.DataFrame, values: pd.DataFrame, metric: str, context: str, is_first: bool
    ) -> str:
        title, place = TITLES[metric], "rank" if is_first else f"{metric}_rank"
        facts: Any = found.sort_values(place).to_dict("index")
        leader = next(iter(facts))
        where = (
            f"On {len(values)} tables with a context of {words_of_context(context)},"
            if is_first
            else f"By {title},"
        )
        words = (
            f"{where} {_mark(leader, self.ours)} has the best mean rank"
            f" ({facts[leader][place]:.2f} of {values.shape[1]}; mean {title}"
            f" {facts[leader][metric]:.3f})."
        )
        p_values = (
            statistics.wilcoxon_holm(values) if len(values) > 1 and values.shape[1] > 1 else None
        )
        for name in [n for n in self.ours if n in values.columns and n != leader]:
            gap = facts[name][metric] - facts[leader][metric]
            sure = ""
            if p_values is not None:
                p = float(np.asarray(p_values.loc[name, leader]))
                sure = (
                    f", {'a significant' if p < 0.05 else 'no significant'} difference,"
                    f" Wilcoxon–Holm p = {p:.2g}"
                )
            words += (
                f" **{name}** is {_ordinal(list(facts).index(name) + 1)} with"
                f" {facts[name][metric]:.3f} ({gap:+.3f}{sure})."
            )
        return page.prose(words, "lede")

    def _main_table(self, found: pd.DataFrame, task: str) -> str:
        metrics = [m for m in METRICS[task] if m in found]
        if found.empty:
            return page.prose("No table was measured with all methods.")
        also_ranked = [m for m in metrics if f"{m}_rank" in found]
        head = [
            "method",
            "mean rank",
            *(f"rank by {TITLES[m].partition(' ')[0]}" for m in also_ranked),
            "wins",
            *(TITLES[m] for m in metrics),
            "fit",
            "predict",
            "peak MiB",
            "failed",
        ]
        best = best_scores(found, metrics)
        lines = []
        for name, row in name_and_row(found):
            place = [Field(f"{row[r]:.2f}") for r in ("rank", *(f"{m}_rank" for m in also_ranked))]
            place.append(Field(f"{row['wins']:.0%}", share=row["wins"]))
            if name == FLOOR:
                place = [Field("")] * len(place)
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
                Field(whole(row["peak_mib"])),
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
            " mass; CRPS comes from 100 quantiles; RMSE, MAE, CRPS and the width of intervals are"
            " in standard deviations of the target; coverage is the share of the query rows inside"
            f" the central {COVERAGE:.0%} interval."
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


def _ours(rows: pd.DataFrame) -> list[str]:
    """Labels of methods that are checkpoints of this package."""
    is_ours = rows["method_version"].fillna("").astype(str).str.startswith("openpfn ")
    return list(dict.fromkeys(rows.loc[is_ours, "label"]))


def _mark(name: str, ours: list[str]) -> str:
    return f"**{name}**" if name in ours else name


def _seconds(value: float) -> str:
    return (
        ""
        if not np.isfinite(value)
        else f"{1000 * value:.0f} ms"
        if value < 1
        else f"{value:.1f} s"
    )


def _ordinal(place: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(place, f"{place}th")


def _short(suite: str) -> str:
    return suite if ":" in suite else Path(suite).name


def _short_hash(digest: Any) -> str:
    return digest[:12] if isinstance(digest, str) else ""
