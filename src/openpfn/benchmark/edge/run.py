"""Measure C libraries on real tables and on emulated chips, beside methods that fit on a device and
methods of equal bytes that are trained on a computer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.benchmark.edge.config import METRICS, EdgeConfig
from openpfn.benchmark.edge.methods import Method, build, not_installed, peers_of
from openpfn.benchmark.edge.report import show, write_page, write_report
from openpfn.benchmark.edge.results import means
from openpfn.benchmark.metrics import classification_metrics
from openpfn.benchmark.record import earlier_rows, new_record, write_json
from openpfn.benchmark.tables.splitting import split
from openpfn.benchmark.tables.suites import Entry, LoadedTable, choose, load_table
from openpfn.export.verification.targets import TARGETS, find_target
from openpfn.tables.schema import read_column, to_numbers

OF_CELLS = ("suite", "rows", "cores", "out", "page")
"""Options that say which cells are measured and what is told of them, not how."""
Cell = tuple[str, Entry, LoadedTable, int]
"""A suite, one of its tables, and a number of context rows."""


def run(config: EdgeConfig) -> dict[str, Any]:
    """Measure, write `config.out` after each cell, and at the end the report (and the page); print
    the tables, and return the results as they stand in the file.

    Raises ValueError or FileNotFoundError for unknown checkpoints, suites, peers or cores, before
    anything is measured.
    """
    for core in config.cores:
        if core not in TARGETS:
            find_target(core)  # tells the choices
    peers_of(config)
    cells = [cell for suite in config.suite for cell in fitting_cells(suite, config)]
    began = time.perf_counter()
    results = new_record(config, threads=1)
    wanted = {(suite, entry.name, rows) for suite, entry, _, rows in cells}
    results["rows"] = earlier_rows(config.out, results["config"], OF_CELLS)
    known = {cell_of(row) for row in results["rows"]}
    with tempfile.TemporaryDirectory() as place:
        methods, results["methods"] = build(config, Path(place))
        results["not_installed"] = not_installed(config)
        for number, (suite, entry, table, rows) in enumerate(cells, start=1):
            if (suite, entry.name, rows) in known:
                continue
            print(f"{number} of {len(cells)}: {entry.name}, {rows} context rows", flush=True)
            results["rows"] += measured_cell((suite, entry, table, rows), methods, config)
            results["seconds"] = round(time.perf_counter() - began, 1)
            write_json(config.out, results)
    results["means"] = means([row for row in results["rows"] if cell_of(row) in wanted])
    write_json(config.out, results)
    show(results)
    write_report(config.out.with_suffix(".html"), results)
    if config.page is not None:
        write_page(config.page, results)
    return results


def cell_of(row: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return suite, table and context rows of a row of the results."""
    return row["suite"], row["table"], row["rows"]


def fitting_cells(suite: str, config: EdgeConfig) -> list[Cell]:
    """Return the tables of `suite` with numeric columns and few enough classes, with each number of
    context rows for which they have enough rows. Raises ValueError where none is left."""
    protocol = config.protocol(suite, config.rows[0])
    found = [(entry, load_table(suite, entry.name)) for entry in choose(suite, protocol)]
    small = [(entry, numeric(t)) for entry, t in found if t.n_classes <= config.max_classes]
    cells = [
        (suite, entry, table, rows)
        for entry, table in small
        for rows in config.rows
        if table.X.shape[1] and 3 * rows <= 2 * len(table.y)
    ]
    if not cells:
        raise ValueError(
            f"no table of {suite} has numeric columns, at most {config.max_classes} classes and"
            f" {3 * min(config.rows) // 2} rows. Raise max_classes, or lower rows."
        )
    return cells


def numeric(table: LoadedTable) -> LoadedTable:
    """Return the table with its numeric columns alone."""
    kept = [
        c
        for c in table.X.columns
        if (table.kinds.get(c) or read_column(table.X[c]).kind) == "numeric"
    ]
    X = pd.DataFrame({c: to_numbers(table.X[c]) for c in kept}, index=table.X.index)
    return replace(table, X=X, kinds=dict.fromkeys(kept, "numeric"))


def measured_cell(
    cell: Cell, methods: Mapping[str, Method], config: EdgeConfig
) -> list[dict[str, Any]]:
    """Return a row for each method: its metrics, averaged over the splits. All see the same rows
    and columns, and the columns are chosen on the context rows."""
    suite, entry, table, rows = cell
    scores: dict[str, list[list[float]]] = {name: [] for name in methods}
    for number in range(config.splits):
        context, query = split(table, rows, number, config.protocol(suite, rows))
        shown = table.X.to_numpy()[context]
        columns = informative(shown, table.y[context], config.max_features)
        asked, labels = table.X.to_numpy()[query][:, columns], table.y[context]
        for name, method in methods.items():
            seed = config.seed + number
            p = method.answer(shown[:, columns], labels, asked, table.n_classes, seed)
            found = classification_metrics(table.y[query], p)
            scores[name].append([found[metric] for metric in METRICS])
    return [
        {
            "suite": suite,
            "table": entry.name,
            "rows": rows,
            "half": entry.half,
            "counted": entry.counted or suite == "bundled",
            "method": name,
            "league": methods[name].league,
        }
        | dict(zip(METRICS, map(float, np.nanmean(found, axis=0)), strict=True))
        for name, found in scores.items()
    ]


def informative(
    x: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], most: int
) -> Int[np.ndarray, " d"]:
    """Return the columns, in order, whose class means differ most in units of the spread within
    classes; missing values count as the median."""
    if x.shape[1] <= most:
        return np.arange(x.shape[1])
    middle = np.array(
        [
            np.median(column[~np.isnan(column)]) if (~np.isnan(column)).any() else 0.0
            for column in x.T
        ]
    )
    filled = np.where(np.isnan(x), middle, x)
    means = np.stack([filled[y == c].mean(axis=0) for c in np.unique(y)])[
        np.searchsorted(np.unique(y), y)
    ]  # (n, D), of a row's class
    between, within = (
        ((means - filled.mean(axis=0)) ** 2).sum(axis=0),
        ((filled - means) ** 2).sum(axis=0),
    )
    ratio = between / np.maximum(within, 1e-12 * (between + within + 1e-300))
    return np.sort(np.argsort(-ratio, kind="stable")[:most])
