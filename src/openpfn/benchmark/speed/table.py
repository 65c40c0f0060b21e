"""The table of all measurements of `openpfn benchmark speed`: to add one, write its function and
its row."""

from __future__ import annotations

from collections.abc import Sequence

from openpfn.benchmark.speed import cached, onnx, ours, peers, shipped, text
from openpfn.benchmark.speed.config import GROUPS, ON_REQUEST
from openpfn.benchmark.speed.timers import Measurement


def all_measurements() -> dict[str, Measurement]:
    """Every measurement by name, group by group."""
    groups = (ours, peers, cached, shipped, text, onnx)
    rows = [row for group in groups for row in group.measurements()]
    return {row.name: row for row in sorted(rows, key=lambda row: GROUPS.index(row.group))}


def chosen(only: Sequence[str]) -> list[Measurement]:
    """The measurements of these groups or names; all but those `ON_REQUEST` if none is given.
    Raises ValueError for a name of neither."""
    known = all_measurements()
    for name in only:
        if name not in GROUPS and name not in known:
            raise ValueError(
                f"{name!r} is no group and no measurement. Choose among {', '.join(GROUPS)}, or a"
                " name that --list shows."
            )
    if not only:
        return [row for row in known.values() if row.group not in ON_REQUEST]
    return [row for row in known.values() if row.group in only or row.name in only]
