"""Compare what an exported library answers, on the host, an emulated core or a board, with the
network in Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.export.verification.measure import Measurement

TOLERANCE = {"f32": 1e-5, "int8": 0.05, "int": 0.05}
"""How far logits may be from the network's in float32, as a share of the largest, by backend."""


@dataclass(frozen=True)
class Verification:
    """A measured library beside the logits that it had to give."""

    record: dict[str, Any]
    """The record of the export."""
    measurement: Measurement
    expected: Float[np.ndarray, "Q k"]
    """The reference logits."""
    n_rows: int
    """Context rows."""

    @property
    def error(self) -> float:
        """The relative error of the logits."""
        return relative_error(self.measurement.logits, self.expected)

    @property
    def tolerance(self) -> float:
        """The largest error that the backend may make."""
        return TOLERANCE[self.record["backend"]]

    @property
    def agreement(self) -> float:
        """The share of rows whose most probable class is the same."""
        classes = self.measurement.logits.argmax(axis=1)
        return float((classes == self.expected.argmax(axis=1)).mean())

    def lines(self, core: str, data: str | None, frozen: bool) -> list[str]:
        """Return the report: the error, and what the library cost on `core`."""
        costs, record = self.measurement.costs, self.record
        shown = (
            f"the frozen context of {record['context']}"
            if frozen
            else f"{self.n_rows} context rows of {data}"
        )
        lines = [
            f"{record['checkpoint']} ({record['backend']}) on {core}, {shown}",
            (
                f"  logits differ by at most {self.error:.1e} of the largest; the same class for"
                f" {self.agreement:.0%} of {len(self.expected)} rows"
            ),
            (
                f"  static RAM {self.measurement.ram_bytes:,} bytes: context"
                f" {costs['context_bytes']:,}, scratch {costs['scratch_bytes']:,}"
            ),
        ]
        if "text_bytes" in costs:
            lines += [
                (
                    f"  stack      fit {costs['fit_stack']:,}, predict"
                    f" {costs['predict_stack']:,} bytes"
                ),
                (
                    f"  flash      {costs['text_bytes']:,} bytes: code and weights, for fit and"
                    " predict"
                ),
                (
                    f"  executed   fit {costs['fit_instructions']:,}, predict"
                    f" {costs['predict_instructions']:,} instructions"
                ),
            ]
        if "predict_microseconds" in costs:
            lines.append(f"  predict    {costs['predict_microseconds']:,} microseconds, the median")
        return lines


def relative_error(logits: Float[np.ndarray, "Q k"], expected: Float[np.ndarray, "Q k"]) -> float:
    """Return the largest difference between logits, as a share of the largest expected one;
    infinity where classes without context rows are not the same."""
    present = np.isfinite(expected)
    absent = np.isneginf(expected)
    if not (np.isfinite(logits) == present).all() or not np.isneginf(logits[absent]).all():
        return np.inf
    difference = float(np.abs(logits[present] - expected[present]).max())
    largest = float(np.abs(expected[present]).max())
    if difference == 0:
        return 0.0  # also where a single class is certain and all logits are 0
    return difference / largest if largest > 0 else np.inf
