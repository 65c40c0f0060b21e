"""`TaskStream`: an endless, reproducible stream of task batches, drawn ahead by worker
processes."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import queue
import signal
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Iterator
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.device import pick_device
from openpfn.processes import Channel, Worker, WorkerDied

PREFETCH = 4
"""Batches that wait per worker, beside the one it is drawing."""


@runtime_checkable
class SamplesTasks(Protocol):
    """What a stream needs of a prior."""

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch: ...


class WorkerError(RuntimeError):
    """A process that draws tasks died, or the prior failed in it."""


class TaskStream:
    """Batch 0, 1, 2, … of a prior, where batch i depends only on the prior, `batch_size`, `seed`
    and i.

    `n_workers` processes of one torch thread draw ahead; 0 draws in this process. The order and
    content of the batches are the same whatever `n_workers`, and `start=i` continues where another
    stream stopped. `prefetch` batches wait per worker, in page-locked memory if `pin_memory` (None:
    for a CUDA `device`). Workers need no `if __name__ == "__main__"` in the calling script and
    accept priors defined in it. A worker that dies or whose prior fails raises WorkerError here.
    With a `stride` of k the stream gives every k-th batch from `start` on: k streams with starts
    0 … k − 1 share the batches of one.

    >>> with TaskStream(prior, 32, seed=0) as stream:    # doctest: +SKIP
    ...     batch = next(stream)
    """

    def __init__(
        self,
        prior: SamplesTasks,
        batch_size: int,
        *,
        seed: int,
        n_workers: int = 1,
        start: int = 0,
        device: torch.device | str = "cpu",
        prefetch: int = PREFETCH,
        pin_memory: bool | None = None,
        stride: int = 1,
    ) -> None:
        if batch_size < 1 or n_workers < 0 or start < 0 or prefetch < 1 or stride < 1:
            given = (
                f"batch_size={batch_size}, n_workers={n_workers}, start={start},"
                f" prefetch={prefetch}, stride={stride}"
            )
            raise ValueError(f"got {given}; wanted at least 1, 0, 0, 1 and 1.")
        self.prior, self.batch_size, self.seed, self.n_workers, self.device = (
            prior,
            batch_size,
            seed,
            n_workers,
            pick_device(device),
        )
        self.prefetch, self.stride = prefetch, stride
        if pin_memory and not torch.cuda.is_available():
            warnings.warn(
                "pin_memory=True changes nothing: torch finds no CUDA device to send batches to.",
                stacklevel=2,
            )
        self.pin_memory = (
            self.device.type == "cuda"
            if pin_memory is None
            else pin_memory and torch.cuda.is_available()
        )
        self._position = start
        self._waited = 0.0
        self._first = start
        self._workers: list[_Drawer] = []
        weakref.finalize(
            self, _stop, self._workers
        )  # a stream that is dropped or left at the end takes its workers along

    @property
    def position(self) -> int:
        """Index of the next batch. Setting it moves the stream there."""
        return self._position

    @position.setter
    def position(self, index: int) -> None:
        if index < 0:
            raise ValueError(f"position is {index}, must be at least 0.")
        if index != self._position:
            self.close()
            self._position = index

    @property
    def wait_seconds(self) -> float:
        """Time that the consumer has waited for batches."""
        return self._waited

    def __iter__(self) -> Iterator[TaskBatch]:
        return self

    def __next__(self) -> TaskBatch:
        began = time.perf_counter()
        batch = self._from_worker() if self.n_workers else self._draw(self._position)
        self._position += self.stride
        batch = batch if self.device.type == "cpu" else batch.to(self.device)
        self._waited += time.perf_counter() - began
        return batch

    def close(self) -> None:
        """Stop the workers. The stream can be read on: it starts new ones."""
        _stop(self._workers)

    def __enter__(self) -> TaskStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self, index: int) -> TaskBatch:
        generator = task_generator(self.seed, index)
        with torch.autocast(
            generator.device.type, enabled=False
        ):  # the caller's precision must not change the tasks
            return self.prior.sample(self.batch_size, generator)

    def _from_worker(self) -> TaskBatch:
        if not self._workers:
            stride, n = self.stride, self.n_workers
            jobs = [
                (self.prior, self.batch_size, self.seed, self._position + k * stride, n * stride)
                for k in range(n)
            ]
            self._first = self._position
            self._workers.extend(_Drawer(job, self.pin_memory, self.prefetch) for job in jobs)
        turn = (self._position - self._first) // self.stride
        worker = self._workers[turn % self.n_workers]
        try:
            return worker.take()
        except BaseException:
            self.close()
            raise


def task_generator(seed: int, index: int) -> torch.Generator:
    """Return the source of randomness of batch `index` under `seed`: independent streams for
    different pairs."""
    state = np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state))


def _stop(workers: list[_Drawer]) -> None:
    while workers:
        workers.pop().stop()


class _Drawer:
    """A process that draws every n-th batch, and a thread here that unpacks what it sends."""

    def __init__(self, job: tuple[Any, ...], pin: bool, prefetch: int) -> None:
        self.ready: queue.Queue[TaskBatch | Exception] = queue.Queue(maxsize=prefetch)
        self.pin = pin
        self.stopping = False
        self.job = packed_by_value(job)
        self.worker = Worker(f"{__name__}:serve")
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.thread.start()

    def take(self) -> TaskBatch:
        item = self.ready.get()
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        self.stopping = True
        self.worker.process.kill()
        while self.thread.is_alive():  # the thread may stand before a full queue
            with contextlib.suppress(queue.Empty):
                self.ready.get_nowait()
            self.thread.join(timeout=0.01)
        self.worker.close()

    def _receive(self) -> None:
        try:
            self.worker.send(self.job)
            while not self.stopping:
                kind, content = unpacked(self.worker.receive())
                if kind == "error":
                    raise WorkerError(f"the prior failed in a worker process:\n{content}")
                self.ready.put(content.map(Tensor.pin_memory) if self.pin else content)
        except WorkerDied:
            if not self.stopping:
                code = self.worker.process.wait()
                reason = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
                self.ready.put(
                    WorkerError(
                        f"a worker process that draws tasks {reason} (out of memory, or an import"
                        " that fails; see its messages above). Draw tasks in this process with"
                        " n_workers=0 to find out, or use fewer workers or smaller tasks."
                    )
                )
        except Exception as error:
            self.ready.put(error)


def serve(channel: Channel) -> None:
    """Run in a process: send the batches of the job that comes first, until nobody reads them."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # the training decides when its workers end: it may still have to save
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        prior, batch_size, seed, index, stride = pickle.loads(next(iter(channel)))
        while True:
            batch = prior.sample(batch_size, task_generator(seed, index))
            channel.send(packed(("batch", batch)))
            index += stride
    except BrokenPipeError:  # the training has ended
        os._exit(0)
    except Exception:
        with contextlib.suppress(BrokenPipeError):
            channel.send(packed(("error", traceback.format_exc())))
        os._exit(1)


class _BatchPickler(pickle.Pickler):
    """Sends tensors as plain arrays: fast, and without shared memory that a small /dev/shm could
    not hold."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return torch.from_numpy, (obj.detach().cpu().numpy(),)
        if isinstance(obj, MappingProxyType):
            return _read_only, (dict(obj),)
        return NotImplemented


def _read_only(content: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(content)


def packed(content: Any) -> bytes:
    """Return a batch, or what contains one, as bytes; `unpacked` gives it back."""
    buffer = io.BytesIO()
    _BatchPickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(content)
    return buffer.getvalue()


def unpacked(message: bytes) -> Any:
    """Return what `packed` was given."""
    return pickle.loads(message)


def packed_by_value(content: Any) -> bytes:
    """Return a prior, or a job that begins with one, pickled so that classes of the calling script
    or notebook, which a worker cannot import, travel along."""
    from joblib import wrap_non_picklable_objects

    prior = content[0] if isinstance(content, tuple) else content
    try:
        return pickle.dumps(wrap_non_picklable_objects(content, keep_wrapper=False))
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise ValueError(
            f"the prior, a {type(prior).__name__}, cannot be sent to a worker process ({error})."
            " Keep open files and generators out of its attributes, or draw in this process with"
            " n_workers=0."
        ) from error
