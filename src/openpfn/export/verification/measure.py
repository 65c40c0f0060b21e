"""Compile an exported library for a core, run it on the host or in an emulator, and read what it
answers and costs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from jaxtyping import Float

from openpfn.export.prefix import renamed
from openpfn.export.record import recorded_prefix
from openpfn.export.verification.targets import PICOLIBC, STRICT, Target, ToolError, find_target
from openpfn.export.verification.vectors import Vectors

LIBRARY = ("pfn.h", "pfn_model.h", "pfn_weights.h", "pfn.c")
FITTED = "pfn_fitted.h"


@dataclass(frozen=True)
class Measurement:
    """Answers and costs of a library on one target."""

    logits: Float[np.ndarray, "Q k"]
    costs: dict[str, int]
    """context_bytes, scratch_bytes, saved_bytes, and the instructions and stack bytes of fit and
    predict; text_bytes on emulated cores."""

    @property
    def ram_bytes(self) -> int:
        """Static memory: the context and the scratch memory."""
        return self.costs["context_bytes"] + self.costs["scratch_bytes"]


def measure(
    folder: str | Path,
    target: str,
    vectors: Vectors,
    flags: tuple[str, ...] = ("-O2",),
    frozen: bool = False,
    time_limit: float = 600,
) -> Measurement:
    """Compile the library in `folder` for `target`, run it on `vectors` and return its answers.

    `frozen` predicts from the context in pfn_fitted.h, without fitting the rows of `vectors`.
    Raises FileNotFoundError where the toolchain is not installed, ToolError with the compiler's
    or program's words where it fails, ValueError where the core has too little memory.
    """
    core, prefix = find_target(target), recorded_prefix(folder)
    with tempfile.TemporaryDirectory() as place:
        build = Path(place)
        copy_library(Path(folder), prefix, build, frozen)
        (build / renamed("pfn_vectors.h", prefix)).write_text(vectors.header())
        (build / "counting.h").write_text(program("counting.h"))
        (build / "measure.c").write_text(renamed(program("measure.c"), prefix))
        (build / "smallest_program.c").write_text(renamed(program("smallest_program.c"), prefix))
        most = renamed(f"-DPFN_MAX_FEATURES={vectors.x.shape[1]}", prefix)
        limits = [most, *(["-DFROZEN"] if frozen else [])]
        options = [*flags, *limits, *core.flags]
        libc = PICOLIBC[:1] if core.emulator else []
        compiled = [
            *STRICT,
            *options,
            *libc,
            "-ffunction-sections",
            "-c",
            f"{prefix}.c",
            "-o",
            "library.o",
        ]
        run_tool([core.compiler, *compiled], build)
        link = [*PICOLIBC, *core.memory] if core.emulator else []
        linked = ["-std=gnu11", *options, *link, "measure.c", "library.o", "-o", "measure"]
        run_tool([core.compiler, *linked], build)
        printed = run_tool([*core.emulator, "./measure"], build, time_limit)
        text = {"text_bytes": text_bytes(core, build, limits)} if core.emulator else {}
    costs = printed_costs(printed)
    rows = [line.split()[1:] for line in printed.splitlines() if line.startswith("logits")]
    if len(rows) != len(vectors.queries) or "differs" in printed:
        raise ToolError(f"the program on {target} did not answer as it should: {printed}")
    logits = np.array([[int(word, 16) for word in row] for row in rows], dtype=np.uint32).view(
        np.float32
    )
    return Measurement(logits, costs | text)


def copy_library(folder: Path, prefix: str, build: Path, frozen: bool = False) -> None:
    """Copy the library in `folder`, and if `frozen` its fitted context, to the folder `build`.
    Raises FileNotFoundError where a file of it is missing."""
    for name in (*LIBRARY, *([FITTED] if frozen else [])):
        source = folder / renamed(name, prefix)
        if not source.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {source.name}. Give a folder that `openpfn export c` wrote."
            )
        shutil.copy(source, build / source.name)


def program(name: str) -> str:
    """Return the text of a file of programs/: what measures and tests the library."""
    return resources.files("openpfn.export").joinpath("programs", name).read_text(encoding="utf-8")


def text_bytes(core: Target, build: Path, flags: list[str]) -> int:
    """Return the flash of smallest_program.c with the library that is compiled in `build`: code,
    weights, and what the compiler's own library adds."""
    libc = PICOLIBC[:1] if core.emulator else []
    link = ["-Os", "-nostartfiles", "-Wl,--gc-sections,-e,main", *core.flags, *libc, *core.memory]
    run_tool(
        [
            core.compiler,
            "-std=gnu11",
            *flags,
            *link,
            "smallest_program.c",
            "library.o",
            "-o",
            "smallest",
        ],
        build,
    )
    return flash_of(core, build, "smallest")


def printed_costs(printed: str) -> dict[str, int]:
    """Return the figures that a program printed, by name."""
    found = re.findall(r"^(\w+) (\d+)$", printed, re.MULTILINE)
    return {name: int(value) for name, value in found}


def flash_of(core: Target, build: Path, name: str) -> int:
    """Return the flash of the linked program `name` in `build`: code and constants."""
    sizes = run_tool([core.compiler.replace("gcc", "size"), "-A", name], build)
    kept = re.findall(
        r"^\.(?:text|rodata|ARM\.\w+|init|fini|srodata|data\.rel\.ro)\S* +(\d+)",
        sizes,
        re.MULTILINE,
    )
    return sum(map(int, kept))


def run_tool(command: list[str], folder: Path, time_limit: float = 120) -> str:
    """Run a compiler, or a program in an emulator, in `folder`, and return what it prints.

    Raises TimeoutError, ToolError where it fails, and ValueError where a chip has too little
    memory.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            text=True,
            errors="replace",
            timeout=time_limit,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # where the emulator prints
        )
    except subprocess.TimeoutExpired:
        raise TimeoutError(
            f"{command[0]} was not done after {time_limit:g} s. Verify with fewer rows."
        ) from None
    full = re.search(r"region `(\w+)' overflowed by (\d+) bytes", done.stdout)
    if full is not None:
        raise ValueError(
            f"the board has {full[2]} bytes of {full[1]} too few for this library and its test"
            " program. Verify with fewer features, a smaller network, or on another core."
        )
    if done.returncode != 0:
        raise ToolError(f"{' '.join(command)} failed:\n{done.stdout[:2000]}")
    return done.stdout
