"""Write a network as C for a microcontroller (export c) or as ONNX (export onnx), check what was
written (export verify), or say what it needs (export budget)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from openpfn.cli import run_subcommand
from openpfn.configs.checks import check_least

USAGE = """usage: openpfn export {c,onnx,budget,verify} [OPTIONS]

  c       write a C library that fits and predicts
  onnx    write ONNX, for onnxruntime on servers, phones and in browsers
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
    max_classes: int | None = None
    """Most classes of a table; by default as many as the network tells apart."""
    context: str | None = None
    """A bundled table, or a CSV, TSV or parquet file: fit its rows on this machine and write
    pfn_fitted.h, which the firmware predicts from without fitting."""
    target: str | None = None
    """The column of --context to predict; by default its last."""
    prefix: str = "pfn"
    """What every function, type, macro and file of the library begins with, so that one firmware
    can hold several: wine gives wine.h and wine_fit."""
    sketch: bool = False
    """Also write a sketch for Arduino and PlatformIO, with which a board answers `openpfn export
    verify --port`."""

    package: Literal["arduino", "platformio", "esp-idf", "zephyr", "micropython", "all"] | None = (
        None
    )
    """Also make the folder a library of Arduino or PlatformIO, a component of ESP-IDF, a module of
    Zephyr or MicroPython, or all of them at once."""

    def __post_init__(self) -> None:
        if self.out.suffix == ".h":
            object.__setattr__(self, "out", self.out.parent)
        if self.sketch and self.package in ("arduino", "all"):
            raise ValueError(
                f"package {self.package} holds the sketch, in examples/AnswerComputer: leave out"
                " --sketch."
            )
        if self.target is not None and self.context is None:
            raise ValueError(
                f"target is {self.target!r} without a table. Give the table as --context."
            )


@dataclass(frozen=True)
class OnnxCommand:
    """Write a network as an ONNX file: context rows, their targets and query rows in, answers out;
    where onnxruntime is installed, compare its answers with the network's."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A checkpoint's path, a run's folder or a shipped name, such as nano."""
    out: Path
    """The file to write."""
    targets: Literal["classes", "numbers"] = "classes"
    """What to predict."""
    steps: bool = False
    """Write two files in place of one, OUT-fit and OUT-predict: fit a context once, then predict
    rows from its state."""

    def __post_init__(self) -> None:
        if self.out.suffix != ".onnx":
            raise ValueError(f"out is {self.out}, must end in .onnx.")


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
    from openpfn.export.c_code import CodeOptions, check_supported, write_library
    from openpfn.export.freeze import write_fitted
    from openpfn.export.packages import require_package_name, write_package
    from openpfn.export.record import load_network
    from openpfn.export.sketch import require_name, write_sketch
    from openpfn.export.tables import context_table

    model, table = load_network(options.checkpoint), None
    wanted = CodeOptions(options.backend, options.max_features, options.max_classes, options.prefix)
    settled = check_supported(model.config, wanted)
    if options.context is not None:  # what is wrong is said before anything is written
        table = context_table(
            options.context, options.target, settled.max_features, settled.max_classes
        )
    if options.sketch:
        require_name(options.out)
    if options.package is not None:
        require_package_name(options.out, options.package)
    files = write_library(model, options.out, settled, options.checkpoint)
    print(f"wrote {', '.join(files)} to {options.out}")
    if table is not None:
        path = write_fitted(options.out, table)
        print(
            f"wrote {path.name}: {len(table.y)} rows of {len(table.features)} features; classes"
            f" {', '.join(table.classes)}"
        )
    if options.sketch:
        print(f"wrote {', '.join(path.name for path in write_sketch(options.out, options.prefix))}")
    if options.package is not None:
        names = [
            path.relative_to(options.out) for path in write_package(options.out, options.package)
        ]
        print(f"wrote {', '.join(map(str, names))}")
    return 0


def write_graph(argv: list[str]) -> int:
    """Write ONNX and check it; 1 where onnxruntime answers otherwise than the network."""
    options = tyro.cli(OnnxCommand, args=argv, prog="openpfn export onnx")
    from openpfn.export.onnx.checking import TOLERANCE, can_check, largest_difference
    from openpfn.export.onnx.write import OPSET, write_onnx
    from openpfn.export.record import load_network

    model = load_network(options.checkpoint)
    paths = write_onnx(model, options.out, targets=options.targets, steps=options.steps)
    for path in paths:
        print(f"wrote {path}: {path.stat().st_size / 1e6:.2f} MB, opset {OPSET}")
    if not can_check():
        print("not checked: pip install onnxruntime to compare its answers with the network's")
        return 0
    difference = largest_difference(model, paths, options.targets)
    print(f"answers in onnxruntime differ by at most {difference:.1e} of the largest")
    if difference > TOLERANCE:
        print(f"FAILED: they may differ by at most {TOLERANCE:g}")
        return 1
    return 0


def print_budget(argv: list[str]) -> int:
    """Print the budget of each backend. Raises ValueError where none of them fits the chip."""
    options = tyro.cli(BudgetCommand, args=argv, prog="openpfn export budget")
    from openpfn.export.budget import CHIPS, all_backends, check_fits, chip_report, report
    from openpfn.export.record import load_config

    if options.chip is not None and options.chip not in CHIPS:
        raise ValueError(f"unknown chip {options.chip!r}. Choose one of {', '.join(CHIPS)}.")
    table = (options.rows, options.features, options.classes)
    maxima = (options.max_features, options.max_classes)
    needed = all_backends(load_config(options.checkpoint), *table, *maxima, options.frozen)
    print("\n".join(report(options.checkpoint, table, needed)))
    if options.chip is not None:
        print("\n".join(chip_report(options.chip, needed)))
        check_fits(options.checkpoint, options.chip, needed)
    return 0


def verify(argv: list[str]) -> int:
    """Compile, run and compare; 1 where the logits differ by more than the backend's tolerance."""
    options = tyro.cli(VerifyCommand, args=argv, prog="openpfn export verify")
    from openpfn.export.record import exported_network
    from openpfn.export.verification.measure import measure
    from openpfn.export.verification.reference import reference_logits
    from openpfn.export.verification.serial import measure_board
    from openpfn.export.verification.targets import find_target
    from openpfn.export.verification.vectors import frozen_vectors, table_vectors
    from openpfn.export.verification.verify import Verification

    if options.port is None:
        find_target(options.target)
    record, model = exported_network(options.folder)
    data = options.data if options.frozen else options.data or "iris"
    if options.frozen:
        vectors = frozen_vectors(options.folder, record, data, options.label, options.queries)
    else:
        sizes = (options.rows, options.queries, options.cached_rows)
        vectors = table_vectors(data or "iris", options.label, record, *sizes)
    if options.port is None:
        flags = (options.optimize,)
        answers = measure(options.folder, options.target, vectors, flags, options.frozen)
    else:
        line = (options.baud, options.timeout)
        answers = measure_board(options.folder, options.port, vectors, *line)
    checked = Verification(record, answers, reference_logits(model, vectors), len(vectors.y))
    core = options.port or options.target
    print("\n".join(checked.lines(core, data, options.frozen)))
    if checked.error > checked.tolerance:
        print(f"FAILED: the logits may differ by at most {checked.tolerance:g} of the largest")
        return 1
    return 0


SUBCOMMANDS: dict[str, Callable[[list[str]], int]] = {
    "c": write_code,
    "onnx": write_graph,
    "budget": print_budget,
    "verify": verify,
}


def positional(argv: list[str], option: str, renamed: dict[str, str]) -> list[str]:
    """Return `argv` with the value of `option` first, and `renamed` options by our names."""
    words = [
        renamed.get(word, word)
        for arg in argv
        for word in (arg.split("=", 1) if arg.startswith("--") else [arg])
    ]
    if option not in words[:-1]:
        return words
    place = words.index(option)
    return [words[place + 1], *words[:place], *words[place + 2 :]]
