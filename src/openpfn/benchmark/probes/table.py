"""`draw_table`: the table of one cell of the grid and one seed, with the truth behind its
target."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Num

from openpfn.benchmark.probes.columns import KINDS, standardised
from openpfn.benchmark.probes.config import ProbesConfig
from openpfn.benchmark.probes.structures import STRUCTURES
from openpfn.tables.schema import Kind

VERSION = 1
"""Number of this form of the tables: another one gives other tables from the same seeds."""
NOISE = 0.3
"""Standard deviation of the noise, in units of the function's."""
N_MORE = 4000
"""Further rows by which the function is standardised and cut, so that both hardly depend on the
rows of the table."""


@dataclass(frozen=True)
class Cell:
    """One place in the grid."""

    structure: str
    """Name in `STRUCTURES`."""
    kind: str
    """Kind of its columns."""
    width: int
    """Number of columns."""
    rows: int
    """Number of context rows."""

    @property
    def name(self) -> str:
        """Name by which patterns choose it."""
        return f"{self.structure}/{self.kind}/{self.width}/{self.rows}"


@dataclass(frozen=True)
class ProbeTable:
    """A table parted into context and query rows."""

    X: pd.DataFrame
    """Context columns."""
    y: Num[np.ndarray, " n"]
    """Context targets: classes 0 and 1, or numbers."""
    X_query: pd.DataFrame
    """Query columns."""
    y_query: Num[np.ndarray, " Q"]
    """Query targets."""
    optimal: Float[np.ndarray, " Q"]
    """What nobody can beat: the true probability of class 1, or the true mean."""
    kinds: Mapping[Any, Kind]
    """Kind of each column."""


def grid(config: ProbesConfig) -> list[Cell]:
    """The cells that `config` asks for. Raises ValueError, with the choices, for unknown names and
    where none is left."""
    for field, choices in (("structures", tuple(STRUCTURES)), ("kinds", KINDS)):
        unknown = [name for name in getattr(config, field) if name not in choices]
        if unknown:
            raise ValueError(f"{field} holds {unknown[0]!r}. Choose of {', '.join(choices)}.")
    cells = [
        Cell(name, kind, width, rows)
        for name, structure in STRUCTURES.items()
        for kind in KINDS
        for width in config.widths
        for rows in config.rows
        if name in (config.structures or STRUCTURES)
        and kind in (config.kinds or KINDS)
        and kind in structure.kinds
        and width >= structure.fewest
    ]
    if config.cells:
        patterns = config.cells
        cells = [cell for cell in cells if any(fnmatch(cell.name, one) for one in patterns)]
    if not cells:
        raise ValueError(
            "no cell of the grid is left. Cells are called STRUCTURE/KIND/WIDTH/ROWS, such as"
            " products/gaussian/12/150; choose other structures, kinds, widths, rows or patterns."
        )
    return cells


def draw_table(cell: Cell, seed: int, task: str, n_query: int) -> ProbeTable:
    """The table of `cell` and `seed`, the same whatever method reads it.

    The target is a random function of the cell's structure, standardised, plus normal noise of
    standard deviation `NOISE`; classes are its two sides of a threshold in a gap near the median.
    Both classes have a context row.
    """
    structure = STRUCTURES[cell.structure]
    place = zlib.crc32(f"{cell.structure}/{cell.kind}/{cell.width}".encode())
    rng = np.random.default_rng([VERSION, place, cell.rows, seed])
    n = cell.rows + n_query
    columns = structure.columns(cell.kind, n + N_MORE, cell.width, rng)
    score = standardised(structure.score(columns, rng))
    noisy = score[:n] + NOISE * rng.normal(size=n)
    if task == "regression":
        y, optimal = noisy, score[:n]
    else:
        from scipy.special import ndtr

        threshold = middle_gap(score)
        y = (noisy > threshold).astype(np.int64)
        optimal = ndtr((score[:n] - threshold) / NOISE)
    order = np.arange(n)
    known = y[: cell.rows]
    if task == "classification" and known.min() == known.max() and y.min() < y.max():
        first = int((y != known[0]).argmax())
        order[[0, first]] = first, 0
    context, query = order[: cell.rows], order[cell.rows :]

    def part(rows: np.ndarray) -> pd.DataFrame:
        return columns.frame.iloc[rows].reset_index(drop=True)

    return ProbeTable(
        part(context), y[context], part(query), y[query], optimal[query], columns.kinds
    )


def middle_gap(score: Float[np.ndarray, " n"]) -> float:
    """The middle between two neighbouring values that parts the values most evenly: no value lies
    on it."""
    values, counts = np.unique(score.round(9), return_counts=True)
    if len(values) == 1:
        return float(values[0])
    below = counts.cumsum()[:-1] / counts.sum()
    place = int(np.abs(below - 0.5).argmin())
    return float((values[place] + values[place + 1]) / 2)
