"""Small prior dumps that the tests write, and a look at what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from openpfn.batch import TaskBatch
from openpfn.data.dump_reader import DumpHeader, DumpWriter

HEADER = DumpHeader(
    max_seq_len=20, max_features=6, batch_size=4, max_classes=3, prior="random", seed=7
)


def draw(
    index: int, n_rows: int | None = None, n_train: int | None = None, missing: bool = True
) -> TaskBatch:
    """A batch of four tasks of 2 to 6 columns that depends on `index` alone."""
    generator = torch.Generator().manual_seed(index)
    rows = n_rows or int(torch.randint(10, 21, (1,), generator=generator))
    x = torch.randn(4, rows, 6, generator=generator)
    if missing:
        x[torch.rand(4, rows, 6, generator=generator) < 0.05] = torch.nan
    n_classes = torch.randint(2, 4, (4,), generator=generator)
    y = (torch.rand(4, rows, generator=generator) * n_classes[:, None]).floor()
    y[:, :3] = torch.minimum(torch.arange(3.0), n_classes[:, None] - 1)  # every class occurs
    return TaskBatch(
        x=x,
        y=y,
        n_train=n_train or int(torch.randint(4, rows, (1,), generator=generator)),
        n_features=torch.randint(2, 7, (4,), generator=generator),
        n_classes=n_classes,
        categorical=torch.rand(4, 6, generator=generator) < 0.5,
    )


def write(path: Path, batches: Iterable[TaskBatch], header: DumpHeader = HEADER) -> Path:
    with DumpWriter.create(path, header) as dump:
        for batch in batches:
            dump.append(batch)
    return path


def contents_of(path: Path) -> dict[str, Any]:
    hdf5: Any
    with h5py.File(path, "r") as hdf5:
        return {name: hdf5[name][()] for name in hdf5} | {f"@{k}": v for k, v in hdf5.attrs.items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k], equal_nan=np.asarray(a[k]).dtype.kind == "f") for k in a
    )
