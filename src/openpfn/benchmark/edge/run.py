"""`openpfn benchmark edge`: what C libraries are worth on real tables and cost on a chip, beside
methods that fit on a device."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from openpfn.benchmark.tables.config import TablesConfig
from openpfn.benchmark.tables.suites import Entry, LoadedTable
from openpfn.configs.checks import check_least

PEERS = ("logistic", "lda", "naive_bayes", "knn")
"""Methods of scikit-learn that are small enough to be fitted on a device."""
METRICS = ("accuracy", "roc_auc", "log_loss")


@dataclass(frozen=True)
class EdgeConfig:
    """Which networks, on which tables, and how large the tables may be that a device sees."""

    checkpoints: tuple[str, ...] = ("tiny",)
    """Checkpoints' paths, runs' folders or shipped names: each is exported with every backend that
    carries it."""
    suite: tuple[str, ...] = ("bundled",)
    """Suites of tables, as in `openpfn benchmark tables`: bundled, a folder with an index.json,
    openml:99."""
    half: Literal["all", "A", "B"] = "all"
    """A for making choices, B for reporting figures: tables are assigned by a hash of their
    family."""
    rows: int = 50
    """Context rows; a table needs twice as many."""
    max_features: int = 8
    """Of more numeric columns, those that tell the classes of the context rows apart best (F
    statistic)."""
    max_classes: int = 4
    """Tables with more classes are left out."""
    splits: int = 20
    """How often each table is split anew."""
    max_query: int = 500
    """Query rows at most: a larger rest is sampled."""
    cores: tuple[str, ...] = ("cortex-m4f", "rv32imc")
    """Emulated cores on which flash and instructions are counted; one whose toolchain is not
    installed is left out."""
    seed: int = 0
    """Decides the splits and the methods' own randomness."""
    out: Path = Path("edge.json")
    """Where the results go, with the machine and the versions."""
    page: Path | None = None
    """Also write them as a Markdown page, such as docs/edge.md: means over tables."""

    def __post_init__(self) -> None:
        check_least(self, rows=2, max_features=1, max_classes=2, splits=1, max_query=10, seed=0)
        for name in ("checkpoints", "suite"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty. Name at least one.")

    def protocol(self, suite: str) -> TablesConfig:
        """The same for the code that chooses and splits tables."""
        return TablesConfig(
            suite=suite,
            context_sizes=(str(self.rows),),
            splits=self.splits,
            half=self.half,
            max_query=self.max_query,
            seed=self.seed,
            task="classification",
        )


def run(config: EdgeConfig) -> dict[str, Any]:
    """Measure, write `config.out` (and the page), print the tables; the results as they stand in
    the file.

    Raises ValueError or FileNotFoundError for unknown checkpoints, suites or cores, before anything
    is measured.
    """
    from openpfn.benchmark.edge import report as edge_report
    from openpfn.benchmark.machine import describe_machine as machine
    from openpfn.benchmark.record import plain, write_json
    from openpfn.export.verify import TARGETS, find_target

    for core in config.cores:
        if core not in TARGETS:
            find_target(core)  # tells the choices
    tables = [(suite, table) for suite in config.suite for table in fitting_tables(suite, config)]
    began = time.perf_counter()
    results: dict[str, Any] = {
        "version": 1,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": {name: plain(value) for name, value in asdict(config).items()},
        "machine": machine(threads=1),
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as place:
        results["libraries"], compiled = libraries(config, Path(place))
        for number, (suite, (entry, table)) in enumerate(tables, start=1):
            print(f"{number} of {len(tables)}: {entry.name}", flush=True)
            results["rows"] += measured_table(suite, entry, table, compiled, config)
    results["seconds"] = round(time.perf_counter() - began, 1)
    results["means"] = edge_report.means(results["rows"])
    results["means_of_half_b"] = edge_report.means(
        [row for row in results["rows"] if row["half"] == "B"]
    )
    write_json(config.out, results)
    edge_report.show(results)
    if config.page is not None:
        edge_report.write_page(config.page, results)
    return results


def fitting_tables(suite: str, config: EdgeConfig) -> list[tuple[Entry, LoadedTable]]:
    """The tables of `suite` with numeric columns, few enough classes and enough rows. Raises
    ValueError where none is left."""
    from openpfn.benchmark.tables.splitting import n_context
    from openpfn.benchmark.tables.suites import choose, load_table

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
    """The same table with its numeric columns alone."""
    from dataclasses import replace

    from openpfn.tables.schema import read_column, to_numbers

    kept = [
        c
        for c in table.X.columns
        if (table.kinds.get(c) or read_column(table.X[c]).kind) == "numeric"
    ]
    X = pd.DataFrame({c: to_numbers(table.X[c]) for c in kept}, index=table.X.index)
    return replace(table, X=X, kinds=dict.fromkeys(kept, "numeric"))


def libraries(config: EdgeConfig, place: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Facts of each exported library, and the libraries compiled for this machine, both by method
    name. Raises ValueError where a checkpoint fits no backend."""
    from openpfn import checkpoint
    from openpfn.export.c_code import BACKENDS, CodeOptions, write_library
    from openpfn.export.host import HostLibrary

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
                | costs(place / name, config.cores)
            )
        if len(refusals) == len(BACKENDS):
            raise ValueError(f"{source} cannot be exported: {refusals[0]}")
    return facts, compiled


def short_name(source: str) -> str:
    """What to call a checkpoint: a shipped name, a file's or a run folder's."""
    path = Path(source)
    return path.parent.name if path.stem == "latest" else path.stem


def costs(folder: Path, cores: tuple[str, ...]) -> dict[str, Any]:
    """Flash, memory, stack and instructions on each core, `-Os`, for 50 context rows × 5 features
    and 3 classes."""
    from openpfn.export.verify import TARGETS, Vectors, measure

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
        "ram_bytes": measure(folder, "host", vectors).ram_bytes,
        "cores": {core: one.costs for core, one in measured.items()},
        "not_installed": [core for core in cores if core not in installed],
    }


def measured_table(
    suite: str, entry: Entry, table: LoadedTable, compiled: dict[str, Any], config: EdgeConfig
) -> list[dict[str, Any]]:
    """A row for each method: its metrics, averaged over the splits."""
    from openpfn.benchmark.metrics import classification_metrics

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
    """Context rows, query rows and number of each split; the same for every method."""
    from openpfn.benchmark.tables.splitting import split

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
    """The probabilities of the table's classes by each method, on the columns that the context rows
    choose."""
    from openpfn.benchmark.tables.methods import method

    columns = informative(table.X.to_numpy()[context], table.y[context], config.max_features)
    X, y = table.X.iloc[:, columns], table.y
    x = np.clip(X.to_numpy(), -1e25, 1e25).astype(np.float32)  # what the library takes; NaN stays
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


def informative(
    x: Float[np.ndarray, "n D"], y: Int[np.ndarray, " n"], most: int
) -> Int[np.ndarray, " d"]:
    """The columns, in order, whose class means differ most in units of the spread within classes;
    missing values count as the median."""
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
