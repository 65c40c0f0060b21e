"""Runs a function on several ranks at a time: processes forked from the test, connected by gloo."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from openpfn.training.ranks import Ranks


def on_ranks(size: int, folder: Path, function: Callable[[Ranks], Any]) -> list[Any]:
    """Return what `function` gives on each of `size` ranks; the first error of a rank is raised.
    `folder` is an empty place for what they exchange."""
    folder.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_run, args=(rank, size, folder, function)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    answers = [pickle.loads((folder / f"answer-{rank}").read_bytes()) for rank in range(size)]
    for rank, answer in enumerate(answers):
        if isinstance(answer, str) and answer.startswith("Traceback"):
            raise AssertionError(f"rank {rank} failed:\n{answer}")
    return answers


def _run(rank: int, size: int, folder: Path, function: Callable[[Ranks], Any]) -> None:
    store = dist.FileStore(  # pyright: ignore[reportPrivateImportUsage]
        str(folder / "store"), size
    )
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    try:
        answer = function(Ranks(rank, size))
    except BaseException:
        answer = traceback.format_exc()
    (folder / f"answer-{rank}").write_bytes(pickle.dumps(answer))
    if dist.is_initialized():
        dist.destroy_process_group()
