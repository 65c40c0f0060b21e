"""Cores for which an exported library is compiled, and the emulators that run it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

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
QEMU = "-nographic -semihosting-config enable=on,target=native -icount shift=0".split()


class ToolError(RuntimeError, ValueError):
    """A compiler or a compiled program failed; a ValueError, since a damaged library is the usual
    reason."""


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
        """Return the programs that are needed and not installed, with a hint; None if all are."""
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


def find_target(name: str) -> Target:
    """Return the target called `name`.

    Raises ValueError listing the choices, FileNotFoundError where its toolchain is missing.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}. Choose one of {', '.join(TARGETS)}.")
    missing = TARGETS[name].missing()
    if missing is not None:
        raise FileNotFoundError(f"{name}: {missing}")
    return TARGETS[name]
