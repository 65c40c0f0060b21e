"""`openpfn benchmark scale`: measure what was asked for, and hold it against the bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openpfn.benchmark.record import measured_rows
from openpfn.benchmark.scale.config import MEASUREMENTS, ScaleConfig

BARS = {
    "generate": ("ratio", "at least", 1.8),
    "equal": ("difference_accumulation_1", "at most", 1e-5),
    "ranks": ("ratio_accumulation_1", "at least", 1.7),
    "kills": ("tasks_lost_or_doubled", "at most", 0),
    "read": ("ratio", "at least", 10),
    "rows": ("linear_last_row_to_row_before", "at most", 1.2),
}
"""What is expected of two cores: a figure of the row, and its bar."""


def run(config: ScaleConfig) -> dict[str, Any]:
    """Measure, write `config.out`, print a line for each measurement; the results."""
    from openpfn.benchmark.scale.measure import ALL

    return measured_rows(config, MEASUREMENTS, lambda name: ALL[name](config), line)


def line(row: Mapping[str, Any]) -> str:
    """Return a measurement in one line."""
    name, (figure, side, bar) = row["name"], BARS[row["name"]]
    told = ", ".join(
        f"{key} {value:.4g}" if isinstance(value, int | float) else f"{key} {value}"
        for key, value in row.items()
        if key not in ("name", "seconds_of_all")
    )
    value = row.get(figure)
    if value is None:
        return f"{name}: {told}"
    reached = value >= bar if side == "at least" else value <= bar
    return f"{name}: {told}  ({figure} {side} {bar:g}: {'reached' if reached else 'MISSED'})"
