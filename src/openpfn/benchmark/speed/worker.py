"""One process per measurement: its peak memory is its own, and it cannot take the others down."""

from __future__ import annotations

import subprocess
from typing import Any

from openpfn.benchmark.speed.config import SpeedConfig
from openpfn.benchmark.speed.table import all_measurements
from openpfn.memory import limit_memory, peak_memory_mb
from openpfn.processes import Channel, Worker, WorkerDied

PEERS = ("nanotabpfn", "tinypfn")
"""Peers that run from a checkout."""


class MeasurementFailed(RuntimeError):
    """A measurement raised, ran out of memory or time, or its process died."""


class MeasuringWorker(Worker):
    """A process that sets one measurement up and then runs a repeat of it on each request."""

    def __init__(self, name: str, config: SpeedConfig, threads: int) -> None:
        super().__init__(f"{__name__}:serve", threads, log=subprocess.DEVNULL)
        self.timeout, self.limit = config.timeout, config.memory_limit
        checkouts = {peer: getattr(config, peer) for peer in PEERS}
        self.send(
            {
                "measurement": name,
                "threads": threads,
                "seconds": config.seconds,
                "memory_limit": config.memory_limit,
                "paths": {
                    peer: str(path.resolve())
                    for peer, path in checkouts.items()
                    if path is not None
                },
            }
        )

    def repeat(self, warm_up: bool = False) -> dict[str, Any]:
        """Return `value` of one more repeat, and `facts` known by now. Raises MeasurementFailed."""
        self.send({"warm_up": warm_up})
        try:
            answer = self.receive(self.timeout)
        except WorkerDied as death:
            raise MeasurementFailed(str(death)) from None
        if "out_of_memory" in answer:
            raise MeasurementFailed(f"needs more than {self.limit:g} GB")
        if "error" in answer:
            raise MeasurementFailed(answer["error"])
        return answer


def serve(channel: Channel) -> None:
    """Run in the process: the first message is the order, each further one asks for a repeat."""
    messages = iter(channel)
    order, timed = next(messages), None
    for message in messages:
        try:
            if timed is None:
                timed = set_up(order)
            answer = repeat(timed, order["seconds"], message["warm_up"])
        except MemoryError:
            answer = {"out_of_memory": True}
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            answer = {"out_of_memory": True} if "memory" in text.lower() else {"error": text}
        channel.send(answer)


def set_up(order: dict[str, Any]) -> Any:
    """Return the measurement's operation, made ready to run."""
    import torch

    limit_memory(order["memory_limit"])
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    return all_measurements()[order["measurement"]].set_up(order["paths"])


def repeat(timed: Any, seconds: float, warm_up: bool) -> dict[str, Any]:
    """Run the operation for `seconds` (once to warm up); its value, and what is known about it."""
    value = timed.value(0.0 if warm_up else seconds)
    return {"value": value, "facts": {"peak_rss_mb": round(peak_memory_mb(), 1)} | timed.facts()}
