"""`openpfn benchmark bayes`: networks against exact posteriors, and how fast sequences are drawn
and generated."""

from __future__ import annotations

from typing import Any

import torch

from openpfn.benchmark.bayes import report as bayes_report
from openpfn.benchmark.bayes import speed as bayes_speed
from openpfn.benchmark.bayes.config import GAP_NAMES, SPEED_NAMES, BayesConfig
from openpfn.benchmark.bayes.gap import measured_gap
from openpfn.benchmark.record import measured_rows


def run(config: BayesConfig) -> dict[str, Any]:
    """Measure, write `config.out` after each row, print the tables, write the page; the results as
    they stand in the file."""

    def measure(name: str) -> dict[str, Any]:
        return (measured_gap if name in GAP_NAMES else bayes_speed.measured)(name, config)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a processor minute is one of one core
    try:  # what is quick comes first
        results = measured_rows(config, (*SPEED_NAMES, *GAP_NAMES), measure, bayes_report.one_line)
    finally:
        torch.set_num_threads(threads)
    bayes_report.show(results)
    if config.page is not None:
        bayes_report.write_page(config.page, results)
    return results
