"""What a run needs of the machine around it: a device, torch's settings, signals, a folder of its
own."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from openpfn.configs.training import TrainingConfig
from openpfn.device import multiplies_bfloat16
from openpfn.files import sweep

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's numbers of two parameters, from malloc.h."""
LARGEST_KEPT = 2**25
"""Bytes of the largest arrays that come from memory that is kept: glibc allows no more."""


def settled_precision(wanted: str, device: torch.device) -> str:
    """Return "float32" or "bfloat16" for the precision that a configuration asks for on `device`.

    Warns where bfloat16 is asked for and `device` only emulates it.
    """
    native = multiplies_bfloat16(device)
    if wanted == "auto":
        return "bfloat16" if native else "float32"
    if wanted == "bfloat16" and not native:
        warnings.warn(
            f"precision is 'bfloat16', which this {device.type} emulates: training will be several"
            " times slower than in float32. Choose precision='auto' or 'float32'.",
            stacklevel=2,
        )
    return wanted


@contextmanager
def torch_settings(config: TrainingConfig) -> Iterator[None]:
    """The run's threads and matmul precision; the caller's after."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    if config.n_threads is not None:
        torch.set_num_threads(config.n_threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def keep_freed_memory() -> None:
    """Have glibc keep what it frees, for the rest of the process; nothing elsewhere.

    By default it gives memory back to the system at the end of each training step and asks for new
    pages in the next one: a step on a CPU then spends up to a third of its time on page faults.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def kept_rng(device: torch.device) -> Iterator[None]:
    """Leave torch's global random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def asked_to_stop(ask: Callable[[int], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls `ask` with its number; another one acts as it would without
    this."""
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # Python gives signals to the main thread only
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        restore()
        ask(number)

    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        restore()


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Keep a second process from training in `folder`, and remove what a killed one left half
    written. Raises FileExistsError if a process trains there."""
    if folder is None or os.name == "nt":
        yield
        return
    import fcntl

    if folder.exists() and not folder.is_dir():
        raise FileExistsError(
            f"{folder} is a file, but a run needs a folder. Choose another checkpoint_dir (--out)."
        )
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(
                file, fcntl.LOCK_EX | fcntl.LOCK_NB
            )  # ends with the process, however it dies
        except BlockingIOError:
            raise FileExistsError(
                f"another process is training in {folder}. Wait for it, stop it, or choose another"
                " folder."
            ) from None
        sweep(folder)
        yield
