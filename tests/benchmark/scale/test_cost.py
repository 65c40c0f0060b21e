"""Laws of the arithmetic of cost, and of the bars that measurements are held against."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from openpfn import cli
from openpfn.benchmark.scale import run as scale_run
from openpfn.benchmark.scale.config import MEASUREMENTS, CostConfig, ScaleConfig
from openpfn.benchmark.scale.cost import Counted, count, lines, predicted

SMALL = CostConfig(preset="micro", rows=512, columns=3, batch_size=4)
COUNTED = Counted(n_parameters=5_000_000, gflop=100.0, activation_mb=300.0)


def test_counts_of_short_tasks_tell_those_of_long_ones():
    told = count(SMALL)
    longer = count(replace(SMALL, rows=1024))
    direct = count(replace(SMALL, rows=256))  # one of the sizes that are counted
    assert told.n_parameters == direct.n_parameters < 1500
    assert direct.gflop < told.gflop < longer.gflop
    # micro attends linearly between rows: twice the rows are twice the work and the memory
    assert longer.gflop - told.gflop == pytest.approx(2 * (told.gflop - direct.gflop), rel=1e-6)
    assert longer.activation_mb / told.activation_mb == pytest.approx(2, rel=0.1)


def test_a_single_gpu_computes_what_it_is_counted_to():
    (row,) = predicted(replace(CostConfig(), gpus=(1,)), COUNTED)
    assert row.sync_ms == 0
    assert row.efficiency == pytest.approx(1)
    assert row.step_ms == pytest.approx(64 * 100 / (989 * 0.25))
    assert row.tasks_per_second * row.hours * 3600 == pytest.approx(10e6)


def test_more_gpus_are_faster_less_efficient_and_dearer():
    rows = predicted(CostConfig(gpus=(1, 2, 8, 16, 64)), COUNTED)
    for one, more in itertools.pairwise(rows):
        assert more.tasks_per_second > one.tasks_per_second
        assert more.efficiency < one.efficiency <= 1
        assert more.dollars > one.dollars
        assert more.gigabytes == one.gigabytes


def test_a_ring_moves_each_gradient_twice():
    config = CostConfig(gpus=(2,), latency_us=0.0, local_gbyte=10.0)
    assert predicted(config, COUNTED)[0].sync_ms == pytest.approx(1e3 * 5e6 * 4 / 10e9)


def test_the_command_line_prints_a_table(capsys):
    words = "benchmark cost --preset micro --rows 512 --columns 3 --gpus 1 8".split()
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert "| 8 | " in told
    assert list(lines(SMALL, COUNTED, predicted(SMALL, COUNTED)))[3].startswith("|---")


def test_every_measurement_has_a_bar_and_is_told():
    assert set(scale_run.BARS) == set(MEASUREMENTS)
    assert "reached" in scale_run.line({"name": "generate", "ratio": 1.9})
    assert "MISSED" in scale_run.line({"name": "generate", "ratio": 1.5})
    assert "its process died" in scale_run.line({"name": "rows", "linear_9": "its process died"})


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"only": ("speed",)}, "Choose among"), ({"n": 1}, "n is 1"), ({"seconds": 0}, "seconds")],
)
def test_impossible_options_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        ScaleConfig(**changes)


def test_impossible_assumptions_are_refused():
    with pytest.raises(ValueError, match="utilisation"):
        CostConfig(utilisation=1.5)
