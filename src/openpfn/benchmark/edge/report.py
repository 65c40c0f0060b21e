"""The results of `openpfn benchmark edge` as tables in the terminal and as a Markdown page."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.benchmark.edge.config import METRICS, PEERS
from openpfn.benchmark.page import markdown, terminal
from openpfn.files import write_whole

BAR = 0.5
"""Points of accuracy that a backend may lose against f32."""


def means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the means over tables per suite and method, and for libraries the points of accuracy
    lost against f32."""
    found = []
    for suite in dict.fromkeys(row["suite"] for row in rows):
        counted = [row for row in rows if row["suite"] == suite and row["counted"]]
        for method in dict.fromkeys(row["method"] for row in counted):
            own = {row["table"]: row for row in counted if row["method"] == method}
            one = {"suite": suite, "method": method, "n_tables": len(own)}
            one |= {
                metric: float(np.nanmean([row[metric] for row in own.values()]))
                for metric in METRICS
            }
            found.append(one | lost(own, counted, method))
    return found


def lost(
    own: Mapping[str, Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], method: str
) -> dict[str, float]:
    """Return the points of accuracy that a library loses against the same network in f32: their
    mean over tables and its standard error."""
    network, _, backend = method.rpartition(" ")
    if not network or backend == "f32":
        return {}
    exact = {row["table"]: row for row in rows if row["method"] == f"{network} f32"}
    points = np.array(
        [100 * (exact[name]["accuracy"] - row["accuracy"]) for name, row in own.items()]
    )
    error = float(points.std(ddof=1) / len(points) ** 0.5) if len(points) > 1 else float("nan")
    return {"lost": float(points.mean()), "lost_error": error}


def quality_lines(suite: str, found: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return headings, then a line per method of one suite."""
    lines = [["", "accuracy", "AUC", "log-loss", "points lost against f32"]]
    for one in found:
        if one["suite"] == suite:
            loss = f"{one['lost']:+.2f} ± {one['lost_error']:.2f}" if "lost" in one else ""
            lines.append(
                [
                    one["method"],
                    f"{one['accuracy']:.4f}",
                    f"{one['roc_auc']:.4f}",
                    f"{one['log_loss']:.4f}",
                    loss,
                ]
            )
    return lines


def cost_lines(results: Mapping[str, Any]) -> list[list[str]]:
    """Return headings, then a line per library and core."""
    lines = [["", "core", "flash", "context + scratch", "stack of fit", "fit", "predict"]]
    for library in results["libraries"]:
        for core, cost in library["cores"].items():
            counts = [
                f"{cost[name]:,}"
                for name in ("text_bytes", "fit_stack", "fit_instructions", "predict_instructions")
            ]
            lines.append(
                [library["method"], core, counts[0], f"{library['ram_bytes']:,}", *counts[1:]]
            )
    return lines


def show(results: Mapping[str, Any]) -> None:
    """Print the results as tables."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 140)
    found = results["means"]
    titles = {
        f"{suite}: means of {n_tables(suite, found)} tables": quality_lines(suite, found)
        for suite in results["config"]["suite"]
    }
    costs = (
        {"bytes, and instructions for 50 rows × 5 features": cost_lines(results)}
        if results["config"]["cores"]
        else {}
    )
    for title, lines in (titles | costs).items():
        console.print(terminal(lines, title))


def write_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as a Markdown page: means over tables, none by name."""
    config, machine = results["config"], results["machine"]
    parts = [
        INTRODUCTION.format(
            **config,
            peers=", ".join(PEERS),
            date=results["started"][:10],
            python=machine["python"],
            openpfn=machine["versions"]["openpfn"],
        )
    ]
    for suite in config["suite"]:
        title = (
            "scikit-learn's tables"
            if suite == "bundled"
            else "a folder of tables"
            if Path(suite).is_dir()
            else suite
        )
        chosen = "" if config["half"] == "all" else f" of half {config['half']}"
        parts += [
            f"## On {title}\n",
            f"Means of {n_tables(suite, results['means'])} tables{chosen}.\n",
        ]
        parts.append(markdown(quality_lines(suite, results["means"])))
        n_b = n_tables(suite, results["means_of_half_b"])
        if suite != "bundled" and config["half"] == "all" and n_b:
            parts += [
                HALF_B.format(n_tables=n_b),
                markdown(quality_lines(suite, results["means_of_half_b"])),
            ]
    if config["cores"]:
        parts += ["## On the chip\n", COSTS, markdown(cost_lines(results))]
    absent = sorted({core for library in results["libraries"] for core in library["not_installed"]})
    if absent:
        parts.append(
            f"Not measured, since their toolchain was not installed: {', '.join(absent)}.\n"
        )
    write_whole(path, "\n".join(parts))


def n_tables(suite: str, found: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of tables that count in these means of `suite`."""
    return max((one["n_tables"] for one in found if one["suite"] == suite), default=0)


INTRODUCTION = """# Accuracy on a chip

What the C libraries of [microcontrollers](microcontrollers.md) answer on real tables, compiled for
the host, beside methods of scikit-learn that are small enough to be fitted on a device. Written by
`openpfn benchmark edge` on {date} with OpenPFN {openpfn} and Python {python}.

{rows} context rows, {splits} splits of each table, at most {max_query} query rows; numeric columns
alone, and of more than {max_features} those that tell the classes of the context rows apart best;
tables of at most {max_classes} classes. Every method sees the same rows and columns. The peers
({peers}) have scikit-learn's defaults, unit variance, and medians with indicators for missing
values; they compute in float64. A probability below 10⁻⁷ counts as 10⁻⁷. Points are percentage
points of accuracy, with the standard error over tables; a negative loss is a gain.
"""
HALF_B = """The {n_tables} tables of half B alone, on which nothing was chosen:
"""
COSTS = """Bytes, and instructions executed in QEMU, for 50 context rows × 5 features and 3 classes,
compiled with `-Os`; fit without the row cache.
"""
