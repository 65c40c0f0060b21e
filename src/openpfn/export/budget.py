"""What an exported network needs of a chip, told before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass

from openpfn.configs.tabular import TabularConfig
from openpfn.export.c_code import (
    BACKENDS,
    Backend,
    CodeOptions,
    check_supported,
    n_knots,
    separate_reading,
)

CODE_BYTES = {"fpu": 7 * 1024, "soft": 13824}
"""Most that fit and predict take without weights, at -O2, with what the compiler's library adds on
cores with and without an FPU."""
PREDICT_CODE_BYTES = {"fpu": 4 * 1024, "soft": 9728}
"""The same for predict alone, from a frozen context."""
INSTRUCTIONS: dict[Backend, dict[str, int]] = {
    "f32": {"fpu": 7, "soft": 230},
    "int8": {"fpu": 9, "soft": 270},
    "int": {"fpu": 9, "soft": 18},
}
"""Instructions that a multiplication and addition take, everything around it included: within a
factor of 2 of what any core executes."""


@dataclass(frozen=True)
class Chip:
    """What a chip has for a program."""

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
    """What one backend needs for tables of one size."""

    backend: Backend
    """What computes."""
    weight_bytes: int
    """Weights in flash, exactly."""
    context_bytes: int
    """What is kept of the context, exactly: in memory, or in flash where it is frozen."""
    scratch_bytes: int
    """Working memory of fit and predict, exactly."""
    row_bytes: int
    """The raw context rows and labels, if they are kept in memory while fitting; a stream needs
    none."""
    cache_bytes: int
    """The row cache for all context rows, which is optional."""
    stack_bytes: int
    """More than the deepest stack that was measured on any core."""
    fit_operations: int
    """Multiplications and additions in pairs, without the row cache."""
    cached_fit_operations: int
    """The same with it."""
    predict_operations: int
    """For one row."""
    frozen: bool = False
    """Whether the context was fitted elsewhere and stays in flash."""

    def flash_bytes(self, has_fpu: bool) -> int:
        """Weights, at most the code, and a frozen context."""
        code = (PREDICT_CODE_BYTES if self.frozen else CODE_BYTES)["fpu" if has_fpu else "soft"]
        return self.weight_bytes + code + (self.context_bytes if self.frozen else 0)

    @property
    def ram_bytes(self) -> int:
        """Context (unless it is frozen), scratch and stack."""
        return (0 if self.frozen else self.context_bytes) + self.scratch_bytes + self.stack_bytes

    def instructions(self, operations: int, has_fpu: bool) -> int:
        """Instructions for so many of the operations above, within a factor of 2."""
        return operations * INSTRUCTIONS[self.backend]["fpu" if has_fpu else "soft"]


def budget(
    config: TabularConfig,
    n_rows: int,
    n_features: int,
    n_classes: int,
    backend: Backend,
    max_features: int | None = None,
    max_classes: int | None = None,
    frozen: bool = False,
) -> Budget:
    """What `config` needs for a context of `n_rows` × `n_features`, compiled for `max_features` and
    `max_classes` (the table's, if absent).

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
    width = config.d_model
    cell = width * (
        2 if backend == "int" else 3
    )  # a cell, its key and its value, in words of 4 bytes
    padded = -(-(max_features + max_classes) // 4) * 4
    exponents = -(-width // 4) * 4 if backend == "int" else 0
    state = 4 * state_floats(config) + exponents
    n_states = (config.n_layers - 1) * (max_features + 1) + 1
    fit, cached, predict = operations(config, n_rows, n_features + 1)
    return Budget(
        backend=backend,
        weight_bytes=weight_bytes(config, max_classes, backend),
        context_bytes=24 + padded + 12 * max_features + n_states * state,
        scratch_bytes=4 * max_features
        + 4
        * max((max_features + 1) * (cell + 1), 3 * max_features * (max_classes + 1) + max_classes),
        row_bytes=n_rows * 4 * (n_features + 1),
        cache_bytes=n_rows * (n_features + 1) * width * 4,
        stack_bytes=608 + 4 * (8 * width + config.d_mlp + max_classes),
        fit_operations=fit,
        cached_fit_operations=cached,
        predict_operations=predict,
        frozen=frozen,
    )


def shortages(needed: Budget, chip: Chip) -> list[str]:
    """What the chip has too little of; nothing where the library fits."""
    short = []
    for name, wanted, has in (
        ("flash", needed.flash_bytes(chip.has_fpu), chip.flash_bytes),
        ("RAM", needed.ram_bytes, chip.ram_bytes),
    ):
        if wanted > has:
            short.append(f"{wanted:,} bytes of {name} are needed and {has:,} are there")
    return short


def all_backends(
    config: TabularConfig,
    n_rows: int,
    n_features: int,
    n_classes: int,
    max_features: int | None = None,
    max_classes: int | None = None,
    frozen: bool = False,
) -> dict[Backend, Budget]:
    """The budget of each backend that carries the network's attention."""
    backends: list[Backend] = [
        backend for backend in BACKENDS if backend != "int" or config.attention_type == "linear"
    ]
    return {
        one: budget(config, n_rows, n_features, n_classes, one, max_features, max_classes, frozen)
        for one in backends
    }


def state_floats(config: TabularConfig) -> int:
    """Numbers that a layer keeps of one column."""
    head = config.d_model // config.n_heads
    if config.attention_type == "ridge":
        return config.n_heads * (head * (head + 1) // 2 + head * head)
    return config.d_model * head + config.d_model


def matrices(config: TabularConfig, n_classes: int) -> list[tuple[int, int]]:
    """Rows and columns of every matrix in flash."""
    width, hidden = config.d_model, config.d_mlp
    layer = [(width, width), (2 * width, width), (width, width)] * 2 + [
        (hidden, width),
        (width, hidden),
    ]
    tables = [(n_knots(config) + config.missing_flags, width)] + [(n_classes + 2, width)] * (
        1 + config.target_aware
    )
    reading = [(width, width)] * (2 * (config.n_layers - 1) if separate_reading(config) else 0)
    return layer * config.n_layers + tables + reading + [(hidden, width), (n_classes, hidden)]


def weight_bytes(config: TabularConfig, n_classes: int, backend: Backend) -> int:
    """Flash for the weights: matrices, and biases in 4 bytes; those of hidden layers in 2 where
    arithmetic is in integers."""
    n_hidden = (config.n_layers + 1) * config.d_mlp
    n_biases = n_hidden + config.n_layers * config.d_model + n_classes
    if config.attention_type == "ridge":
        n_biases += config.n_layers * config.n_heads
    shapes = matrices(config, n_classes)
    if backend == "f32":
        return 4 * (n_biases + sum(rows * columns for rows, columns in shapes))
    spared = 2 * n_hidden if backend == "int" else 0
    return 4 * n_biases - spared + sum(rows * columns + 2 * rows for rows, columns in shapes)


def operations(config: TabularConfig, n_rows: int, n_columns: int) -> tuple[int, int, int]:
    """Pairs of multiplication and addition of fit, of fit with the row cache, and of one
    prediction."""
    width, state = config.d_model, state_floats(config)
    embed = 3 * width * n_columns

    def columns(asking: int) -> int:
        return n_columns * 2 * width**2 + asking * 2 * width * (width + n_columns)

    finish = 2 * width**2 + state + 2 * width * config.d_mlp  # one cell
    show = 2 * width**2 + state
    last = config.n_layers - 1
    inner = columns(n_columns) + n_columns * finish
    fit = cached = 0
    for layer in range(config.n_layers):
        ends = columns(1) + show if layer == last else columns(n_columns) + n_columns * show
        fit += embed + layer * inner + ends
        cached += ends + (n_columns * finish if layer else embed)
    predict = embed + last * inner + columns(1) + finish + width * config.d_mlp
    return n_rows * fit, n_rows * cached, predict
