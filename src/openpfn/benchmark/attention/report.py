"""The report of a comparison: one HTML page that says what each mechanism is worth, after equal
steps and equal time, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark import page
from openpfn.benchmark.attention.results import (
    Comparison,
    after_equal_steps,
    after_equal_time,
    length_changes,
    mean_and_error,
    summary,
)
from openpfn.benchmark.attention.tasks import TaskSource
from openpfn.benchmark.attention.worker import LOGISTIC
from openpfn.benchmark.page import Field, Line
from openpfn.files import write_whole
from openpfn.plots import attention_report as draw
from openpfn.plots.benchmark import svg

TITLES = {"auc": "ROC AUC", "log_loss": "log-loss", "train_loss": "training loss"}
CURVES = {"loss": "training loss", "eval_loss": "held-out log-loss", "eval_auc": "held-out ROC AUC"}


def write_report(results: Comparison, out: Path, failed: Mapping[str, str] | None = None) -> Path:
    """Write the report to `out`, whole or not at all, and overview.png beside it; `failed` says
    which jobs failed, and why."""
    report = Report(results, failed or {})
    write_whole(out, report.html())
    figure = report.overview()
    figure.set_facecolor("white")
    figure.savefig(out.with_name("overview.png"), dpi=150)
    return out


class Report:
    """A page about `results`, section by section."""

    def __init__(self, results: Comparison, failed: Mapping[str, str]) -> None:
        self.results, self.config, self.failed = results, results.config, failed
        self.names = results.mechanisms
        logistic = results.lengths[results.lengths["mechanism"] == LOGISTIC]
        self.logistic = (
            logistic[logistic["length"] == 1][["auc", "log_loss"]].mean() if len(logistic) else None
        )
        self.methods = [*self.names, *([LOGISTIC] if self.logistic is not None else [])]
        source = TaskSource(self.config)
        self.longest, self.n_columns = source.longest, source.max_features
        self.look = draw.mechanism_styles(self.names, None if self.logistic is None else LOGISTIC)
        self.steps = summary(after_equal_steps(results), self.names, self.config.reference)
        self.is_timed = set(self.names) <= set(results.step_seconds)

    def html(self) -> str:
        """The page."""
        sections = [("steps", "After equal steps", self._equal_steps())]
        if self.is_timed:
            sections += [
                ("time", "After equal time", self._equal_time()),
                ("cost", "What it costs", self._cost()),
            ]
        sections.append(("lengths", "Longer contexts", self._lengths()))
        if self.failed:
            sections.append(("failures", "Failures", self._failures()))
        sections.append(("protocol", "Protocol", self._protocol()))
        body = "".join(page.heading(title, anchor) + text for anchor, title, text in sections)
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        n_runs, n_asked = len(self.results.runs), len(self.config.mechanisms) * self.config.seeds
        subtitle = (
            f"{len(self.names)} mechanisms · {n_runs} of {n_asked} runs of {self.config.num_steps}"
            f" steps · {when}"
        )
        return page.page(
            "Attention between rows",
            subtitle,
            [(anchor, title) for anchor, title, _ in sections],
            body,
        )

    def overview(self) -> Any:
        """One figure of the most important panels."""
        panels = [self._training_panel("eval_auc")]
        if self.is_timed:
            panels.append(self._training_panel("eval_auc", against_time=True))
        if len(self.config.lengths) > 1:
            panels.append(self._length_panel("log_loss"))
        if len(self.results.inference):
            panels += self._inference_panels()
        return draw.curve_panels(panels, self.look, label="overview")

    def _equal_steps(self) -> str:
        leader = str(self.steps["auc"].idxmax())
        words = (
            f"After {self.config.num_steps} steps **{leader}** has the largest ROC AUC on"
            f" {self.config.held_out} held-out tasks, "
        )
        words += f"{self.steps.loc[leader, 'auc']:.4f}."
        if self.logistic is not None:
            words += f" Logistic regression, fitted to each task, has {self.logistic['auc']:.4f}."
        pieces = [page.prose(words, "lede"), self._scores(self.steps)]
        figure = draw.curve_panels(
            [self._training_panel(column) for column in CURVES], self.look, label="steps"
        )
        caption = (
            "Means over the seeds with a band of one standard error; the axes leave out the first"
            " fifth of the training."
        )
        return "".join(pieces) + page.picture(svg(figure), caption)

    def _equal_time(self) -> str:
        quickest = min(self.names, key=lambda name: self.results.step_seconds[name])
        seconds = self.config.num_steps * self.results.step_seconds[quickest]
        timed = after_equal_time(self.results)
        steps: dict[Any, float] = timed.groupby("mechanism")["steps"].mean().to_dict()
        words = (
            f"In the {_seconds(seconds)} that {quickest} needs for all its steps. "
            "The learning rate of the others has not come to its end then."
        )
        table = self._scores(
            summary(timed, self.names, self.config.reference),
            {"steps": {n: f"{steps[n]:.0f}" for n in self.names}},
        )
        figure = draw.curve_panels(
            [self._training_panel(column, against_time=True) for column in CURVES],
            self.look,
            label="time",
        )
        caption = (
            "The curves against time: steps × the time of a step, which is measured in turns, so"
            " that other work on the machine hits all alike."
        )
        return page.prose(words) + table + page.picture(svg(figure), caption)

    def _scores(
        self, table: pd.DataFrame, more: Mapping[str, Mapping[str, str]] | None = None
    ) -> str:
        more = more or {}
        reference = self.config.reference
        head = ["mechanism", *more]
        for title in TITLES.values():
            head += [title, f"− {reference}"]
        best = {
            "auc": table["auc"].max(),
            "log_loss": table["log_loss"].min(),
            "train_loss": table["train_loss"].min(),
        }
        lines = []
        facts: Any = table.to_dict("index")
        for name, row in facts.items():
            fields = [Field(str(name)), *(Field(column[name]) for column in more.values())]
            for metric in TITLES:
                fields.append(
                    Field(
                        f"{row[metric]:.4f}",
                        _error(row[f"{metric}_error"]),
                        "best" if row[metric] == best[metric] else "",
                    )
                )
                change = row.get(f"{metric}_difference", np.nan)
                is_known = name != reference and np.isfinite(change)
                fields.append(
                    Field(
                        f"{change:+.4f}" if is_known else "",
                        _error(row[f"{metric}_difference_error"]) if is_known else "",
                    )
                )
            lines.append(Line(fields))
        if self.logistic is not None:
            fields = [Field("logistic regression"), *(Field("") for _ in more)]
            for metric in TITLES:
                value = self.logistic.get(metric)
                own = (
                    ""
                    if value is None or reference not in table.index
                    else f"{value - table.loc[reference, metric]:+.4f}"
                )
                fields += [Field("" if value is None else f"{value:.4f}"), Field(own)]
            lines.append(Line(fields))
        note = (
            f"Means over {self.config.seeds} seeds ± standard error; differences are taken seed by"
            " seed. Bold is best."
        )
        return page.table(head, lines) + page.prose(note, "faint")

    def _cost(self) -> str:
        runs = self.results.runs.groupby("mechanism").mean(numeric_only=True)
        step_ms = {n: 1e3 * self.results.step_seconds[n] for n in self.names}
        memory = {n: float(runs["peak_mb"][n]) for n in self.names}
        bars = draw.cost_bars(
            {"ms per training step": step_ms, "peak MB of a training process": memory},
            self.look,
            label="cost",
        )
        lines = []
        for n in self.names:
            total = Field(_seconds(float(runs["seconds"][n])))
            fields = [
                Field(n),
                Field(f"{runs['parameters'][n]:,.0f}"),
                Field(f"{step_ms[n]:.1f} ms"),
                total,
                Field(f"{memory[n]:.0f}"),
            ]
            lines.append(Line(fields))
        head = ["mechanism", "parameters", "step", "whole run, as it went", "peak MB"]
        text = page.table(head, lines) + page.picture(
            svg(bars), "Time of a step: median of rounds in which the mechanisms take turns."
        )
        return text + (self._inference() if len(self.results.inference) else "")

    def _inference(self) -> str:
        panels = self._inference_panels()
        figure = draw.curve_panels(panels, self.look, label="inference")
        sizes = sorted(self.results.inference["n_context"].unique())
        caption = "The context is fitted once; query rows read the state that it leaves."
        pieces = [page.subheading("Inference"), page.picture(svg(figure), caption)]
        for panel in panels:
            lines = [
                Line([Field(n), *(Field(f"{v:.3g}") for v in curve[1])])
                for n, curve in panel.curves.items()
            ]
            pieces.append(
                page.folded(
                    panel.title, page.table(["context rows", *(f"{s:,.0f}" for s in sizes)], lines)
                )
            )
        return "".join(pieces)

    def _inference_panels(self) -> list[draw.Panel]:
        frame = self.results.inference
        reading = f"read {self.config.query_rows} rows, ms"
        panels = []
        for column, title, factor in (
            ("fit", "fit a context, ms", 1e3),
            ("read", reading, 1e3),
            ("state_bytes", "state, MB", 1e-6),
        ):
            curves = {}
            for n in self.names:
                own = frame[frame["mechanism"] == n].sort_values("n_context")
                values = factor * own[column].to_numpy(dtype=float)
                curves[n] = (
                    own["n_context"].to_numpy(dtype=float),
                    values,
                    np.full(len(own), np.nan),
                )
            panels.append(
                draw.Panel(title, "context rows", curves, log_x=True, log_y=True, marks=True)
            )
        return panels

    def _lengths(self) -> str:
        losses = length_changes(self.results).set_index(["mechanism", "length"])
        lengths = sorted(self.config.lengths)
        lines = []
        for n in self.methods:
            fields = [Field(n)]
            for length in lengths:
                row: Any = losses.loc[(n, length)]
                worse = length > 1 and row["change"] > 2 * np.nan_to_num(row["change_error"])
                small = "" if length == 1 else f"{row['change']:+.4f} {_error(row['change_error'])}"
                fields.append(Field(f"{row['mean']:.4f}", small, "bad" if worse else ""))
            lines.append(Line(fields))
        head = ["log-loss", *(f"{self.longest * length:,} rows" for length in lengths)]
        note = (
            f"The networks were trained with at most {self.longest} context rows. Under each value"
            " its difference to that length, with the standard error over seeds; coloured where"
            " the log-loss rises by more than two of them. The tasks and query rows are the same"
            " at every length."
        )
        text = page.table(head, lines) + page.prose(note, "faint")
        if len(lengths) < 2:
            return text
        figure = draw.curve_panels(
            [self._length_panel(metric) for metric in ("log_loss", "auc")],
            self.look,
            label="lengths",
        )
        return (
            page.picture(svg(figure), "Held-out tasks with longer contexts than were trained.")
            + text
        )

    def _length_panel(self, metric: str) -> draw.Panel:
        frame = length_changes(self.results, metric)
        own = {n: frame[frame["mechanism"] == n].sort_values("length") for n in self.methods}
        curves = {
            n: (
                self.longest * rows["length"].to_numpy(dtype=float),
                rows["mean"].to_numpy(),
                rows["error"].to_numpy(),
            )
            for n, rows in own.items()
        }
        return draw.Panel(
            f"held-out {TITLES[metric]}", "context rows", curves, log_x=True, marks=True
        )

    def _failures(self) -> str:
        lines = [
            Line([Field(name), Field(reason[:300], style="words")])
            for name, reason in self.failed.items()
        ]
        return page.table(["job", "error"], lines)

    def _protocol(self) -> str:
        config = self.config
        words = (
            f"Every run trains on the same {config.num_steps * config.batch_size:,} tasks of the"
            f" prior {config.prior} in batches of {config.batch_size}; a seed decides their order"
            " and the initial weights, alike for all mechanisms. The held-out tasks come from a"
            " part of the prior's stream that no training reaches; a task whose shortest context"
            " lacks one of its classes stays out. ROC AUC is the mean over classes of each against"
            " the rest. Every process has one thread. Fitting and reading are timed with"
            f" {self.n_columns} columns and fresh weights."
        )
        network = {k: v for k, v in vars(config.network).items() if k != "attention_type"}
        pieces = [page.prose(words)]
        for title, values in (
            ("Network", network),
            ("Tasks", vars(TaskSource(config).config)),
            ("Training", vars(config.training(0))),
        ):
            lines = [
                Line([Field(name), Field(str(value), style="words")])
                for name, value in values.items()
            ]
            pieces.append(page.folded(title, page.table(["option", "value"], lines)))
        return "".join(pieces)

    def _training_panel(self, column: str, against_time: bool = False) -> draw.Panel:
        """One of `CURVES` against steps or time, with a level line for logistic regression where it
        has a value."""
        slowest = self.config.num_steps * max(self.results.step_seconds.values(), default=0.0)
        unit, per_unit = ("minutes", 60.0) if slowest > 120 else ("seconds", 1.0)
        curves = {
            n: self._history(
                n, column, self.results.step_seconds[n] / per_unit if against_time else 1.0
            )
            for n in self.names
        }
        metric = {"eval_loss": "log_loss", "eval_auc": "auc"}.get(column)
        if self.logistic is not None and metric is not None:
            ends = np.array([0.0, max(float(x.max()) for x, _, _ in curves.values())])
            curves[LOGISTIC] = (ends, np.full(2, float(self.logistic[metric])), np.full(2, np.nan))
        return draw.Panel(CURVES[column], f"{unit} of training" if against_time else "step", curves)

    def _history(self, name: str, column: str, unit: float) -> draw.Curve:
        """Places (steps × `unit`), means over seeds and standard errors of one column of the
        histories."""
        own = [
            h.dropna(subset=[column]).set_index("step")[column]
            for (n, _), h in self.results.histories.items()
            if n == name
        ]
        wide = pd.concat(own, axis=1).dropna()
        found = np.array([mean_and_error(row) for row in wide.to_numpy(dtype=float)]).reshape(-1, 2)
        return wide.index.to_numpy(dtype=float) * unit, found[:, 0], found[:, 1]


def _error(value: float) -> str:
    return f"± {value:.4f}" if np.isfinite(value) else ""


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.1f} min"
