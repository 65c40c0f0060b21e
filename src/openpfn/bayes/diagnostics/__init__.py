"""Diagnostics of beliefs, each with numbers, their uncertainty or p-value, and a plot: calibration
(`sbc`, `pit`, `coverage`, `tarp`), coherence (`martingale`, `exchangeability`), and distance from
the truth (`energy_distance`)."""

from openpfn.bayes.diagnostics.calibration import (
    Coverage,
    Ranks,
    Tarp,
    coverage,
    pit,
    sbc,
    tarp,
)
from openpfn.bayes.diagnostics.coherence import (
    Exchangeability,
    Martingale,
    exchangeability,
    martingale,
)
from openpfn.bayes.diagnostics.energy import EnergyDistance, energy_distance
from openpfn.bayes.diagnostics.simulation import simulated

__all__ = [
    "Coverage",
    "EnergyDistance",
    "Exchangeability",
    "Martingale",
    "Ranks",
    "Tarp",
    "coverage",
    "energy_distance",
    "exchangeability",
    "martingale",
    "pit",
    "sbc",
    "simulated",
    "tarp",
]
