"""Write a network as C for a microcontroller (export c), check what was written (export verify), or
say what it needs (export budget)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openpfn.cli import run_subcommand
from openpfn.configs.checks import check_least

if TYPE_CHECKING:
    from openpfn.export.budget import Budget
    from openpfn.export.verify import Measured, Vectors

USAGE = """usage: openpfn export {c,budget,verify} [OPTIONS]

  c       write a C library that fits and predicts
  budget  say what it needs of a chip, before compiling
  verify  run the library on the host, an emulated chip or a board; compare it with the network

openpfn export c --help tells the options of c."""


@dataclass(frozen=True)
class CodeCommand:
    """Write a C library that fits and predicts on the device: pfn.h, pfn.c, pfn_model.h and
    pfn_weights.h."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint's path, a run's folder or a shipped name, such as tiny."""
    out: Path
    """The folder to write; that of a header whose path is given, as to TinyPFN's exporter."""
    backend: Literal["f32", "int8", "int"] = "f32"
    """f32: weights and arithmetic in float32. int8: weights in 8 bits, arithmetic in float32. int:
    weights in 8 bits, arithmetic in integers, for cores without a floating-point unit."""
    max_features: int = 8
    """Most features of a table."""
    max_classes: int = 4
    """Most classes of a table."""
    context: str | None = None
    """A bundled table, or a CSV, TSV or parquet file: fit its rows on this machine and write
    pfn_fitted.h, which the firmware predicts from without fitting."""
    target: str | None = None
    """The column of --context to predict; by default its last."""
    sketch: bool = False
    """Also write a sketch for Arduino and PlatformIO, with which a board answers `openpfn export
    verify --port`."""

    def __post_init__(self) -> None:
        if self.out.suffix == ".h":
            object.__setattr__(self, "out", self.out.parent)
        if self.target is not None and self.context is None:
            raise ValueError(
                f"target is {self.target!r} without a table. Give the table as --context."
            )


@dataclass(frozen=True)
class BudgetCommand:
    """Say what a network needs of a chip: flash, memory, stack and operations per backend. Refuses
    a chip that is too small."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint's path, a run's folder or a shipped name, such as tiny."""
    rows: int = 50
    """Context rows."""
    features: int = 5
    """Features of the table."""
    classes: int = 3
    """Classes of the table."""
    max_features: int | None = None
    """Most features that the library is compiled for; by default the table's."""
    max_classes: int | None = None
    """Most classes that the library is exported for; by default the table's."""
    frozen: bool = False
    """The context is fitted elsewhere and stays in flash."""
    chip: str | None = None
    """A chip, such as esp32-wroom or rp2040; an unknown name lists them all."""


@dataclass(frozen=True)
class VerifyCommand:
    """Compile an exported library, run it on a core, or ask a board, and compare the logits with
    those of the network in Python."""

    folder: Annotated[Path, tyro.conf.Positional]
    """What `openpfn export c` wrote."""
    target: str = "host"
    """host, cortex-m0, cortex-m3, cortex-m4f, rv32imc or rv32imafc; all but the host are emulated
    by QEMU."""
    data: str | None = None
    """A bundled table, or a CSV, TSV or parquet file, whose rows are the vectors; by default iris,
    or with --frozen its own table."""
    label: str | None = None
    """The column of a file to predict; by default its last."""
    rows: int = 50
    """Context rows."""
    queries: int = 20
    """Rows to predict."""
    cached_rows: int = 0
    """Context rows for which the row cache has room."""
    optimize: str = "-O2"
    """The compiler's optimisation flag."""
    frozen: bool = False
    """Fit nothing: predict from the context in pfn_fitted.h, which `export c --context` wrote."""
    port: str | None = None
    """A serial port, such as /dev/ttyUSB0: ask the board there, which runs the sketch of `export c
    --sketch`, instead of a target."""
    baud: int = 115200
    """Bits a second on the port."""
    timeout: float = 10.0
    """Seconds that the board may keep silent."""

    def __post_init__(self) -> None:
        if self.port is not None and (self.target != "host" or self.frozen):
            raise ValueError(
                f"port {self.port} fits rows on a board: leave out --target and --frozen."
            )
        check_least(self, rows=1, queries=1, cached_rows=0)
        if not self.timeout > 0:
            raise ValueError(f"timeout is {self.timeout:g}, must be positive.")


def main(argv: list[str]) -> int | None:
    """Run the subcommand that `argv` begins with."""
    return run_subcommand(argv, SUBCOMMANDS, USAGE)


def write_code(argv: list[str]) -> int:
    """Export a checkpoint; `--checkpoint X --output FOLDER/tinypfn_weights.h` says the same as `X
    --out FOLDER`."""
    options = tyro.cli(
        CodeCommand,
        args=positional(argv, "--checkpoint", {"--output": "--out"}),
        prog="openpfn export c",
    )
    from openpfn import checkpoint
    from openpfn.export.c_code import CodeOptions, write_library

    model = checkpoint.load(options.checkpoint).model
    table = None
    if options.context is not None:  # what is wrong is told before anything is written
        from openpfn.export.freeze import context_table

        table = context_table(
            options.context, options.target, options.max_features, options.max_classes
        )
    if options.sketch:
        from openpfn.export.sketch import require_name, write_sketch

        require_name(options.out)
    files = write_library(
        model,
        options.out,
        CodeOptions(options.backend, options.max_features, options.max_classes),
        options.checkpoint,
    )
    print(f"wrote {', '.join(files)} to {options.out}")
    if table is not None:
        from openpfn.export.freeze import write_fitted

        path = write_fitted(options.out, table)
        print(
            f"wrote {path.name}: {len(table.y)} rows of {len(table.features)} features; classes"
            f" {', '.join(table.classes)}"
        )
    if options.sketch:
        print(f"wrote {', '.join(path.name for path in write_sketch(options.out))}")
    return 0


def tell_budget(argv: list[str]) -> int:
    """Print the budget of each backend. Raises ValueError where none of them fits the chip."""
    options = tyro.cli(BudgetCommand, args=argv, prog="openpfn export budget")
    from openpfn import checkpoint
    from openpfn.export.budget import CHIPS, all_backends, shortages

    if options.chip is not None and options.chip not in CHIPS:
        raise ValueError(f"unknown chip {options.chip!r}. Choose one of {', '.join(CHIPS)}.")
    chip = None if options.chip is None else CHIPS[options.chip]
    config = checkpoint.read_header(options.checkpoint).config
    table = (options.rows, options.features, options.classes)
    needed = all_backends(config, *table, options.max_features, options.max_classes, options.frozen)
    print("\n".join(budget_report(options, needed)))
    if chip is not None:
        lacking = {backend: shortages(budget, chip) for backend, budget in needed.items()}
        for backend, short in lacking.items():
            print(f"  {backend} on {options.chip}: {'; '.join(short) or 'fits'}")
        if all(lacking.values()):
            least = min(
                needed,
                key=lambda backend: (
                    len(lacking[backend]),
                    needed[backend].flash_bytes(chip.has_fpu),
                ),
            )
            short = "; ".join(lacking[least])
            raise ValueError(
                f"{options.checkpoint} does not fit {options.chip}, even as {least}: {short}. Take"
                " a smaller network."
            )
    return 0


def budget_report(options: BudgetCommand, needed: Mapping[Any, Budget]) -> list[str]:
    """The lines that budget prints."""
    kept = ", the context in flash" if options.frozen else ""
    lines = [
        f"{options.checkpoint}, {options.rows} context rows × {options.features} features,"
        f" {options.classes} classes{kept}"
    ]
    for backend, budget in needed.items():
        flash = " or ".join(
            f"{budget.flash_bytes(fpu):,} {'with' if fpu else 'without'} an FPU"
            for fpu in (True, False)
        )
        predict = " or ".join(
            in_millions(budget.instructions(budget.predict_operations, fpu))
            for fpu in (True, False)
        )
        fit = " or ".join(
            in_millions(budget.instructions(budget.fit_operations, fpu)) for fpu in (True, False)
        )
        lines += [
            (
                f"  {backend:<5} flash    at most {flash} bytes, of which weights"
                f" {budget.weight_bytes:,}"
            ),
            (
                f"        RAM      {budget.ram_bytes:,} bytes: context"
                f" {0 if options.frozen else budget.context_bytes:,}, scratch"
                f" {budget.scratch_bytes:,}, stack at most {budget.stack_bytes:,}"
            ),
            f"        predict  some {predict} instructions"
            + ("" if options.frozen else f"; fit {fit}"),
        ]
    some = next(iter(needed.values()))
    if not options.frozen:
        lines += [
            (
                f"  more RAM: {some.row_bytes:,} bytes for raw rows unless they are streamed,"
                f" {some.cache_bytes:,} for a full row cache"
            ),
            (
                f"  work: fit {some.fit_operations:,} multiply-adds, with the row cache"
                f" {some.cached_fit_operations:,}; predict {some.predict_operations:,}"
            ),
        ]
    return lines


def in_millions(count: int) -> str:
    """A count to two digits."""
    return f"{count / 1e6:.2g} M" if count < 1e8 else f"{count / 1e6:,.0f} M"


def verify(argv: list[str]) -> int:
    """Compile, run and compare; 1 where the logits differ by more than the backend's tolerance."""
    options = tyro.cli(VerifyCommand, args=argv, prog="openpfn export verify")
    from openpfn.export import verify as verification

    if options.port is None:
        verification.find_target(options.target)
    record, model = exported(options.folder)
    vectors = frozen_vectors(options, record) if options.frozen else table_vectors(options, record)
    if options.port is None:
        measured = verification.measure(
            options.folder, options.target, vectors, (options.optimize,), options.frozen
        )
    else:
        from openpfn.export.serial import measure_board

        measured = measure_board(
            options.folder, options.port, vectors, options.baud, options.timeout
        )
    expected = reference_logits(model, vectors)
    error = verification.relative_error(measured.logits, expected)
    tolerance = verification.TOLERANCE[record["backend"]]
    print(
        "\n".join(
            report(
                options,
                record,
                measured,
                len(vectors.y),
                error,
                agreement(measured.logits, expected),
            )
        )
    )
    if error > tolerance:
        print(f"FAILED: the logits may differ by at most {tolerance:g} of the largest")
        return 1
    return 0


SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {
    "c": write_code,
    "budget": tell_budget,
    "verify": verify,
}


def positional(argv: list[str], option: str, renamed: dict[str, str]) -> list[str]:
    """`argv` with the value of `option` first, and other options by the names we use."""
    words = [
        renamed.get(word, word)
        for arg in argv
        for word in (arg.split("=", 1) if arg.startswith("--") else [arg])
    ]
    if option not in words[:-1]:
        return words
    place = words.index(option)
    return [words[place + 1], *words[:place], *words[place + 2 :]]


def exported(folder: Path) -> tuple[dict[str, Any], Any]:
    """The record of an export and the network that it was made of. Raises ValueError where that has
    changed since."""
    import json

    from openpfn import checkpoint
    from openpfn.checkpoint.fingerprint import fingerprint_of
    from openpfn.export.c_code import RECORD

    path = folder / RECORD
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {RECORD}. Give a folder that `openpfn export c` wrote."
        )
    record = json.loads(path.read_text(encoding="utf-8"))
    model = checkpoint.load(record["checkpoint"]).model
    if fingerprint_of(model) != record["fingerprint"]:
        raise ValueError(
            f"checkpoint {record['checkpoint']} has other weights than {folder} was exported from."
            " Export it again."
        )
    return record, model


def table_vectors(options: VerifyCommand, record: dict[str, Any]) -> Vectors:
    """Context rows and queries from a table, within the maxima of the export."""
    import numpy as np

    from openpfn.export.freeze import labelled_table
    from openpfn.export.verify import Vectors
    from openpfn.tables.encode import TableEncoder

    table = labelled_table(options.data or "iris", options.label)
    x = (
        TableEncoder()
        .fit(table.X)
        .transform(table.X)[:, : record["max_features"]]
        .astype(np.float32)
    )
    y = np.unique(table.y.to_numpy(), return_inverse=True)[1].astype(np.int32)
    x, y = x[y < record["max_classes"]], y[y < record["max_classes"]]
    order = np.random.default_rng(0).permutation(len(y))
    n_rows = min(options.rows, len(y) - 1)
    context, queries = order[:n_rows], order[n_rows : n_rows + options.queries]
    return Vectors(x[context], y[context], x[queries], int(y.max()) + 1, options.cached_rows)


def frozen_vectors(options: VerifyCommand, record: dict[str, Any]) -> Vectors:
    """The rows behind pfn_fitted.h, and queries from --data. Raises ValueError where no context was
    frozen."""
    from openpfn.export.freeze import context_table
    from openpfn.export.verify import Vectors

    if "context" not in record:
        raise ValueError(
            f"{options.folder} holds no frozen context. Write one with openpfn export c --context"
            " TABLE."
        )
    shown = context_table(record["context"], record["target"])
    asked = shown if options.data is None else context_table(options.data, options.label)
    if asked.features != shown.features:
        columns = [", ".join(names) for names in (asked.features, shown.features)]
        raise ValueError(
            f"{asked.source} has the columns {columns[0]}, not {columns[1]}. Give the same ones."
        )
    return Vectors(shown.x, shown.y, asked.x[: options.queries], len(shown.classes))


def reference_logits(model: Any, vectors: Vectors) -> Any:
    """Logits (Q, k) behind the probabilities of `PFNClassifier(n_estimators=1)`, by label; −inf for
    absent classes."""
    import warnings

    import numpy as np
    import torch

    from openpfn.estimators import PFNClassifier

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # more rows than in training: both sides answer all the same
        classifier = PFNClassifier(model=model, n_estimators=1).fit(
            vectors.x.astype(np.float64), vectors.y
        )
    n_classes = len(classifier.classes_)
    logits = np.full((len(vectors.queries), vectors.n_classes), -np.inf, dtype=np.float32)
    context = classifier.context_
    if context is None:
        logits[:, classifier.classes_] = 0.0
        return logits
    assert context.groups is not None
    columns = classifier.columns_
    rows = (
        vectors.queries.astype(np.float64)[:, columns]
        if len(columns)
        else np.zeros((len(logits), 1))
    )
    with torch.inference_mode():
        answer = context.ready_network().model.read(
            torch.from_numpy(context.groups[0][0](rows))[None], context.states[0]
        )
    logits[:, classifier.classes_[classifier.order_]] = answer[0, :, :n_classes].numpy()
    return logits


def agreement(logits: Any, expected: Any) -> float:
    """Share of rows whose most probable class is the same."""
    return float((logits.argmax(axis=1) == expected.argmax(axis=1)).mean())


def report(
    options: VerifyCommand,
    record: dict[str, Any],
    measured: Measured,
    n_rows: int,
    error: float,
    agreeing: float,
) -> list[str]:
    """The lines that verify prints."""
    costs = measured.costs
    shown = (
        f"the frozen context of {record['context']}"
        if options.frozen
        else f"{n_rows} context rows of {options.data or 'iris'}"
    )
    lines = [
        (
            f"{record['checkpoint']} ({record['backend']}) on {options.port or options.target},"
            f" {shown}"
        ),
        (
            f"  logits differ by at most {error:.1e} of the largest; the same class for"
            f" {agreeing:.0%} of {len(measured.logits)} rows"
        ),
        (
            f"  static RAM {measured.ram_bytes:,} bytes: context {costs['context_bytes']:,},"
            f" scratch {costs['scratch_bytes']:,}"
        ),
    ]
    if "text_bytes" in costs:
        lines += [
            f"  stack      fit {costs['fit_stack']:,}, predict {costs['predict_stack']:,} bytes",
            f"  flash      {costs['text_bytes']:,} bytes: code and weights, for fit and predict",
            (
                f"  executed   fit {costs['fit_instructions']:,}, predict"
                f" {costs['predict_instructions']:,} instructions"
            ),
        ]
    if "predict_microseconds" in costs:
        lines.append(f"  predict    {costs['predict_microseconds']:,} microseconds, the median")
    return lines
