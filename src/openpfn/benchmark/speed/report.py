"""The results of `openpfn benchmark speed` as a table in the terminal and as a Markdown page with
plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.benchmark.page import console, markdown, terminal
from openpfn.files import write_whole

TITLES = {
    "gemm": "Matrix products: the ceiling",
    "prior": "Drawing tasks",
    "step": "A training step",
    "stream": "Training on a stream of tasks",
    "fit": "Showing a context",
    "predict": "Reading query rows of a context shown before",
    "fit_predict": "Fit and predict",
    "first": "Fit and the first answers, by attention",
    "one_row": "One more query row, by attention",
    "state": "What is kept of the context, by attention",
    "long": "Very long contexts",
    "shipped": "Estimators as they ship",
    "text": "A training step on a table of text",
    "quality": "What equal steps are worth",
    "onnx": "torch beside onnxruntime",
}
NOTES = {
    "gemm": (
        "Products of square matrices with as many threads as the rest. Shares of peak are shares of"
        " these figures."
    ),
    "prior": (
        "One thread each. Ours keeps only tasks that can be learned; the unfiltered row draws"
        " without that check."
    ),
    "step": (
        "Forward, backward, gradient clipping and schedule-free AdamW; a peer's row is its own"
        " `train` function. A task of nano's recipe has 30 to 400 rows and 2 to 40 columns; its"
        " rows are compared with the recipe of the first weights, batches of 16 in bfloat16."
    ),
    "stream": "Share of wall time that training waits for one worker process that draws the tasks.",
    "fit": "What `fit` computes and keeps of the context. The peers compute nothing in `fit`.",
    "predict": (
        "`predict_proba` of a fitted classifier. The peers read their context anew each time."
    ),
    "fit_predict": "One table from the beginning: `fit`, then `predict_proba` of all query rows.",
    "first": (
        "nanoTabPFN's width, layers and heads, with another attention between rows: a new table and"
        " 100 query rows."
    ),
    "one_row": (
        "The network's `read`, and `predict_proba` of `PFNClassifier` with its checks. nanoTabPFN"
        " reads the table anew."
    ),
    "state": (
        "Keys and values of every context row, or sums of constant size. Ratios are against"
        " softmax."
    ),
    "long": (
        "`fit` of `PFNClassifier`, and the network's `read` for one row, which should cost the same"
        " at both lengths."
    ),
    "shipped": (
        "`PFNClassifier` with its defaults, four views. Of 10,000 rows each view of nano sees a"
        " sample of 2,048."
    ),
    "text": (
        "Forward, backward and AdamW. Loss and gradients are the same, whether every cell is"
        " encoded, each distinct string of the batch, or no string, since the vectors of the table"
        " are kept."
    ),
    "quality": (
        "Loss on 1,024 held-out tasks after training on the same tasks, another seed in each"
        " repeat."
    ),
    "onnx": (
        "The shipped nano and the files that `openpfn export onnx` writes of it, one thread each;"
        " one row after fit reads a state that is handed over with each call."
    ),
}


def add_shares(rows: Sequence[dict[str, Any]]) -> None:
    """Put into each row its ratio to its baseline, repeat by repeat, and its share of the machine's
    matrix product peak."""
    by_name = {row["name"]: row for row in rows}
    peaks: dict[str, float] = {}
    for row in rows:
        if row["group"] == "gemm" and "median" in row:
            peaks[row["precision"]] = max(peaks.get(row["precision"], 0.0), row["median"])
    for row in rows:
        if "median" not in row:
            continue
        base = by_name.get(row["baseline"] or "")
        if base is not None and base["values"]:
            row["ratio"] = ratio(row, base, "values")
            if all(row["cpu_values"]) and all(base["cpu_values"]):
                row["cpu_ratio"] = ratio(row, base, "cpu_values")
        if "gflop" in row and row["precision"] in peaks and row["unit"] == "ms":
            row["share_of_peak"] = row["gflop"] / (row["median"] / 1e3) / peaks[row["precision"]]


def ratio(row: Mapping[str, Any], base: Mapping[str, Any], values: str) -> dict[str, Any]:
    """Return how many times faster `row` is than `base`, over the repeats that both have."""
    pairs = zip(row[values], base[values], strict=False)
    ratios = [own / other if row["higher_is_better"] else other / own for own, other in pairs]
    return {
        "of": base["name"],
        "median": float(np.median(ratios)),
        "low": min(ratios),
        "high": max(ratios),
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Value, spread, ratios, share of peak and memory of a row, as words: what stands under
    `HEADINGS` but the first."""
    if "median" not in row:
        return row["status"], *[""] * (len(HEADINGS) - 2)
    share = row.get("share_of_peak")
    return (
        f"{short(row['median'])} {row['unit']}",
        f"{short(row['low'])} – {short(row['high'])}",
        times(row.get("ratio")),
        times(row.get("cpu_ratio")),
        "" if share is None else f"{share:.0%}",
        f"{row['peak_rss_mb']:.0f} MB" if row.get("peak_rss_mb") else "",
    )


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def times(found: Mapping[str, Any] | None) -> str:
    return (
        ""
        if found is None
        else f"{found['median']:.2f}× ({found['low']:.2f} – {found['high']:.2f})"
    )


HEADINGS = (
    "",
    "median",
    "quartiles",
    "faster than its peer (range)",
    "by processor time",
    "of peak",
    "peak memory",
)


def show(results: Mapping[str, Any]) -> None:
    """Print the results as tables, a group each."""
    screen = console(140)
    screen.print(describe(results), style="dim")
    for group, shapes in grouped(results["rows"]).items():
        for shape, rows in shapes.items():
            screen.print(
                terminal(
                    [HEADINGS, *([row["subject"], *cells(row)] for row in rows)],
                    f"{TITLES[group]}: {shape}",
                )
            )
            for row in rows:
                if row["note"]:
                    screen.print(f"  {row['subject']}: {row['note']}", style="dim")


def show_choices(measurements: Sequence[Any]) -> None:
    """Print the names that there are to choose from."""
    from rich.table import Table

    table = Table("group", "name", "what", "at")
    for m in measurements:
        table.add_row(m.group, m.name, m.subject, m.shape)
    console(140).print(table)


def describe(results: Mapping[str, Any]) -> str:
    """The machine and the run in one sentence."""
    machine, config = results["machine"], results["config"]
    versions = ", ".join(
        f"{name} {version}" for name, version in machine["versions"].items() if version
    )
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['capability']};"
        f" {machine['threads']} threads, load before {machine['load_before']}; {config['repeats']}"
        f" interleaved repeats of {config['seconds']:g} s; Python {machine['python']}, {versions};"
        f" {results['started'][:10]}"
    )


def grouped(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Rows by group and shape, in order."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for row in rows:
        groups.setdefault(row["group"], {}).setdefault(row["shape"], []).append(row)
    return groups


def write_page(path: Path, results: Mapping[str, Any]) -> None:
    """Write the results as Markdown to `path`, with one plot per group in a folder `speed` beside
    it."""
    from openpfn.plots.speed import save_bars

    pictures = path.parent / "speed"
    pictures.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION.format(description=describe(results), command=command(results["config"]))]
    for group, shapes in grouped(results["rows"]).items():
        parts.append(f"## {TITLES[group]}\n\n{NOTES[group]}\n")
        drawn = {shape: [row for row in rows if "median" in row] for shape, rows in shapes.items()}
        if any(drawn.values()):
            save_bars(
                pictures / f"{group}.svg", {shape: rows for shape, rows in drawn.items() if rows}
            )
            parts.append(f"![{TITLES[group]}](speed/{group}.svg)\n")
        parts += [markdown_table(shape, rows) for shape, rows in shapes.items()]
    write_whole(path, "\n".join(parts))


def markdown_table(shape: str, rows: Sequence[Mapping[str, Any]]) -> str:
    table = markdown([[shape, *HEADINGS[1:]], *([row["subject"], *cells(row)] for row in rows)])
    notes = [f"- {row['subject']}: {row['note']}" for row in rows if row["note"]]
    return "\n".join([table, *notes, ""]) if notes else table


def command(config: Mapping[str, Any]) -> str:
    """The command that gives these results again."""
    words = ["openpfn benchmark speed"]
    if config["only"]:
        words.append("--only " + " ".join(config["only"]))
    words.append(
        f"--repeats {config['repeats']} --seconds {config['seconds']:g} --threads"
        f" {config['threads']}"
    )
    words += [f"--{peer} PATH" for peer in ("nanotabpfn", "tinypfn") if config[peer]]
    return " ".join(words) + " --page docs/speed.md"


INTRODUCTION = """# Speed

{description}.

Measurements of one group and shape take turns, each in a process of its own; a ratio is taken
repeat by repeat, so that other work on the machine falls on both sides alike; where that work is
heavy, the ratio of processor times is the steadier one. Peak memory is that of the whole process,
some 300–400 MB of which are Python and PyTorch. Peers run their own code: `tabicl` from its
package, nanoTabPFN and TinyPFN from a checkout. All networks have random weights.

```console
$ {command}
```
"""
