"""Measure C libraries on real tables and on emulated chips, beside methods that fit on a device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn import checkpoint
from openpfn.benchmark.edge.config import METRICS, PEERS, EdgeConfig
from openpfn.benchmark.edge.report import means, show, write_page
from openpfn.benchmark.metrics import classification_metrics
from openpfn.benchmark.record import new_record, write_json
from openpfn.benchmark.tables.methods import method
from openpfn.benchmark.tables.splitting import n_context, split
from openpfn.benchmark.tables.suites import Entry, LoadedTable, choose, load_table
from openpfn.export.budget import budget
from openpfn.export.c_code import write_library
from openpfn.export.options import BACKENDS, Backend, CodeOptions
from openpfn.export.values import LARGEST_VALUE, varies_too_little
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.measure import measure
from openpfn.export.verification.targets import TARGETS, find_target
from openpfn.export.verification.vectors import Vectors
from openpfn.tables.schema import read_column, to_numbers


def run(config: EdgeConfig) -> dict[str, Any]:
    """Measure, write `config.out` (and the page), print the tables, and return the results as they
    stand in the file.

    Raises ValueError or FileNotFoundError for unknown checkpoints, suites or cores, before anything
    is measured.
    """
    for core in config.cores:
        if core not in TARGETS:
            find_target(core)  # tells the choices
    tables = [(suite, table) for suite in config.suite for table in fitting_tables(suite, config)]
    began = time.perf_counter()
    results = new_record(config, threads=1)
    with tempfile.TemporaryDirectory() as place:
        results["libraries"], compiled = libraries(config, Path(place))
        for number, (suite, (entry, table)) in enumerate(tables, start=1):
            print(f"{number} of {len(tables)}: {entry.name}", flush=True)
            results["rows"] += measured_table(suite, entry, table, compiled, config)
    results["seconds"] = round(time.perf_counter() - began, 1)
    results["means"] = means(results["rows"])
    results["means_of_half_b"] = means([row for row in results["rows"] if row["half"] == "B"])
    write_json(config.out, results)
    show(results)
    if config.page is not None:
        write_page(config.page, results)
    return results


def fitting_tables(suite: str, config: EdgeConfig) -> list[tuple[Entry, LoadedTable]]:
    """Return the tables of `suite` with numeric columns, few enough classes and enough rows. Raises
    ValueError where none is left."""
    found = [
        (entry, load_table(suite, entry.name)) for entry in choose(suite, config.protocol(suite))
    ]
    fits = [
        (entry, numeric(table))
        for entry, table in found
        if table.n_classes <= config.max_classes
        and n_context(str(config.rows), len(table.y), config.rows) == config.rows
    ]
    fits = [(entry, table) for entry, table in fits if table.X.shape[1]]
    if not fits:
        raise ValueError(
            f"no table of {suite} has numeric columns, at most {config.max_classes} classes and"
            f" {2 * config.rows} rows. Raise max_classes, or lower rows."
        )
    return fits


def numeric(table: LoadedTable) -> LoadedTable:
    """Return the table with its numeric columns alone."""
    kept = [
        c
        for c in table.X.columns
        if (table.kinds.get(c) or read_column(table.X[c]).kind) == "numeric"
    ]
    X = pd.DataFrame({c: to_numbers(table.X[c]) for c in kept}, index=table.X.index)
    return replace(table, X=X, kinds=dict.fromkeys(kept, "numeric"))


def libraries(config: EdgeConfig, place: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return facts of each exported library, and the libraries compiled for this machine, both by
    method name. Raises ValueError where a checkpoint fits no backend."""
    facts, compiled = [], {}
    for source in config.checkpoints:
        model, refusals = checkpoint.load(source).model, []
        for backend in BACKENDS:
            name = f"{short_name(source)} {backend}"
            try:
                write_library(
                    model,
                    place / name,
                    CodeOptions(backend, config.max_features, config.max_classes),
                    source,
                )
            except ValueError as refusal:  # ridge attention in whole numbers, for one
                refusals.append(str(refusal))
                continue
            compiled[name] = HostLibrary(place / name)
            facts.append(
                {"method": name, "checkpoint": source, "backend": backend}
                | {"ram_bytes": ram_bytes(model.config, backend, config.max_classes)}
                | costs(place / name, config.cores)
            )
        if len(refusals) == len(BACKENDS):
            raise ValueError(f"{source} cannot be exported: {refusals[0]}")
    return facts, compiled


def short_name(source: str) -> str:
    """Return the name of a checkpoint: a shipped one's, a file's or a run folder's."""
    path = Path(source)
    return path.parent.name if path.stem == "latest" else path.stem


def ram_bytes(config: Any, backend: Backend, max_classes: int) -> int:
    """Return context and scratch memory for 50 context rows × 5 features and 3 classes."""
    needed = budget(config, 50, 5, 3, backend, max_classes=max_classes)
    return needed.context_bytes + needed.scratch_bytes


def costs(folder: Path, cores: tuple[str, ...]) -> dict[str, Any]:
    """Return flash, stack and instructions on each core, `-Os`, for 50 context rows × 5 features
    and 3 classes."""
    rng = np.random.default_rng(0)
    y = np.resize(np.arange(3, dtype=np.int32), 50)
    vectors = Vectors(
        (rng.normal(size=(50, 5)) + y[:, None]).astype(np.float32),
        y,
        rng.normal(size=(2, 5)).astype(np.float32),
        3,
    )
    installed = [core for core in cores if TARGETS[core].missing() is None]
    measured = {core: measure(folder, core, vectors, ("-Os",)) for core in installed}
    return {
        "cores": {core: one.costs for core, one in measured.items()},
        "not_installed": [core for core in cores if core not in installed],
    }


def measured_table(
    suite: str, entry: Entry, table: LoadedTable, compiled: dict[str, Any], config: EdgeConfig
) -> list[dict[str, Any]]:
    """Return a row for each method: its metrics, averaged over the splits."""
    scores: dict[str, list[list[float]]] = {}
    for context, query, number in splits(table, suite, config):
        for name, p in predictions(table, context, query, number, compiled, config):
            found = classification_metrics(table.y[query], p)
            scores.setdefault(name, []).append([found[metric] for metric in METRICS])
    return [
        {
            "suite": suite,
            "table": entry.name,
            "half": entry.half,
            "counted": entry.counted or suite == "bundled",
            "method": name,
        }
        | dict(zip(METRICS, map(float, np.nanmean(found, axis=0)), strict=True))
        for name, found in scores.items()
    ]


def splits(
    table: LoadedTable, suite: str, config: EdgeConfig
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yield context rows, query rows and number of each split; the same for every method."""
    protocol = config.protocol(suite)
    for number in range(config.splits):
        yield *split(table, config.rows, number, protocol), number


def predictions(
    table: LoadedTable,
    context: np.ndarray,
    query: np.ndarray,
    number: int,
    compiled: dict[str, Any],
    config: EdgeConfig,
) -> Iterator[tuple[str, Float[np.ndarray, "Q k"]]]:
    """Yield the probabilities of the table's classes by each method, on the columns that the
    context rows choose."""
    columns = informative(table.X.to_numpy()[context], table.y[context], config.max_features)
    X, y = table.X.iloc[:, columns], table.y
    x = carried_values(X.to_numpy(), context)
    for name, library in compiled.items():
        status = library.fit(x[context], y[context], table.n_classes)
        assert status == "ok", f"{table.name}: {status}"
        yield name, library.predict_proba(x[query], table.n_classes).astype(np.float64)
    present, shown = np.unique(y[context], return_inverse=True)
    for name in PEERS:
        reader = method(name).build(
            "classification", dict.fromkeys(X.columns, "numeric"), config.seed + number, "cpu"
        )
        reader.fit(X.iloc[context].reset_index(drop=True), shown)
        p = np.zeros((len(query), table.n_classes))
        p[:, present[reader.classes_]] = reader.predict_proba(X.iloc[query].reset_index(drop=True))
        yield name, p


def carried_values(
    x: Float[np.ndarray, "n D"], context: Int[np.ndarray, " c"]
) -> Float[np.ndarray, "n D"]:
    """Return `x` as the C library takes it: sizes limited, and zeros for columns that hardly vary
    in the context rows."""
    limited = np.clip(x, -LARGEST_VALUE, LARGEST_VALUE).astype(np.float32)  # NaN stays
    limited[:, varies_too_little(limited[context])] = 0
    return limited


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
