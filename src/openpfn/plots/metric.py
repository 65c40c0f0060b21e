"""`plot_metric`: one figure of the histories of several runs, by the name of what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter

from openpfn.plots.history import COLORS, FAINT, tidied

MORE_COLORS = (*COLORS, "#2a9187", "#b09015", "#7466c4")
Curve = tuple[Float[np.ndarray, "_"], Float[np.ndarray, "_"]]
"""x in ascending order, and y."""
Histories = Mapping[str, "pd.DataFrame | Sequence[pd.DataFrame]"]

MOST_LABELS = 9
"""Labels that find room along an axis."""

STEP = ("step", "steps")
SECONDS = ("seconds", "cumulative time", "cumulative_time", "time")
TRAIN_LOSS = ("loss", "train loss", "train_loss")
AREA = ("eval_auc", "ROC AUC", "roc_auc", "auc")
HELD_OUT_LOSS = ("eval_loss", "held_out_log_loss", "log_loss")
MEMORY = ("peak_megabytes", "peak memory", "peak_memory")
ROWS = ("rows", "context_rows", "n_train")
"""What a column may be called: first here, then in the histories of nanoTabPFN's attention
experiments."""


@dataclass(frozen=True)
class Kind:
    """What a figure shows."""

    x: tuple[str, ...] | None
    """Names of the column along the horizontal axis; None draws one bar per name, of the last (or
    largest) value."""
    y: tuple[str, ...]
    """Names of the column along the vertical axis."""
    x_label: str
    """Label of the horizontal axis."""
    y_label: str
    """What the column counts, and its unit."""
    logarithmic: bool = False
    """Whether both axes are logarithmic."""


KINDS = {
    "train loss vs time": Kind(SECONDS, TRAIN_LOSS, "seconds of training", "training loss in nats"),
    "train loss vs step": Kind(STEP, TRAIN_LOSS, "step", "training loss in nats"),
    "ROC vs time": Kind(SECONDS, AREA, "seconds of training", "ROC AUC of the evaluations"),
    "ROC vs step": Kind(STEP, AREA, "step", "ROC AUC of the evaluations"),
    "eval loss vs time": Kind(
        SECONDS, HELD_OUT_LOSS, "seconds of training", "loss of the evaluations in nats"
    ),
    "eval loss vs step": Kind(STEP, HELD_OUT_LOSS, "step", "loss of the evaluations in nats"),
    "training time": Kind(None, SECONDS, "", "seconds of training"),
    "peak memory": Kind(None, MEMORY, "", "peak memory in MB"),
    "inference time": Kind(ROWS, SECONDS, "context rows", "seconds to predict", logarithmic=True),
}


def plot_metric(kind: str, histories: Histories, axes: Axes | None = None) -> Axes:
    """Return the axes with one curve (or bar) for each name in `histories`.

    `kind` is one of `KINDS`: "train loss vs time", "train loss vs step", "ROC vs time", "ROC vs
    step", "eval loss vs time", "eval loss vs step", "training time", "peak memory", "inference
    time". A history is `model.history`, a run's history.csv, or a table with the columns "step",
    "train loss", "cumulative time" (seconds) and "ROC AUC" of nanoTabPFN's attention experiments;
    "peak memory" needs the column peak_megabytes, which `train` records, "inference time" the
    columns rows and seconds. Of a
    list of histories (one per seed) the mean is drawn, with a band of one standard error; runs
    whose rows fall on other steps or times are interpolated over the range that all of them cover.
    Without `axes`, a new pyplot figure is begun.

    Raises ValueError, with the choices, for an unknown kind and for a history without the column it
    needs.

    >>> axes = plot_metric(
    ...     "train loss vs time", {"softmax": pd.DataFrame({"seconds": [1, 2], "loss": [0.9, 0.5]})}
    ... )
    >>> axes.get_ylabel()
    'training loss in nats'
    """
    shown = _kind(kind)
    runs = {
        name: [found] if isinstance(found, pd.DataFrame) else list(found)
        for name, found in histories.items()
    }
    if not runs or not all(runs.values()):
        raise ValueError(
            "there is no history to draw. Give {name: DataFrame} or {name: [DataFrame, …]}."
        )
    data = {
        name: [_read(shown, table, name, kind) for table in tables] for name, tables in runs.items()
    }
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(figsize=(6.4, 4.2), dpi=120, layout="constrained")[1]
    assert axes is not None
    if shown.x is None:
        _bars(axes, {name: [float(np.max(y)) for _, y in found] for name, found in data.items()})
    else:
        for i, (name, found) in enumerate(data.items()):
            _curve(axes, found, name, i)
        axes.legend(frameon=False, fontsize=9)
    if shown.logarithmic:
        _logarithmic(axes, np.concatenate([x for found in data.values() for x, _ in found]))
    labels = (shown.y_label, "") if shown.x is None else (shown.x_label, shown.y_label)
    axes.set_xlabel(labels[0], color=FAINT, fontsize=9)
    axes.set_ylabel(labels[1], color=FAINT, fontsize=9)
    axes.set_title(kind, loc="left", fontsize=10)
    axes.set_axisbelow(True)
    return tidied(axes)


def mean_curve(
    runs: Sequence[Curve],
) -> tuple[Float[np.ndarray, " g"], Float[np.ndarray, " g"], Float[np.ndarray, " g"]]:
    """Where, mean, and standard error of several curves.

    Curves on the same x are averaged there; others are interpolated at the x of the one with most
    rows that all cover.
    """
    if all(len(x) == len(runs[0][0]) and np.array_equal(x, runs[0][0]) for x, _ in runs):
        where, values = runs[0][0], np.stack([y for _, y in runs])
    else:
        low, high = max(x[0] for x, _ in runs), min(x[-1] for x, _ in runs)
        densest = max((x for x, _ in runs), key=len)
        where = (
            np.unique(np.concatenate([[low], densest[(densest > low) & (densest < high)], [high]]))
            if low < high
            else np.array([low])
        )
        values = np.stack([np.interp(where, x, y) for x, y in runs])
    error = (
        values.std(axis=0, ddof=1) / np.sqrt(len(values))
        if len(values) > 1
        else np.zeros(len(where))
    )
    return where, values.mean(axis=0), error


def _kind(name: str) -> Kind:
    known = {key.lower(): kind for key, kind in KINDS.items()}
    if name.lower() not in known:
        raise ValueError(
            f"unknown kind of figure {name!r}. Choose one of {', '.join(map(repr, KINDS))}."
        )
    return known[name.lower()]


def _read(kind: Kind, table: pd.DataFrame, name: str, shown: str) -> Curve:
    """Return the rows that have both values, in ascending order of the first."""
    y = _column(table, kind.y, name, shown)
    x = np.arange(len(y), dtype=float) if kind.x is None else _column(table, kind.x, name, shown)
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise ValueError(
            f"the history of {name} has no value to draw in {shown!r}. Was the run evaluated"
            " (eval_every)?"
        )
    order = np.argsort(x[known], kind="stable")
    return x[known][order], y[known][order]


def _column(
    table: pd.DataFrame, choices: tuple[str, ...], name: str, shown: str
) -> Float[np.ndarray, " rows"]:
    known = {str(column).lower(): column for column in table.columns}
    for choice in choices:
        if choice.lower() in known:
            return table[known[choice.lower()]].to_numpy(dtype=float)
    raise ValueError(
        f"{shown!r} needs a column {' or '.join(map(repr, choices))}, but the history of {name} has"
        f" {', '.join(map(str, table.columns))}."
    )


def _curve(axes: Axes, runs: list[Curve], name: str, index: int) -> None:
    x, mean, error = mean_curve(runs)
    color, line = (
        MORE_COLORS[index % len(MORE_COLORS)],
        ("-", "--", ":")[index // len(MORE_COLORS) % 3],
    )
    axes.plot(
        x,
        mean,
        color=color,
        linestyle=line,
        linewidth=1.6,
        label=name,
        marker="o" if len(x) < 30 else None,
        markersize=3,
    )
    if len(runs) > 1:
        axes.fill_between(x, mean - error, mean + error, color=color, alpha=0.2, linewidth=0)


def _logarithmic(axes: Axes, x: Float[np.ndarray, " n"]) -> None:
    """Make both axes logarithmic, with labels that leave each other room: horizontally at the
    measured values, vertically at 1, 2 and 5 times powers of ten, or at the powers alone."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    values = np.unique(x)
    room = max(float(np.log(values[-1] / values[0])), 1e-9) / MOST_LABELS
    labelled = [values[0]]
    for value in values[1:]:
        if np.log(value / labelled[-1]) >= room:
            labelled.append(value)
    low, high = axes.get_ylim()
    steps = (1.0, 2.0, 5.0) if np.log10(high / low) < 3 else (1.0,)
    axes.xaxis.set_major_locator(FixedLocator([float(value) for value in labelled]))
    axes.yaxis.set_major_locator(LogLocator(subs=steps, numticks=MOST_LABELS))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())


def _bars(axes: Axes, values: Mapping[str, list[float]]) -> None:
    means = [float(np.mean(v)) for v in values.values()]
    errors = [
        float(np.std(v, ddof=1) / np.sqrt(len(v))) if len(v) > 1 else 0.0 for v in values.values()
    ]
    bars = axes.barh(
        list(values),
        means,
        xerr=errors if any(errors) else None,
        height=0.6,
        color=COLORS[1],
        ecolor=FAINT,
    )
    axes.bar_label(bars, [f"{mean:,.3g}" for mean in means], padding=4, fontsize=8, color=FAINT)
    axes.margins(x=0.12)
    axes.invert_yaxis()
