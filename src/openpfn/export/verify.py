"""Compile an exported library for a chip, run it on the host or on an emulated core, and read what
it answers and costs."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from openpfn.export.c_code import runtime

STRICT = "-std=c99 -Wall -Wextra -Wpedantic -Wconversion -Wdouble-promotion -Werror".split()
"""Flags under which the library itself compiles."""
SANITIZERS = "-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all".split()
PICOLIBC = [
    "--specs=picolibc.specs",
    "--oslib=semihost",
    "-DPICOLIBC_DOUBLE_PRINTF_SCANF",
    "-ffunction-sections",
    "-fdata-sections",
    "-Wl,--gc-sections",
]
TOLERANCE = {"f32": 1e-5, "int8": 0.05, "int": 0.05}
"""How far logits may be from the network's in float32, as a share of the largest, by backend."""
QEMU = "-nographic -semihosting-config enable=on,target=native -icount shift=0".split()


@dataclass(frozen=True)
class Target:
    """A core for which the library is compiled, and how to run it."""

    compiler: str
    flags: tuple[str, ...]
    """Which core, and what else its code needs."""
    emulator: tuple[str, ...] = ()
    """The command before the program's path; empty where the host runs it."""
    memory: tuple[str, ...] = ()
    """Where flash and memory lie, for the linker."""
    package: str = ""
    """Debian packages with compiler, C library and emulator."""

    def missing(self) -> str | None:
        """What is needed and not installed; None if nothing."""
        programs = [self.compiler, *self.emulator[:1]]
        absent = [program for program in programs if shutil.which(program) is None]
        if not absent:
            return None
        return f"{' and '.join(absent)} not found. On Debian: apt-get install {self.package}"


def _at(flash: str, flash_size: str, ram: str, ram_size: str) -> tuple[str, ...]:
    symbols = {
        "__flash": flash,
        "__flash_size": flash_size,
        "__ram": ram,
        "__ram_size": ram_size,
        "__stack_size": "16k",
    }
    return tuple(
        f"-Wl,--defsym={name}={value.replace('k', '*1024')}" for name, value in symbols.items()
    )


def _arm(flags: str, machine: str, memory: tuple[str, ...], tick_tenths: int) -> Target:
    emulator = ("qemu-system-arm", "-M", machine, *QEMU, "-kernel")
    package = "gcc-arm-none-eabi picolibc-arm-none-eabi qemu-system-arm"
    return Target(
        "arm-none-eabi-gcc",
        (*flags.split(), f"-DTICK_TENTHS={tick_tenths}"),
        emulator,
        memory,
        package,
    )


def _riscv(flags: str) -> Target:
    emulator = ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *QEMU, "-kernel")
    package = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc"
    memory = _at("0x80000000", "0x400000", "0x80400000", "0x200000")
    return Target(
        "riscv64-unknown-elf-gcc", (*flags.split(), "-mcmodel=medany"), emulator, memory, package
    )


_MPS2 = _at("0x0", "0x400000", "0x20000000", "0x400000")
_MICROBIT = _at("0x0", "256k", "0x20000000", "16k")
TARGETS = {
    "host": Target("gcc", (), package="gcc"),
    "cortex-m0": _arm("-mcpu=cortex-m0", "microbit", _MICROBIT, 625),
    "cortex-m3": _arm("-mcpu=cortex-m3", "mps2-an385", _MPS2, 400),
    "cortex-m4f": _arm(
        "-mcpu=cortex-m4 -mfpu=fpv4-sp-d16 -mfloat-abi=hard -ffp-contract=fast",
        "mps2-an386",
        _MPS2,
        400,
    ),
    "rv32imc": _riscv("-march=rv32imc -mabi=ilp32"),
    "rv32imafc": _riscv("-march=rv32imafc -mabi=ilp32f -ffp-contract=fast"),
}
"""The cores that can be verified, by name."""


@dataclass(frozen=True)
class Vectors:
    """What the library is shown and asked."""

    x: Float[np.ndarray, "n D"]
    """Context rows, float32; NaN is missing."""
    y: Int[np.ndarray, " n"]
    """Their labels, 0 … n_classes − 1."""
    queries: Float[np.ndarray, "Q D"]
    """Rows to predict, float32."""
    n_classes: int
    cached_rows: int = 0
    """Context rows whose cells fit into the row cache."""

    def header(self) -> str:
        """pfn_vectors.h."""
        sizes = {
            "N_ROWS": len(self.x),
            "N_FEATURES": self.x.shape[1],
            "N_CLASSES": self.n_classes,
            "N_QUERIES": len(self.queries),
            "CACHED_ROWS": self.cached_rows,
        }
        lines = [f"#define {name} {value}" for name, value in sizes.items()]
        named = {"context_x": self.x, "query_x": self.queries}
        tables = [
            f"static const float {name}[] = {{{_floats(array)}}};" for name, array in named.items()
        ]
        labels = f"static const int32_t context_y[] = {{{', '.join(map(str, self.y))}}};"
        return "\n".join([*lines, "#include <math.h>", *tables, labels]) + "\n"


@dataclass(frozen=True)
class Measured:
    """What the library answered and cost on one target."""

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
) -> Measured:
    """Compile the library in `folder` for `target`, run it on `vectors` and read the answers.

    `frozen` predicts from the context in pfn_fitted.h, without fitting the rows of `vectors`.
    Raises FileNotFoundError where the toolchain is not installed, RuntimeError with the compiler's
    or program's words where it fails.
    """
    core = find_target(target)
    with tempfile.TemporaryDirectory() as place:
        build = Path(place)
        for name in (
            "pfn.h",
            "pfn_model.h",
            "pfn_weights.h",
            "pfn.c",
            *(["pfn_fitted.h"] if frozen else []),
        ):
            shutil.copy(Path(folder) / name, build / name)
        (build / "pfn_vectors.h").write_text(vectors.header())
        (build / "measure.c").write_text(runtime("measure.c"))
        limits = [f"-DPFN_MAX_FEATURES={vectors.x.shape[1]}", *(["-DFROZEN"] if frozen else [])]
        libc = PICOLIBC[:1] if core.emulator else []
        _run(
            [
                core.compiler,
                *STRICT,
                *flags,
                *limits,
                *core.flags,
                *libc,
                "-ffunction-sections",
                "-c",
                "pfn.c",
                "-o",
                "pfn.o",
            ],
            build,
        )
        link = [*PICOLIBC, *core.memory] if core.emulator else []
        _run(
            [
                core.compiler,
                "-std=gnu11",
                *flags,
                *limits,
                *core.flags,
                *link,
                "measure.c",
                "pfn.o",
                "-o",
                "measure",
            ],
            build,
        )
        printed = _run([*core.emulator, "./measure"], build, time_limit)
        text = {"text_bytes": text_bytes(core, build, limits)} if core.emulator else {}
    costs = {
        name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", printed, re.MULTILINE)
    }
    rows = [line.split()[1:] for line in printed.splitlines() if line.startswith("logits")]
    if len(rows) != len(vectors.queries) or "differs" in printed:
        raise RuntimeError(f"the program on {target} did not answer as it should: {printed}")
    logits = np.array([[int(word, 16) for word in row] for row in rows], dtype=np.uint32).view(
        np.float32
    )
    return Measured(logits, costs | text)


def find_target(name: str) -> Target:
    """The target called `name`. Raises ValueError listing the choices, FileNotFoundError where its
    toolchain is missing."""
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}. Choose one of {', '.join(TARGETS)}.")
    missing = TARGETS[name].missing()
    if missing is not None:
        raise FileNotFoundError(f"{name}: {missing}")
    return TARGETS[name]


def text_bytes(core: Target, build: Path, flags: list[str]) -> int:
    """Flash of a program that fits and predicts and does nothing else: code, weights, and what the
    compiler's own library adds."""
    (build / "least.c").write_text(runtime("least.c"))
    libc = PICOLIBC[:1] if core.emulator else []
    link = ["-Os", "-nostartfiles", "-Wl,--gc-sections,-e,main", *core.flags, *libc, *core.memory]
    _run([core.compiler, "-std=gnu11", *flags, *link, "least.c", "pfn.o", "-o", "least"], build)
    sizes = _run([core.compiler.replace("gcc", "size"), "-A", "least"], build)
    kept = re.findall(
        r"^\.(?:text|rodata|ARM\.\w+|init|fini|srodata|data\.rel\.ro)\S* +(\d+)",
        sizes,
        re.MULTILINE,
    )
    return sum(map(int, kept))


def relative_error(logits: Float[np.ndarray, "Q k"], expected: Float[np.ndarray, "Q k"]) -> float:
    """Largest difference between logits, as a share of the largest expected one; classes without
    context rows must agree."""
    known = np.isfinite(expected)
    if not (np.isfinite(logits) == known).all():
        return np.inf
    return float(np.abs(logits - expected)[known].max() / np.abs(expected[known]).max())


def _floats(array: Float[np.ndarray, "n D"]) -> str:
    return ", ".join(
        "NAN" if np.isnan(value) else f"{value:.9e}f"
        for value in np.asarray(array, dtype=np.float32).ravel()
    )


def _run(command: list[str], folder: Path, time_limit: float = 120) -> str:
    done = subprocess.run(  # the emulator prints to stderr
        command,
        cwd=folder,
        text=True,
        timeout=time_limit,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    full = re.search(r"region `(\w+)' overflowed by (\d+) bytes", done.stdout)
    if full is not None:
        raise ValueError(
            f"the board has {full[2]} bytes of {full[1]} too few for this library and its test"
            " program. Verify with fewer features, a smaller network, or on another core."
        )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[:2000]}")
    return done.stdout
