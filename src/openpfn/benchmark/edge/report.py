"""The results of `openpfn benchmark edge` as tables in the terminal, a report in HTML, and a
Markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openpfn.benchmark.edge.config import METRICS
from openpfn.benchmark.edge.off_chip import CODE_BYTES, LEAF_BYTES, MOST_TREES, SHARES, WIDEST
from openpfn.benchmark.edge.on_chip import CONSTANTS
from openpfn.benchmark.edge.results import FEW, points, verdicts, with_few_rows
from openpfn.benchmark.page import (
    Field,
    Line,
    TextTable,
    console,
    heading,
    markdown,
    page,
    picture,
    prose,
    subheading,
    table,
    terminal,
)
from openpfn.benchmark.record import in_one_sentence
from openpfn.files import write_whole
from openpfn.plots.benchmark import styles, svg
from openpfn.plots.edge import pareto

TITLES = {
    "log_loss": "Log-loss",
    "accuracy": "Accuracy",
    "calibration_error": "Calibration error",
    "roc_auc": "AUC",
}
LEAGUES = {"network": "", "A": "A", "B": "B"}


def metric_lines(found: Sequence[Mapping[str, Any]], suite: str, metric: str) -> TextTable:
    """Return headings, then a line per method: its mean of `metric` by number of context rows, and
    over those up to `FEW`."""
    own = [one for one in found if one["suite"] == suite]
    sizes = sorted({one["rows"] for one in own})
    few = with_few_rows(found, suite, metric)
    lines = [["", "league", *(f"{n} rows" for n in sizes), *([f"≤ {FEW}"] if few else [])]]
    for method in dict.fromkeys(one["method"] for one in own):
        by_size = {one["rows"]: one for one in own if one["method"] == method}
        cells = [f"{by_size[n][metric]:.4f}" if n in by_size else "" for n in sizes]
        league = LEAGUES[next(iter(by_size.values()))["league"]]
        few_cell = [f"{few[method]:.4f}"] if method in few else [""] if few else []
        lines.append([method, league, *cells, *few_cell])
    return lines


def lost_lines(found: Sequence[Mapping[str, Any]], suite: str) -> TextTable:
    """Return headings, then a line per library in 8 bits: the points of accuracy that it loses
    against f32."""
    own = [one for one in found if one["suite"] == suite and "lost" in one]
    sizes = sorted({one["rows"] for one in own})
    lines = [["", *(f"{n} rows" for n in sizes)]]
    for method in dict.fromkeys(one["method"] for one in own):
        by_size = {one["rows"]: one for one in own if one["method"] == method}
        cells = [
            f"{by_size[n]['lost']:+.2f} ± {by_size[n]['lost_error']:.2f}" if n in by_size else ""
            for n in sizes
        ]
        lines.append([method, *cells])
    return lines


def cost_lines(results: Mapping[str, Any]) -> TextTable:
    """Return headings, then a line per method and core."""
    lines = [["", "league", "core", "flash", "memory", "stack of fit", "fit", "predict"]]
    for one in results["methods"]:
        for core, cost in one["cores"].items():
            elsewhere = one["league"] == "B"
            counts = [f"{cost[name]:,}" for name in ("flash", "ram", "stack", "fit", "predict")]
            if elsewhere:
                counts[2:4] = ["", "on a computer"]
            lines.append([one["method"], LEAGUES[one["league"]], core, *counts])
    return lines


def show(results: Mapping[str, Any]) -> None:
    """Print the results as tables."""
    screen, found = console(140), results["means"]
    for suite in results["config"]["suite"]:
        for metric in METRICS[:3]:
            title = f"{suite}: {TITLES[metric].lower()}, means of {count_words(suite, found)}"
            screen.print(terminal(metric_lines(found, suite, metric), title))
        for sentence in verdicts(found, suite):
            screen.print(sentence, highlight=False)
    if any(one["cores"] for one in results["methods"]):
        title = "bytes, and instructions for 50 rows × 5 features and 3 classes"
        screen.print(terminal(cost_lines(results), title))
    if results["not_installed"]:
        screen.print(f"not installed, left out: {', '.join(results['not_installed'])}")


def count_words(suite: str, found: Sequence[Mapping[str, Any]]) -> str:
    """Return how many tables count in the means of `suite`, by number of context rows where they
    differ."""
    counts = {one["rows"]: one["n_tables"] for one in found if one["suite"] == suite}
    if len(set(counts.values())) <= 1:
        return f"{max(counts.values(), default=0)} tables"
    by_size = ", ".join(f"{n} with {rows} rows" for rows, n in sorted(counts.items()))
    return f"tables: {by_size}"


def suite_title(suite: str) -> str:
    """Return the words for a suite, without a path of this machine."""
    if suite == "bundled":
        return "scikit-learn's tables"
    return "a folder of tables" if Path(suite).is_dir() else suite


def pictures(results: Mapping[str, Any], suite: str) -> dict[str, str]:
    """Return the Pareto picture of each measured core, as SVG."""
    names = [one["method"] for one in results["methods"]]
    ours = [one["method"] for one in results["methods"] if one["league"] == "network"]
    cores = dict.fromkeys(core for one in results["methods"] for core in one["cores"])
    drawn = {}
    for core in cores:
        found = points(results, suite, core)
        if found:
            axis_names = (
                f"bytes on {core}: flash and memory",
                f"instructions of a prediction on {core}",
                f"mean log-loss, at most {FEW} context rows",
            )
            drawn[core] = svg(pareto(found, axis_names, styles(names, ours)))
    return drawn


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as one page of HTML that loads nothing."""
    found, parts, links = results["means"], [], []
    ours = {one["method"] for one in results["methods"] if one["league"] == "network"}
    for number, suite in enumerate(results["config"]["suite"]):
        title, anchor = f"On {suite_title(suite)}", f"suite-{number}"
        links.append((anchor, title))
        parts += [heading(title, anchor), prose(f"Means of {count_words(suite, found)}.")]
        parts += [prose(sentence) for sentence in verdicts(found, suite)]
        for core, drawn in pictures(results, suite).items():
            parts.append(picture(drawn, f"Quality against costs on {core}. {CAPTION}"))
        for metric in METRICS:
            parts += [subheading(TITLES[metric]), html(metric_lines(found, suite, metric), ours)]
        if len(lost_lines(found, suite)) > 1:
            parts += [subheading(LOST), html(lost_lines(found, suite), ours)]
    links.append(("costs", "On the chip"))
    parts += [heading("On the chip", "costs"), prose(COSTS), html(cost_lines(results), ours)]
    parts += [heading("How", "how"), prose(protocol(results)), prose(leagues(results))]
    links.append(("how", "How"))
    title = "Accuracy on a chip"
    write_whole(path, page(title, in_one_sentence(results), links, "".join(parts)))


def html(lines: TextTable, ours: set[str]) -> str:
    """Return a table whose lines of networks are highlighted."""
    head, *body = lines
    return table(head, [Line([Field(cell) for cell in line], line[0] in ours) for line in body])


def write_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as a Markdown page, and its pictures into a folder of its name beside it:
    means over tables, none by name."""
    machine, found = results["machine"], results["means"]
    parts = [
        INTRODUCTION.format(
            date=results["started"][:10],
            python=machine["python"],
            openpfn=machine["versions"]["openpfn"],
        ),
        protocol(results) + "\n",
        leagues(results) + "\n",
    ]
    for number, suite in enumerate(results["config"]["suite"]):
        half = results["config"]["half"]
        chosen = "" if half == "all" else f" of half {half}"
        parts += [f"## On {suite_title(suite)}\n"]
        parts += [f"Means of {count_words(suite, found)}{chosen}.\n"]
        parts += [f"{sentence}\n" for sentence in verdicts(found, suite)]
        for metric in METRICS:
            parts += [f"### {TITLES[metric]}\n", markdown(metric_lines(found, suite, metric))]
        if len(lost_lines(found, suite)) > 1:
            parts += [f"### {LOST}\n", markdown(lost_lines(found, suite))]
        for core, drawn in pictures(results, suite).items():
            name = f"{path.stem}/{core}{f'-{number}' if number else ''}.svg"
            (path.parent / path.stem).mkdir(parents=True, exist_ok=True)
            write_whole(path.parent / name, standalone(drawn))
            parts.append(f"![Log-loss against bytes and instructions on {core}]({name})\n")
        parts.append(CAPTION + "\n")
    parts += ["## On the chip\n", COSTS + "\n", markdown(cost_lines(results))]
    if results["not_installed"]:
        absent = ", ".join(results["not_installed"])
        parts.append(f"Not measured, since what they need was not installed: {absent}.\n")
    write_whole(path, "\n".join(parts))


def standalone(drawn: str) -> str:
    """Return an inline SVG as a file of its own, in a grey that is read on light and dark."""
    start = drawn.replace("<svg", '<svg style="color:#6b7178"', 1)
    has_name = "xmlns=" in start.partition(">")[0]
    return start if has_name else start.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')


def protocol(results: Mapping[str, Any]) -> str:
    """Return what every method sees."""
    config = results["config"]
    sizes = ", ".join(map(str, config["rows"]))
    return (
        f"{sizes} context rows, {config['splits']} splits of each table, at most"
        f" {config['max_query']} query rows; numeric columns alone, and of more than"
        f" {config['max_features']} those that tell the classes of the context rows apart best;"
        f" tables of at most {config['max_classes']} classes. Every method sees the same rows and"
        " columns. A probability below 10⁻⁷ counts as 10⁻⁷. The calibration error compares"
        " confidence and accuracy in 15 bins of equal mass."
    )


def leagues(results: Mapping[str, Any]) -> str:
    """Return what the leagues are, and how the sizes of league B are searched."""
    names = [one["method"] for one in results["methods"]]
    constants = "; ".join(f"{name}: {said}" for name, said in CONSTANTS.items() if name in names)
    allowed = [one["allowed_bytes"] for one in results["methods"] if "allowed_bytes" in one]
    shares = ", ".join(f"{share:g}" for share in SHARES)
    matched = results["methods"][0]["method"].rpartition(" ")[0]
    backend = "int8" if results["config"]["precision_bytes"] == 1 else "f32"
    first = (
        f"Networks are C libraries, compiled for the host. League A is fitted on the chip, in C of"
        f" the same style ({constants}). "
    )
    if not allowed:
        return first.rstrip()
    return first + (
        "League B is trained on a computer on the same rows, and takes no more bytes than the"
        f" flash and memory of {matched} {backend} on a Cortex-M4F: {allowed[0]:,}. Of the shares"
        f" {shares} of these bytes, each method takes the one with the least log-loss over three"
        f" folds of the context rows: so many of {MOST_TREES['emlearn_forest']} trees (as emlearn"
        f" writes them: {LEAF_BYTES['emlearn_forest']} bytes a leaf), of"
        f" {MOST_TREES['xgboost']} rounds of XGBoost ({LEAF_BYTES['xgboost']} bytes a leaf), or"
        f" hidden units of an MLP, at most {WIDEST}, with"
        f" {results['config']['precision_bytes']}-byte weights; and"
        f" {', '.join(f'{n:,}' for n in CODE_BYTES.values())} bytes of code."
    )


CAPTION = (
    "The line joins the methods that no other one beats in both. Costs are those of 50 context rows"
    " × 5 features and 3 classes."
)
LOST = "Points of accuracy lost against f32"
COSTS = (
    "Bytes, and instructions executed in QEMU, for 50 context rows × 5 features and 3 classes,"
    " compiled with -Os; fit without the row cache. Memory is static: what is kept of the context"
    " rows, and scratch memory. Of league B, models of the chosen size for these rows."
)
INTRODUCTION = """# Accuracy on a chip

What the C libraries of [microcontrollers](microcontrollers.md) answer on real tables, beside
methods that fit on the same chip and methods of equal bytes that are trained on a computer. Written
by `openpfn benchmark edge` on {date} with OpenPFN {openpfn} and Python {python}.
"""
