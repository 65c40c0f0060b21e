"""`openpfn benchmark beliefs`: how fast, how exact and how well calibrated predictive resampling
is."""

from __future__ import annotations

from typing import Any

import torch

from openpfn.benchmark.beliefs import report
from openpfn.benchmark.beliefs.config import NAMES, BeliefsConfig
from openpfn.benchmark.beliefs.measures import measured
from openpfn.benchmark.record import measured_rows


def run(config: BeliefsConfig) -> dict[str, Any]:
    """Measure, write `config.out` after each row, print the table, write the page; the results as
    they stand in the file."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a processor minute is one of one core
    try:
        results = measured_rows(config, NAMES, lambda name: measured(name, config), report.one_line)
    finally:
        torch.set_num_threads(threads)
    report.show(results)
    if config.page is not None:
        report.write_page(config.page, results)
    return results
