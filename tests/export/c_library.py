"""The exported library compiled for this machine, called from Python."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openpfn.configs.presets import preset
from openpfn.configs.tabular import TabularConfig
from openpfn.export.c_code import write_library
from openpfn.export.options import Backend, CodeOptions
from openpfn.export.verification.host import STATUSES, HostLibrary, address
from openpfn.models import PFN

SOURCE = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.c_void_p,
    ctypes.c_int32,
    ctypes.POINTER(ctypes.c_float),
    ctypes.POINTER(ctypes.c_int32),
)


SMALLEST = dataclasses.replace(preset("micro"), n_loops=1, target_aware=False)
"""One pass through one layer."""


def random_network(
    config: TabularConfig | None = None, seed: int = 0, **changes: object
) -> torch.nn.Module:
    """A network all of whose weights matter; by default the smallest, with `changes`."""
    torch.manual_seed(seed)
    model = PFN(dataclasses.replace(config or SMALLEST, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(
                torch.randn_like(parameter)
                * (1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5)
            )
    return model


@functools.cache
def small_network() -> torch.nn.Module:
    """A network of two layers, small and quick, with all that the C code carries."""
    return random_network(n_layers=2, separate_query_weights=True)


@functools.cache
def small_library(backend: Backend) -> CLibrary:
    """Its library for tables of up to six features and four classes, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        options = CodeOptions(backend, max_features=6, max_classes=4)
        return CLibrary(small_network(), Path(folder), options)


class CLibrary(HostLibrary):
    """One exported network; every method returns the status by name first."""

    def __init__(
        self, model: Any, folder: Path, options: CodeOptions, optimize: str = "-O1"
    ) -> None:
        self.options = options
        self.n_classes: Any = options.for_network(model.config.max_classes).max_classes
        write_library(model, folder, options)
        super().__init__(folder, optimize)  # the same bits as with -O2, sooner

    def fit_stream(
        self, source: Callable[[int], Any], n_features: int, n_classes: int, cache_bytes: int = 0
    ) -> str:
        """`source(row)` gives (values, label), or None behind the last row, or raises."""

        def next_row(_user: object, row: int, x: Any, y: Any) -> int:
            try:
                found = source(row)
            except OSError:
                return -1
            if found is None:
                return 0
            for j, value in enumerate(found[0]):
                x[j] = float(value)
            y[0] = int(found[1])
            return 1

        cache = ctypes.create_string_buffer(cache_bytes) if cache_bytes else None
        callback = SOURCE(next_row)
        fit_stream, scratch = self.c.pfn_fit_stream, address(self.scratch)
        return STATUSES[
            fit_stream(
                self.context, callback, None, n_features, n_classes, cache, cache_bytes, scratch
            )
        ]

    def ask(self, rows: np.ndarray, n_classes: int, what: str = "logits") -> np.ndarray:
        return {"logits": self.predict_logits, "proba": self.predict_proba}[what](rows, n_classes)

    def ask_status(self, row: np.ndarray) -> str:
        row, out = (
            np.asarray(row, dtype=np.float32),
            np.zeros(self.n_classes, dtype=np.float32),
        )
        return STATUSES[
            self.c.pfn_predict_proba(
                self.context, address(row), address(out), address(self.scratch)
            )
        ]

    def save(self, capacity: int | None = None) -> tuple[str, bytes]:
        capacity = self.n_saved if capacity is None else capacity
        room, n_bytes = ctypes.create_string_buffer(capacity + 1), ctypes.c_int32(0)
        status = STATUSES[
            self.c.pfn_context_save(self.context, room, capacity, ctypes.byref(n_bytes))
        ]
        return status, room.raw[: n_bytes.value]

    def load(self, saved: bytes) -> str:
        return STATUSES[self.c.pfn_context_load(self.context, saved, len(saved))]
