"""Memory and work that an exported network needs of a chip, known before anything is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openpfn.export.c_code import check_supported, supported_backends
from openpfn.export.network.families import family_of
from openpfn.export.network.family import Family
from openpfn.export.options import Backend, CodeOptions

CODE_BYTES = {"fpu": 7 * 1024, "soft": 13824}
"""Upper bound of the code of fit and predict at -O2, with what the compiler's library adds, on
cores with and without an FPU."""
PREDICT_CODE_BYTES = {"fpu": 4 * 1024, "soft": 9728}
"""Upper bound of the code of predict alone, from a frozen context."""
INSTRUCTIONS: dict[Backend, dict[str, int]] = {
    "f32": {"fpu": 7, "soft": 230},
    "int8": {"fpu": 9, "soft": 270},
    "int": {"fpu": 9, "soft": 18},
}
"""Instructions that a multiplication and addition take, with everything around it: right within a
factor of 2 on any core."""


@dataclass(frozen=True)
class Chip:
    """Memory that a chip has for a program."""

    flash_bytes: int
    ram_bytes: int
    has_fpu: bool


CHIPS = {
    "esp32-wroom": Chip(4 * 2**20, 320 * 1024, True),
    "esp32-c3": Chip(4 * 2**20, 320 * 1024, False),
    "esp32-c6": Chip(4 * 2**20, 448 * 1024, False),
    "esp32-p4": Chip(16 * 2**20, 704 * 1024, True),
    "rp2040": Chip(2 * 2**20, 264 * 1024, False),
    "microbit": Chip(256 * 1024, 16 * 1024, False),
    "samd21": Chip(256 * 1024, 32 * 1024, False),
    "stm32f030f4": Chip(16 * 1024, 4 * 1024, False),
    "stm32f103c8": Chip(64 * 1024, 20 * 1024, False),
    "stm32f411": Chip(512 * 1024, 128 * 1024, True),
    "nrf52840": Chip(1024 * 1024, 256 * 1024, True),
}
"""Chips by name; of flash and memory that boards share with a radio, what is usually left."""


@dataclass(frozen=True)
class Budget:
    """Memory and work that one backend needs for tables of one size."""

    backend: Backend
    """Which numbers compute."""
    weight_bytes: int
    """Weights in flash, exactly."""
    context_bytes: int
    """The fitted context, exactly: in memory, or in flash where it is frozen."""
    scratch_bytes: int
    """Working memory of fit and predict, exactly."""
    row_bytes: int
    """The raw context rows and labels, if they are kept in memory while fitting; a stream needs
    none."""
    cache_bytes: int
    """The row cache for all context rows, which is optional."""
    stack_bytes: int
    """An upper bound of the stack, measured on every core."""
    fit_operations: int
    """Pairs of multiplication and addition of fit, without the row cache."""
    cached_fit_operations: int
    """Pairs of fit with a full row cache."""
    predict_operations: int
    """Pairs of one prediction."""
    frozen: bool = False
    """Whether the context was fitted elsewhere and stays in flash."""

    def flash_bytes(self, has_fpu: bool) -> int:
        """Return the flash at most: weights, code, and a frozen context."""
        code = (PREDICT_CODE_BYTES if self.frozen else CODE_BYTES)["fpu" if has_fpu else "soft"]
        return self.weight_bytes + code + (self.context_bytes if self.frozen else 0)

    @property
    def ram_bytes(self) -> int:
        """Context (unless it is frozen), scratch memory and stack."""
        return (0 if self.frozen else self.context_bytes) + self.scratch_bytes + self.stack_bytes

    def instructions(self, operations: int, has_fpu: bool) -> int:
        """Return the instructions that so many pairs take, within a factor of 2."""
        return operations * INSTRUCTIONS[self.backend]["fpu" if has_fpu else "soft"]


def budget(
    config: Any,
    n_rows: int,
    n_features: int,
    n_classes: int,
    backend: Backend,
    max_features: int | None = None,
    max_classes: int | None = None,
    frozen: bool = False,
) -> Budget:
    """Return what `config` needs for a context of `n_rows` × `n_features`, compiled for
    `max_features` and `max_classes` (the table's, if absent).

    Raises ValueError for a table or maxima that cannot be, and for a network that the C code does
    not carry.
    """
    max_features = n_features if max_features is None else max_features
    max_classes = max(n_classes, 2) if max_classes is None else max_classes
    for name, value, most in (
        ("rows", n_rows, 2**31 - 2),
        ("features", n_features, max_features),
        ("classes", n_classes, max_classes),
    ):
        if not 1 <= value <= most:
            raise ValueError(f"{name} is {value}, must lie between 1 and {most}.")
    check_supported(config, CodeOptions(backend, max_features, max_classes))
    family, width = family_of(config), config.d_model
    padded = -(-(max_features + max_classes) // 4) * 4
    state = family.mechanism.state_layout(backend).itemsize
    n_states = (family.n_passes - 1) * (max_features + 1) + 1
    fit, cached, predict = operations(family, n_rows, n_features + 1)
    return Budget(
        backend=backend,
        weight_bytes=weight_bytes(family, max_classes, backend),
        context_bytes=24
        + padded
        + 12 * max_features
        + family.own_context_bytes()
        + n_states * state,
        scratch_bytes=4 * max_features + family.working_bytes(max_features, max_classes, backend),
        row_bytes=n_rows * 4 * (n_features + 1),
        cache_bytes=n_rows * (n_features + 1) * width * 4,
        stack_bytes=608 + 4 * (8 * width + config.d_mlp + max_classes),
        fit_operations=fit,
        cached_fit_operations=cached,
        predict_operations=predict,
        frozen=frozen,
    )


def shortages(needed: Budget, chip: Chip) -> list[str]:
    """Return what the chip has too little of; nothing where the library fits."""
    short = []
    for name, wanted, has in (
        ("flash", needed.flash_bytes(chip.has_fpu), chip.flash_bytes),
        ("RAM", needed.ram_bytes, chip.ram_bytes),
    ):
        if wanted > has:
            short.append(f"{wanted:,} bytes of {name} are needed and {has:,} are there")
    return short


def all_backends(
    config: Any,
    n_rows: int,
    n_features: int,
    n_classes: int,
    max_features: int | None = None,
    max_classes: int | None = None,
    frozen: bool = False,
) -> dict[Backend, Budget]:
    """Return the budget of each backend that carries the network's attention."""
    return {
        one: budget(config, n_rows, n_features, n_classes, one, max_features, max_classes, frozen)
        for one in supported_backends(config)
    }


def weight_bytes(family: Family, n_classes: int, backend: Backend) -> int:
    """Return the flash for the weights: matrices, and what stands in none of them."""
    plain, shapes = family.plain_bytes(n_classes, backend), family.matrices(n_classes)
    if backend == "f32":
        return plain + 4 * sum(rows * columns for rows, columns in shapes)
    return plain + sum(rows * columns + 2 * rows for rows, columns in shapes)


def operations(family: Family, n_rows: int, n_columns: int) -> tuple[int, int, int]:
    """Return the pairs of multiplication and addition of fit, of fit with the row cache, and of one
    prediction."""
    config, state = family.config, family.mechanism.state_numbers()
    width, columns = config.d_model, family.column_operations
    embed = family.embedding_operations(n_columns)
    finish = 2 * width**2 + state + 2 * width * config.d_mlp  # one cell
    show = 2 * width**2 + state
    last = family.n_passes - 1
    inner = columns(n_columns, n_columns) + n_columns * finish
    fit = cached = 0
    for layer in range(family.n_passes):
        asking, shown = (1, 1) if layer == last else (n_columns, n_columns)
        ends = columns(n_columns, asking) + shown * show
        fit += embed + layer * inner + ends
        cached += ends + (n_columns * finish if layer else embed)
    predict = embed + last * inner + columns(n_columns, 1) + finish + width * config.d_mlp
    return n_rows * fit, n_rows * cached, predict


def report(source: str, table: tuple[int, int, int], needed: Mapping[Backend, Budget]) -> list[str]:
    """Return the budgets of the network `source` for a table of so many rows, features and classes
    as lines of text."""
    some = next(iter(needed.values()))
    rows, features, classes = table
    kept = ", the context in flash" if some.frozen else ""
    lines = [f"{source}, {rows} context rows × {features} features, {classes} classes{kept}"]
    for backend, one in needed.items():
        flash = " or ".join(
            f"{one.flash_bytes(fpu):,} {'with' if fpu else 'without'} an FPU"
            for fpu in (True, False)
        )
        predict, fit = (
            " or ".join(in_millions(one.instructions(pairs, fpu)) for fpu in (True, False))
            for pairs in (one.predict_operations, one.fit_operations)
        )
        context = 0 if one.frozen else one.context_bytes
        lines += [
            f"  {backend:<5} flash    at most {flash} bytes, of which weights {one.weight_bytes:,}",
            (
                f"        RAM      {one.ram_bytes:,} bytes: context {context:,}, scratch"
                f" {one.scratch_bytes:,}, stack at most {one.stack_bytes:,}"
            ),
            f"        predict  some {predict} instructions{'' if one.frozen else f'; fit {fit}'}",
        ]
    if not some.frozen:
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


def chip_report(chip: str, needed: Mapping[Backend, Budget]) -> list[str]:
    """Return a line per backend that says whether it fits the chip called `chip`."""
    return [
        f"  {backend} on {chip}: {'; '.join(shortages(one, CHIPS[chip])) or 'fits'}"
        for backend, one in needed.items()
    ]


def check_fits(source: str, chip: str, needed: Mapping[Backend, Budget]) -> None:
    """Raise ValueError where no backend of the network `source` fits the chip called `chip`."""
    lacking = {backend: shortages(one, CHIPS[chip]) for backend, one in needed.items()}
    if not all(lacking.values()):
        return
    closest = min(
        needed, key=lambda one: (len(lacking[one]), needed[one].flash_bytes(CHIPS[chip].has_fpu))
    )
    raise ValueError(
        f"{source} does not fit {chip}, even as {closest}: {'; '.join(lacking[closest])}. Take a"
        " smaller network."
    )


def in_millions(count: int) -> str:
    """Return a count to two digits."""
    return f"{count / 1e6:.2g} M" if count < 1e8 else f"{count / 1e6:,.0f} M"
