"""The results of a run of probes: tables in the terminal, summary.csv, maps of differences, and a
Markdown page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from openpfn.benchmark.machine import describe_machine
from openpfn.benchmark.page import TextTable, console, markdown, terminal
from openpfn.benchmark.probes.columns import KINDS
from openpfn.benchmark.probes.config import ASIDE, ProbesConfig
from openpfn.benchmark.probes.methods import BASELINES, OPTIMAL
from openpfn.benchmark.probes.results import CELL, METRIC, summary, verdicts
from openpfn.benchmark.probes.structures import STRUCTURES
from openpfn.benchmark.record import plain
from openpfn.files import replacing, write_whole
from openpfn.plots.probes import difference_map

TITLES = {"roc_auc": "ROC AUC", "r2": "R²"}
N_WORST = 12
"""Cells that the terminal and the page list as the worst."""
WORDS = {
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "extra_trees": "extra trees",
}


def write_reports(rows: pd.DataFrame, config: ProbesConfig) -> None:
    """Print the tables, and write summary.csv, a map for each method, report.md and the page."""
    found = summary(rows, config.task)
    with replacing(config.out / "summary.csv") as unfinished:
        found.to_csv(unfinished, index=False, float_format="%.6g")
    screen = console(140)
    for title, lines in tables(found, config).items():
        screen.print(terminal(lines, title))
    failed = rows[rows["status"] != "ok"]
    if len(failed):
        first = failed.iloc[0]
        screen.print(
            f"{len(failed)} measurements failed, the first one: {first['method']} on"
            f" {'/'.join(str(first[name]) for name in CELL)}: {first['error']}",
            highlight=False,
        )
    for sentence in sentences(found, config):
        screen.print(sentence, highlight=False)
    write_page(config.out / "report.md", "", "png", found, config)
    if config.page is not None:
        write_page(config.page, f"{config.page.stem}/", "svg", found, config)


def write_page(
    path: Path, folder: str, ending: str, found: pd.DataFrame, config: ProbesConfig
) -> None:
    """Write the page to `path`, and its pictures beside it, in `folder` if that is not empty."""
    metric = TITLES[METRIC[config.task]]
    parts = [
        INTRODUCTION.format(
            described=_described(),
            command=command(config),
            metric=metric,
            query=config.query,
            seeds=config.seeds,
            structures="\n".join(f"| `{n}` | {s.says} |" for n, s in STRUCTURES.items()),
        )
    ]
    parts += [f"{sentence}\n" for sentence in sentences(found, config)]
    for name in rivals(found, config.task):
        picture = f"{folder}{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.{ending}"
        draw_map(path.parent / picture, found, name, config)
        parts.append(f"![{metric} of {name} less the better baseline's]({picture})\n")
    for title, lines in tables(found, config, whole=True).items():
        parts += [f"## {title}\n", markdown(lines)]
    write_whole(path, "\n".join(parts))


def draw_map(path: Path, found: pd.DataFrame, method: str, config: ProbesConfig) -> None:
    """Write the picture of `method`'s differences: a line per structure and kind, a column per
    width and number of context rows."""
    cells = found[found["method"] == method]
    lines = [
        (structure, kind)
        for structure in STRUCTURES
        for kind in KINDS
        if ((cells["structure"] == structure) & (cells["kind"] == kind)).any()
    ]
    places = sorted({(int(r), int(w)) for r, w in zip(cells["rows"], cells["width"], strict=True)})
    values = np.full((len(lines), len(places)), np.nan)
    for cell in cells.to_dict("records"):
        where = lines.index((cell["structure"], cell["kind"]))
        values[where, places.index((cell["rows"], cell["width"]))] = cell["difference"]
    path.parent.mkdir(parents=True, exist_ok=True)
    metric = TITLES[METRIC[config.task]]
    better = " and ".join(WORDS[name] for name in BASELINES[config.task])
    difference_map(
        path,
        values,
        [f"{structure}, {kind}" for structure, kind in lines],
        places,
        f"{method}: {metric} less the better one's\nof {better}",
    )


def rivals(found: pd.DataFrame, task: str) -> list[str]:
    """The methods that are compared with the baselines."""
    return [
        str(name) for name in found["method"].unique() if name not in (*BASELINES[task], OPTIMAL)
    ]


def sentences(found: pd.DataFrame, config: ProbesConfig) -> list[str]:
    """What is to be said about each method, in one sentence."""
    return [
        f"{one['method']} is behind by more than {config.margin:g} in {one['behind']} of"
        f" {one['n_cells']} cells; mean difference {one['difference']:+.3f}."
        for one in verdicts(found, config.task, config.margin).to_dict("records")
    ]


def tables(found: pd.DataFrame, config: ProbesConfig, whole: bool = False) -> dict[str, TextTable]:
    """Tables by title: mean differences by structure, the worst cells of each method, and with
    `whole` every cell."""
    out: dict[str, TextTable] = {}
    names = rivals(found, config.task)
    metric = TITLES[METRIC[config.task]]
    if names:
        out[f"{metric} less the better baseline's, by structure"] = by_structure(found, names)
    for name in names:
        cells = found[(found["method"] == name)].dropna(subset=["difference"])
        worst = cells.sort_values("difference").head(N_WORST)
        out[f"Worst cells of {name}"] = cell_lines(found, worst, config.task)
    if whole:
        first = found[found["method"] == OPTIMAL]
        out["Every cell"] = cell_lines(found, first, config.task)
    return out


def by_structure(found: pd.DataFrame, names: list[str]) -> TextTable:
    """Mean difference of each method, over the cells of each structure and over all."""
    head = ["structure", "cells", *names]
    lines = [head]
    for structure in [*STRUCTURES, "all"]:
        cells = found if structure == "all" else found[found["structure"] == structure]
        if cells.empty:
            continue
        means = cells.groupby("method")["difference"].mean()
        n_cells = len(cells.drop_duplicates(list(CELL)))
        lines.append(
            [structure, str(n_cells), *(_signed(means.get(name, np.nan)) for name in names)]
        )
    return lines


def cell_lines(found: pd.DataFrame, chosen: pd.DataFrame, task: str) -> TextTable:
    """A line for each of the `chosen` cells: the mean of every method, ± its standard error, and
    the differences to the better baseline."""
    methods = [*rivals(found, task), *BASELINES[task], OPTIMAL]
    methods = [name for name in methods if (found["method"] == name).any()]
    compared = rivals(found, task)
    head = ["cell", *methods, *(f"{name} − baseline" for name in compared)]
    by_cell: dict[Any, dict[Any, Any]] = found.set_index([*CELL, "method"]).to_dict("index")
    lines = [head]
    for cell in chosen[list(CELL)].itertuples(index=False, name=None):
        means = [by_cell.get((*cell, name)) for name in methods]
        gaps = [by_cell.get((*cell, name)) for name in compared]
        lines.append(
            [
                "/".join(map(str, cell)),
                *("" if one is None else _mean(one["mean"], one["error"]) for one in means),
                *("" if one is None else _gap(one) for one in gaps),
            ]
        )
    return lines


def command(config: ProbesConfig) -> str:
    """The command that gives these results again."""
    usual = asdict(ProbesConfig())
    words = ["openpfn benchmark probes"]
    for field in fields(ProbesConfig):
        value = plain(getattr(config, field.name))
        counts = field.name not in ASIDE or field.name in ("cells", "methods", "seeds")
        if field.name == "methods":  # no folders of this machine
            value = [re.sub(r":.*/", ":", one) for one in value]
        if counts and value != plain(usual[field.name]):
            told = " ".join(map(_word, value)) if isinstance(value, list) else _word(value)
            words.append(f"--{field.name.replace('_', '-')} {told}")
    if config.page is not None:
        words.append(f"--page {config.page.name if config.page.is_absolute() else config.page}")
    return " ".join(words)


def _word(value: Any) -> str:
    """A value as a shell takes it."""
    text = str(value)
    return f"'{text}'" if re.search(r"[*?\s]", text) else text


def _described() -> str:
    machine: Mapping[str, Any] = describe_machine(1)
    return (
        f"{machine['processor']}, one thread a process; Python {machine['python']}, openpfn"
        f" {machine['versions']['openpfn']}"
    )


def _mean(mean: float, error: float) -> str:
    return f"{mean:.3f}" + (f" ± {error:.3f}" if np.isfinite(error) else "")


def _gap(one: Mapping[str, Any]) -> str:
    if not np.isfinite(one["difference"]):
        return ""
    error = one["difference_error"]
    return _signed(one["difference"]) + (f" ± {error:.3f}" if np.isfinite(error) else "")


def _signed(value: Any) -> str:
    return f"{value:+.3f}" if np.isfinite(value) else ""


INTRODUCTION = """# Probes

Tables whose structure is known, so that one sees what a network has not learnt to see. {described}.

```console
$ {command}
```

Each cell of the grid is a structure, a kind of columns, a number of columns and a number of context
rows, written `structure/kind/columns/rows`. It holds {seeds} tables with {query} query rows; each
draws its columns, its function and its noise anew. The target is the function, standardised, plus
normal noise of standard deviation 0.3; two classes are its two sides of a threshold near the
median. {metric} means are over the tables, with their standard error. Differences are to the better
of the two baselines of that cell, taken table by table. Logistic and ridge regression read one-hot
categories and scaled numbers; there are 300 extra trees. The optimal rule knows the function:
nobody can do better, but for chance.

| structure | the target is made of |
|---|---|
{structures}
"""
