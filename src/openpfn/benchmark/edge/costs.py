"""Flash, memory and instructions of a method's C on emulated cores."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from openpfn.benchmark.edge.on_chip import limit_flags
from openpfn.export.verification.measure import (
    flash_of,
    measure,
    printed_costs,
    program,
    run_tool,
)
from openpfn.export.verification.targets import PICOLIBC, TARGETS, ToolError, find_target
from openpfn.export.verification.vectors import Vectors

OPTIMIZE = "-Os"
FIGURES = ("flash", "ram", "stack", "fit", "predict")
"""Bytes of flash, bytes of static memory, bytes of stack of fit, and instructions."""


def shown_rows() -> Vectors:
    """Return the rows on which costs are measured: 50 context rows × 5 features, 3 classes."""
    rng = np.random.default_rng(0)
    y = np.resize(np.arange(3, dtype=np.int32), 50)
    x = (rng.normal(size=(50, 5)) + y[:, None]).astype(np.float32)
    return Vectors(x, y, rng.normal(size=(2, 5)).astype(np.float32), 3)


def library_costs(folder: Path, core: str) -> dict[str, int]:
    """Return the `FIGURES` of an exported library on `core`; fit without the row cache."""
    measured = measure(folder, core, shown_rows(), (OPTIMIZE,))
    costs = measured.costs
    return {
        "flash": costs["text_bytes"],
        "ram": measured.ram_bytes,
        "stack": costs["fit_stack"],
        "fit": costs["fit_instructions"],
        "predict": costs["predict_instructions"],
    }


def learner_costs(source: str, core: str) -> dict[str, int]:
    """Return the `FIGURES` of the learner `source` on `core`, with memory for `shown_rows`.

    A method that was trained elsewhere keeps nothing in memory. Raises ToolError where it does not
    compile or run.
    """
    target, vectors = find_target(core), shown_rows()
    with tempfile.TemporaryDirectory() as place:
        build = Path(place)
        own = resources.files("openpfn.benchmark.edge").joinpath("learners", "measure.c")
        for name, text in (
            ("learner.c", source),
            ("pfn_vectors.h", "#include <stdint.h>\n" + vectors.header()),
            ("counting.h", program("counting.h")),
            ("measure.c", own.read_text(encoding="utf-8")),
        ):
            (build / name).write_text(text, encoding="utf-8")
        flags = [
            "-std=gnu11",
            OPTIMIZE,
            *limit_flags(len(vectors.x), vectors.x.shape[1], vectors.n_classes),
        ]
        flags += [*target.flags, *target.memory]
        run_tool([target.compiler, *flags, *PICOLIBC, "measure.c", "-lm", "-o", "run"], build)
        printed = run_tool([*target.emulator, "./run"], build, 600)
        bare = ["-nostartfiles", "-Wl,--gc-sections,-e,main", "-DSMALLEST", PICOLIBC[0]]
        bare += ["-ffunction-sections"]
        run_tool([target.compiler, *flags, *bare, "measure.c", "-lm", "-o", "smallest"], build)
        flash = flash_of(target, build, "smallest")
    costs, proba = printed_costs(printed), re.findall(r"^millionths (\d+)$", printed, re.MULTILINE)
    if abs(sum(map(int, proba)) - 1_000_000) > 10:
        raise ToolError(f"the program on {core} did not answer as it should: {printed}")
    is_trained_elsewhere = "TRAINED_ELSEWHERE" in source
    return {
        "flash": flash,
        "ram": 0 if is_trained_elsewhere else costs["model_bytes"],
        "stack": costs["fit_stack"],
        "fit": 0 if is_trained_elsewhere else costs["fit_instructions"],
        "predict": costs["predict_instructions"],
    }


def installed(cores: Sequence[str]) -> list[str]:
    """Return the cores whose toolchain is installed."""
    return [core for core in cores if TARGETS[core].missing() is None]


def on_cores(costs: Any, what: Any, cores: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return the figures of `costs(what, core)` for each core whose toolchain is installed."""
    return {core: costs(what, core) for core in installed(cores)}
