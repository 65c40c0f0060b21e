"""Laws of `openpfn benchmark speed`: fair turns, honest failures, arithmetic of ratios and
shares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from openpfn import cli
from openpfn.benchmark.record import read_json
from openpfn.benchmark.speed import report as speed_report
from openpfn.benchmark.speed import run as speed
from openpfn.benchmark.speed import timers
from openpfn.benchmark.speed.config import ON_REQUEST, SpeedConfig
from openpfn.benchmark.speed.table import all_measurements, chosen
from openpfn.benchmark.speed.timers import Milliseconds, PerCpuSecond, Rate, count

PEER = "fit_predict-nanotabpfn-100x5"
OURS = "fit_predict-tiny-published-100x5"

FAKE_PEER = """
class NanoTabPFNModel:
    def __init__(self, **sizes): pass
    def eval(self): return self
class NanoTabPFNClassifier:
    def __init__(self, model, device): self.n_calls = 0
    def fit(self, x, y): pass
    def predict_proba(self, x):
        self.n_calls += 1
        {behaviour}
"""


def checkout(folder: Path, behaviour: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(FAKE_PEER.format(behaviour=behaviour))
    return folder


def config(tmp_path, **changes) -> SpeedConfig:
    return SpeedConfig(
        **({"repeats": 2, "seconds": 0.01, "threads": 1, "out": tmp_path / "speed.json"} | changes)
    )


def row(name, values, **changes):
    known = all_measurements()["step-nanotabpfn"].record() | {
        "name": name,
        "baseline": None,
        "values": values,
        "status": "ok",
        "note": "",
    }
    return speed.with_summary(known | {"cpu_values": values, "peak_rss_mb": 400.0} | changes)


def test_every_measurement_is_compared_with_one_of_its_group_and_shape():
    known = all_measurements()
    for m in known.values():
        assert m.group in speed.GROUPS
        if m.baseline is not None:
            base = known[m.baseline]
            assert (base.group, base.shape, base.unit, base.higher_is_better) == (
                m.group,
                m.shape,
                m.unit,
                m.higher_is_better,
            )


@pytest.mark.slow
def test_every_group_has_measurements_and_can_be_chosen():
    for group in speed.GROUPS:
        assert chosen([group])
        assert {m.group for m in chosen([group])} == {group}
    assert [m.name for m in chosen([PEER])] == [PEER]
    by_default = {m.group for m in chosen([])}
    assert by_default == set(speed.GROUPS) - set(ON_REQUEST)


def test_an_unknown_name_lists_the_groups():
    with pytest.raises(ValueError, match=r"'fast' is no group.*gemm, prior"):
        chosen(["fast"])


@pytest.mark.parametrize(
    ("name", "value"),
    [("repeats", 0), ("threads", 0), ("seconds", 0.0), ("memory_limit", -1.0), ("timeout", 0.0)],
)
def test_a_wrong_option_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        SpeedConfig(**{name: value})


def test_a_missing_peer_says_how_to_get_it(tmp_path):
    peer = all_measurements()[PEER]
    assert "git clone https://github.com/automl/nanoTabPFN" in peer.missing(SpeedConfig())
    assert "no model.py" in peer.missing(SpeedConfig(nanotabpfn=tmp_path))
    (tmp_path / "model.py").write_text("")
    assert peer.missing(SpeedConfig(nanotabpfn=tmp_path)) == ""
    assert replace(peer, needs=None).missing(SpeedConfig()) == ""


@pytest.mark.slow
def test_a_run_measures_ours_beside_a_peer_that_prints(tmp_path, capsys):
    noisy = checkout(tmp_path / "peer", "print('noise', flush=True)")
    options = config(
        tmp_path, only=(PEER, OURS), nanotabpfn=noisy, page=tmp_path / "docs" / "speed.md"
    )
    assert options.page is not None
    options.page.parent.mkdir()
    results = speed.run(options)
    assert json.loads(options.out.read_text()) == results == read_json(options.out)
    rows = {r["name"]: r for r in results["rows"]}
    for r in rows.values():
        assert r["status"] == "ok"
        assert len(r["values"]) == len(r["cpu_values"]) == 2
        assert min(r["values"]) <= r["low"] <= r["median"] <= r["high"] <= max(r["values"])
        assert 50 < r["peak_rss_mb"] < 5000
    assert rows[OURS]["median"] > rows[PEER]["median"] > 0
    assert results["machine"]["cores"] >= 1
    assert "nanoTabPFN" in capsys.readouterr().out
    page = options.page.read_text()
    assert "| 100 + 50 rows × 5 columns |" in page
    assert "openpfn benchmark speed --only" in page
    assert (tmp_path / "docs" / "speed" / "fit_predict.svg").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "note"),
    [
        ("import os; os._exit(3)", "its process died"),
        ("bytearray(200 * 2**30)", "needs more than 12 GB"),
        ("import time; time.sleep(60)", "took longer than 3 s"),
    ],
)
def test_a_failure_is_a_row_that_says_why(tmp_path, behaviour, note):
    options = config(
        tmp_path,
        nanotabpfn=checkout(tmp_path / "peer", behaviour),
        timeout=3.0 if "sleep" in behaviour else 100.0,
    )
    (failed,) = speed.measure_together(chosen([PEER]), options, where="here")
    assert (failed["status"], failed["note"]) == ("failed", note)
    assert "median" not in failed
    assert "failed" in speed_report.markdown_table("shape", [failed])


@pytest.mark.slow
def test_one_failure_does_not_end_the_others_turns(tmp_path):
    later = "assert self.n_calls < 3 or len(x) > 100, 'the third time fails'"
    options = config(
        tmp_path, nanotabpfn=checkout(tmp_path / "peer", later), repeats=3, seconds=1e-9
    )
    large = "fit_predict-nanotabpfn-1000x20"
    rows = {
        r["name"]: r for r in speed.measure_together(chosen([PEER, large]), options, where="here")
    }
    assert len(rows[large]["values"]) == 3
    assert len(rows[PEER]["values"]) == 1
    assert rows[PEER]["note"] == "AssertionError: the third time fails"


class Clock:
    """A clock that goes only when something is done: a busy machine does not touch it."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.processor

    def sleep(self, seconds: float) -> None:
        self.wall += seconds

    def work(self, seconds: float) -> None:
        self.wall += seconds
        self.processor += seconds


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timers, "time", clock)
    return clock


def test_milliseconds_are_per_thing(clock):
    def operation() -> None:
        clock.work(0.004)
        clock.sleep(0.016)

    timed = Milliseconds(operation, n_per_call=4)
    assert timed.value(0.0) == pytest.approx(5)
    assert timed.facts()["cpu_ms"] == pytest.approx(1)


def test_an_operation_is_repeated_until_the_time_is_over(clock):
    calls = []
    Milliseconds(lambda: calls.append(clock.sleep(0.0051))).value(0.05)
    assert len(calls) == 10


def test_tasks_per_processor_second_do_not_count_sleep(clock):
    def draw() -> int:
        clock.work(0.01)
        clock.sleep(0.03)
        return 5

    assert PerCpuSecond(draw).value(0.025) == pytest.approx(500)


def test_a_rate_is_the_best_of_a_repeat(clock):
    waits = iter([0.05, 0.01, 0.05, 0.05, 0.05])
    assert Rate(lambda: clock.sleep(next(waits)), amount=1.0).value(0.07) == pytest.approx(100)


def test_flops_of_a_matrix_product_are_counted():
    import torch

    assert count(lambda: torch.randn(3, 4) @ torch.randn(4, 5)) == 2 * 3 * 4 * 5


def test_ratios_are_taken_repeat_by_repeat():
    rows = [
        row("base", [10.0, 30.0, 20.0]),
        row("own", [5.0, 10.0, 5.0], baseline="base", cpu_values=[1.0, 1.0, 2.0]),
    ]
    speed_report.add_shares(rows)
    assert rows[1]["ratio"] == {"of": "base", "median": 3.0, "low": 2.0, "high": 4.0}
    assert rows[1]["cpu_ratio"]["median"] == 10.0
    assert "ratio" not in rows[0]


def test_where_higher_is_better_a_larger_value_is_faster():
    rows = [
        row("base", [10.0], higher_is_better=True),
        row("own", [40.0], higher_is_better=True, baseline="base"),
    ]
    speed_report.add_shares(rows)
    assert rows[1]["ratio"]["median"] == 4.0


def test_a_baseline_without_values_gives_no_ratio():
    rows = [row("base", []), row("own", [40.0], baseline="base")]
    speed_report.add_shares(rows)
    assert "ratio" not in rows[1]


def test_the_share_of_peak_is_work_by_time_by_peak():
    peak = row("gemm", [100.0], group="gemm", unit="GFLOP/s")
    own = row("own", [500.0], gflop=10.0)
    speed_report.add_shares(
        [peak, own, other := row("half", [500.0], gflop=10.0, precision="bfloat16")]
    )
    assert own["share_of_peak"] == pytest.approx(0.2)
    assert "share_of_peak" not in other


def test_values_have_three_digits():
    assert [speed_report.short(v) for v in (0.123, 1.234, 12.34, 123.4, 12345.6)] == [
        "0.123",
        "1.23",
        "12.3",
        "123",
        "12,346",
    ]


def test_the_command_lists_what_there_is_to_measure(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["benchmark", "speed", "--list", "--only", "stream"]) == 0
    assert "stream-nano-shape" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
