"""`Pool`: processes of this machine that do jobs, some of which may die."""

from __future__ import annotations

import queue
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from openpfn.jobs.base import Failed, Order, Told, called, described
from openpfn.processes import Channel, Worker, WorkerDied, stop_all

MOST_DEATHS = 20
"""Processes of a pool that may die before its first answer comes."""
SECONDS_TO_LEAVE = 10.0
"""Time for which a process that has answered its only order may go on."""


@dataclass(frozen=True)
class ShareDone:
    """What a process sends on the way to an answer."""

    share: float


class Pool:
    """`n` processes that call `function` with each order; they are kept for the next orders until
    the pool is closed, or, if `fresh`, replaced after each."""

    def __init__(
        self,
        function: str,
        n: int,
        *,
        threads: int = 1,
        fresh: bool = False,
        log: Callable[[Any], Path] | None = None,
    ) -> None:
        self.function, self.n, self.threads, self.fresh, self.log = function, n, threads, fresh, log
        self.n_died, self.n_answers = 0, 0
        self._at_place: dict[int, Worker] = {}
        self.is_closed = False
        self.lock = threading.Lock()

    def answers(
        self, orders: Iterable[Order], most: int | None = None, told: Told | None = None
    ) -> Iterator[tuple[Order, Any]]:
        """Each order with its answer, in the order in which they come; None where a process died
        twice of it, the second time while no other was at work.

        At most `most` of the processes have work at a time; `told` takes an order and the share of
        it that is done.

        Raises WorkerDied when `MOST_DEATHS` processes died and none has answered.
        """
        deadly = []
        for order, answer in self._one_pass(list(orders), min(self.n, most or self.n), told):
            if answer is None:
                deadly.append(order)
            else:
                yield order, answer
        yield from self._one_pass(deadly, 1, told)

    @property
    def workers(self) -> list[Worker]:
        """The processes, at work, waiting or ended."""
        return list(self._at_place.values())

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        with self.lock:
            self.is_closed = True
            for worker in self.workers:
                worker.process.kill()
        for worker in self.workers:
            worker.process.wait()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self.fresh:  # a training that is interrupted saves its state
            with self.lock:
                self.is_closed = True
            stop_all(self.workers)
        self.close()

    def _one_pass(
        self, orders: list[Order], n: int, told: Told | None
    ) -> Iterator[tuple[Order, Any]]:
        waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
        done: queue.SimpleQueue[tuple[Order, Any]] = queue.SimpleQueue()
        for order in orders:
            waiting.put(order)
        for place in range(min(n, len(orders))):
            arguments = place, waiting, done, told
            threading.Thread(target=self._work, args=arguments, daemon=True).start()
        for _ in orders:
            order, answer = done.get()
            self.n_died += answer is None
            self.n_answers += answer is not None
            if self.n_died >= MOST_DEATHS and not self.n_answers:
                raise WorkerDied(f"{self.n_died} processes died, and none has answered")
            yield order, answer

    def _work(
        self,
        place: int,
        waiting: queue.SimpleQueue[Order],
        done: queue.SimpleQueue[tuple[Order, Any]],
        told: Told | None,
    ) -> None:
        while True:
            try:
                order = waiting.get_nowait()
            except queue.Empty:
                return
            worker = self._worker(place, order)
            if worker is None:
                return
            worker.send((order,))
            try:
                while isinstance(answer := worker.receive(), ShareDone):
                    if told is not None:
                        told(order, answer.share)
            except WorkerDied:
                answer = None
                worker.close()
            if self.fresh and answer is not None:
                _leave(worker)
            done.put((order, answer))

    def _worker(self, place: int, order: Any) -> Worker | None:
        """The living worker at `place`; None once the pool is closed."""
        with self.lock:
            if self.is_closed:
                return None
            worker = self._at_place.get(place)
            if worker is None or worker.process.poll() is not None:
                worker = self._at_place[place] = self._new_worker(order)
            return worker

    def _new_worker(self, order: Any) -> Worker:
        if self.log is None:
            worker = Worker(f"{__name__}:serve", self.threads)
        else:
            path = self.log(order)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                worker = Worker(f"{__name__}:serve", self.threads, log=file)
        worker.send(self.function)
        return worker


def _leave(worker: Worker) -> None:
    """Let a process that has no more orders end by itself, or end it."""
    worker.send((None,))
    try:
        worker.process.wait(SECONDS_TO_LEAVE)
    except subprocess.TimeoutExpired:
        worker.process.kill()
    worker.close()


def serve(channel: Channel) -> None:
    """Run in a process of a `Pool`: the first message names the function, each other one is an
    order, None the end."""
    messages = iter(channel)
    function = called(next(messages))

    def tell(share: float) -> None:
        channel.send(ShareDone(share))

    for (order,) in iter(lambda: next(messages), (None,)):
        try:
            answer = function(order, tell)
        except Exception as error:
            traceback.print_exc()
            answer = Failed(described(error))
        channel.send(answer)
