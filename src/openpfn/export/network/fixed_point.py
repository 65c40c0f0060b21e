"""Write a network in integers: 8-bit weights, 16-bit activations, and fraction bits by kind of
number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from jaxtyping import Float, Int8, UInt8

from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.quantize import from_upper_halves, quantise_rows

Weights = dict[str, Any]
NORMED_BITS = 14
"""Fraction bits of a normalised vector, whose length is 1; √E is folded into what reads it."""
SHARE_BITS = 14
"""Fraction bits of the factors of embedding rows."""
HEADROOM = 1.25
"""Factor by which numbers may exceed those on prior tasks before they are clipped."""
LONGEST_SUM = 2.0**30
"""Bound of every sum of products: half of what 32 bits hold."""
FEWEST_CELL_BITS = 8
"""Least fraction bits of the cells: fewer would be coarser than 8-bit weights."""
MOST_CELL_BITS = 20
"""Most fraction bits of the cells: with more, the ε of the normalisation would overflow."""
BITS = {
    "column_query": (7, 14),
    "column_key": (7, 14),
    "column_value": (0, 14),
    "row_query": (5, 14),
    "row_key": (5, 14),
    "row_value": (0, 14),
    "hidden": (4, 14),
}
"""Least and most fraction bits of each kind of 16-bit number."""


@dataclass(frozen=True)
class IntegerMatrix:
    """`weight` · `factor` / 2^`shift`, by rows, stands for the matrix in the units of what it reads
    and gives."""

    weight: Int8[np.ndarray, "rows columns"]
    factor: UInt8[np.ndarray, " rows"]
    shift: UInt8[np.ndarray, " rows"]


@dataclass(frozen=True)
class Exponents:
    """Fraction bits and bounds of each kind of number."""

    largest_number: int
    """Bound of 16-bit numbers: products of a head's queries and keys then add up in 32 bits."""
    sum_shift: int
    """Bits by which a row's sum is shifted right before it is scaled."""
    cell_bits: int
    """Fraction bits of the cells."""
    bits: dict[str, int]
    """Fraction bits of the 16-bit numbers, by kind."""

    def macros(self, config: TabularConfig) -> dict[str, int]:
        """Return the macros by which the C code knows them."""
        head_bits, key_bits = (
            (config.d_model // config.n_heads - 1).bit_length(),
            self.bits["row_key"],
        )
        return {
            "PFN_LARGEST_NUMBER": self.largest_number,
            "PFN_SUM_SHIFT": self.sum_shift,
            "PFN_CELL_BITS": self.cell_bits,
            "PFN_SCORE_BITS": self.bits["column_query"] + self.bits["column_key"],
            "PFN_QUERY_BITS": self.bits["row_query"],
            "PFN_KEY_BITS": key_bits,
            "PFN_HIDDEN_BITS": self.bits["hidden"],
            "PFN_SQUARE_BITS": (31 - (config.d_model - 1).bit_length()) // 2,
            "PFN_EPSILON": max(1, round(config.d_model * 1e-6 * 4.0**self.cell_bits)),
            "PFN_FEATURE_BITS": min(14, 16 - head_bits),
            "PFN_LONGEST_FEATURE": (
                ((self.largest_number << (20 - key_bits)) + (1 << 20)).bit_length()
            ),
        }


def choose_exponents(
    weights: Weights, config: TabularConfig, ranges: dict[str, float]
) -> Exponents:
    """Return exponents for numbers that reach `ranges` on prior tasks; cells have room for whatever
    the weights can make of any row.

    Raises ValueError for a network too wide for 32-bit sums, or whose weights are too large.
    """
    head_bits = (config.d_model // config.n_heads - 1).bit_length()
    largest = 1 << (15 - (head_bits + 1) // 2)
    check_widths(config)
    bits = {}
    for kind, (fewest, most) in BITS.items():
        fitting = math.floor(math.log2(largest / max(HEADROOM * ranges[kind], 1e-9)))
        bits[kind] = min(max(fitting, fewest), most)
    longest = (
        127
        * 255
        * max(
            math.sqrt(config.d_model) * 2**NORMED_BITS,
            config.d_model * largest,
            config.d_mlp * largest,
        )
    )
    sum_shift = max(0, math.ceil(math.log2(1.01 * longest / LONGEST_SUM)))
    most = largest_cell(weights, bits, largest, config.n_loops)
    exponents = Exponents(
        largest,
        sum_shift,
        min(math.floor(math.log2(LONGEST_SUM / (1.1 * most))), MOST_CELL_BITS),
        bits,
    )
    while (
        exponents.cell_bits >= FEWEST_CELL_BITS and largest_factor(weights, config, exponents) > 255
    ):
        exponents = replace(exponents, cell_bits=exponents.cell_bits - 1)
    if exponents.cell_bits < FEWEST_CELL_BITS:
        raise ValueError(
            f"the weights are too large for the backend int: cells could reach {most:.0f}, which"
            f" leaves fewer than {FEWEST_CELL_BITS} bits for a fraction. Take backend int8 or f32."
        )
    return exponents


def check_widths(config: TabularConfig) -> None:
    """Raise ValueError for a network too wide for sums of 32 bits."""
    if config.d_model > 256 or config.d_mlp > 512:
        raise ValueError(
            f"d_model is {config.d_model} and d_mlp {config.d_mlp}; sums of the backend int hold at"
            " most 256 and 512. Take backend int8 or f32, or a smaller network."
        )


def largest_cell(weights: Weights, bits: dict[str, int], largest: int, n_loops: int) -> float:
    """Return a bound of all cells and logits for any rows: numbers in 16 bits are bounded."""
    bounds = {kind: largest * 2.0**-n for kind, n in bits.items()}
    total = sum(
        float(2 * np.abs(weights[name]).sum(axis=0).max())
        for name in ("values", "targets", "hints")
        if name in weights
    )
    for layer, reading in zip_longest(weights["layers"] * n_loops, weights.get("reading", [])):
        rows = max(row_sums(layer["row_out"]), row_sums(reading["out"]) if reading else 0.0)
        total += row_sums(layer["column_out"]) * bounds["column_value"] + rows * bounds["row_value"]
        total += row_sums(layer["out"]) * bounds["hidden"] + float(np.abs(layer["out_bias"]).max())
    return max(
        total,
        row_sums(weights["head_out"]) * bounds["hidden"]
        + float(np.abs(weights["head_out_bias"]).max()),
    )


def row_sums(matrix: Float[np.ndarray, "rows columns"]) -> float:
    """Return the largest number that a matrix makes of numbers of size 1."""
    return float(np.abs(matrix).sum(axis=1).max())


READS_AND_GIVES = {
    "column_query": ("normed", "column_query"),
    "column_key_value": ("normed", "column_key column_value"),
    "row_query": ("normed", "row_query"),
    "row_key_value": ("normed", "row_key row_value"),
    "column_out": ("column_value", "cell"),
    "row_out": ("row_value", "cell"),
    "weight": ("normed", "hidden"),
    "bias": ("one", "hidden"),
    "out": ("hidden", "cell"),
    "out_bias": ("one", "cell"),
    "head_out": ("hidden", "cell"),
    "head_out_bias": ("one", "cell"),
    "values": ("share", "cell"),
    "targets": ("share", "cell"),
    "hints": ("share", "cell"),
}
"""Which kind of number each matrix or bias reads and gives; halves of its rows may give different
kinds."""
READING = {"query": ("normed", "row_query"), "out": ("row_value", "cell")}
"""The same for the weights with which query rows read."""


def in_steps(weights: Weights, config: TabularConfig, exponents: Exponents) -> Weights:
    """Return the weights as they act on integers: every matrix and bias in steps of what it gives
    for steps of what it reads."""
    step = {kind: 2.0**-n for kind, n in exponents.bits.items()}
    step |= {
        "normed": math.sqrt(config.d_model) / 2**NORMED_BITS,
        "share": 2.0**-SHARE_BITS,
        "one": 1.0,
        "cell": 2.0**-exponents.cell_bits,
    }
    powers_of_two = {"column_query": math.log2(math.e)}  # C computes this softmax with powers of 2

    def scaled(value: Any, name: str, roles: dict[str, tuple[str, str]]) -> Any:
        if isinstance(value, list):
            return [walk(part, READING if name == "reading" else READS_AND_GIVES) for part in value]
        if isinstance(value, dict):
            return walk(value, roles)
        read, given = roles[name]
        steps = np.array([step[kind] for kind in given.split()])
        per_row = np.repeat(steps, len(value) // len(steps))
        if name in ("values", "targets", "hints") or value.ndim == 1:
            return (value * (step[read] / steps[0])).astype(np.float32)
        return (value * (step[read] * powers_of_two.get(name, 1.0) / per_row[:, None])).astype(
            np.float32
        )

    def walk(part: Weights, roles: dict[str, tuple[str, str]]) -> Weights:
        return {name: scaled(value, name, roles) for name, value in part.items()}

    return walk(weights, READS_AND_GIVES)


def largest_factor(weights: Weights, config: TabularConfig, exponents: Exponents) -> float:
    """Return the largest factor by which a row's shifted sum is multiplied; 8 bits hold 255."""

    def most(value: Any, name: str) -> float:
        if isinstance(value, dict):
            return max(most(part, key) for key, part in value.items())
        if isinstance(value, list):
            return max((most(part, name) for part in value), default=0.0)
        return (
            0.0
            if value.ndim == 1
            else float(np.abs(value).max()) * 1.1 / 127 * 2.0 ** sum_shift_of(name, exponents)
        )

    return most(in_steps(weights, config, exponents), "")


def sum_shift_of(name: str, exponents: Exponents) -> int:
    """Return the bits by which sums of a matrix's rows are shifted before they are scaled; rows of
    embeddings are not summed."""
    return (
        0
        if READS_AND_GIVES.get(name, READING.get(name, ("", "")))[0] == "share"
        else exponents.sum_shift
    )


def integer_weights(weights: Weights, config: TabularConfig, exponents: Exponents) -> Weights:
    """Return the weights as the C structs of the backend int hold them."""

    def whole(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: whole(part, key) for key, part in value.items()}
        if isinstance(value, list):
            return [whole(part, name) for part in value]
        if value.ndim == 2:
            return integer_matrix(value, sum_shift_of(name, exponents))
        most = exponents.largest_number if name == "bias" else 2**30
        return np.clip(np.rint(value.astype(np.float64)), -most, most).astype(np.int64)

    return whole(in_steps(weights, config, exponents), "")


def integer_matrix(matrix: Float[np.ndarray, "rows columns"], sum_shift: int) -> IntegerMatrix:
    """Return `matrix`, which acts on integers, with its rows' scales as factor / 2^shift for sums
    shifted by `sum_shift`."""
    small = quantise_rows(matrix)
    scale = from_upper_halves(small.scale).astype(np.float64) * 2.0**sum_shift
    fraction, exponent = np.frexp(scale)  # scale = fraction · 2^exponent, ½ ≤ fraction < 1
    shift = np.minimum(8 - exponent, 29)
    factor = np.rint(np.ldexp(fraction, exponent + shift))
    assert (shift >= 0).all(), "a scale too steep for its exponents"
    return IntegerMatrix(small.weight, factor.astype(np.uint8), shift.astype(np.uint8))
