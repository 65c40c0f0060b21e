"""The exported library compiled for this machine, called from Python."""

from __future__ import annotations

import ctypes
import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from openpfn.configs.presets import preset
from openpfn.configs.tabular import TabularConfig
from openpfn.export.c_code import CodeOptions, write_library
from openpfn.export.verify import STRICT, find_target
from openpfn.models import PFN

SIZES = '#include "pfn.h"\nconst int32_t sizes[] = {PFN_CONTEXT_BYTES, PFN_SCRATCH_BYTES, PFN_SAVED_BYTES};\n'
STATUS = "ok argument features classes rows label value source not_fitted saved capacity".split()
SOURCE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_float), ctypes.POINTER(ctypes.c_int32))


def random_network(config: TabularConfig | None = None, seed: int = 0, **changes: object) -> torch.nn.Module:
    """A network all of whose weights matter; by default of the preset micro, with `changes`."""
    torch.manual_seed(seed)
    model = PFN(dataclasses.replace(config or preset("micro"), **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (1 if parameter.dim() == 1 else parameter.shape[-1] ** -0.5))
    return model


class CLibrary:
    """One exported network; every method returns the status by name first."""

    def __init__(self, model: torch.nn.Module, folder: Path, options: CodeOptions) -> None:
        self.options = options
        write_library(model, folder, options)
        (folder / "sizes.c").write_text(SIZES)
        compiler = find_target("host").compiler
        subprocess.run([compiler, *STRICT, "-O1", "-fPIC", "-shared", "pfn.c", "sizes.c", "-o", "pfn.so"], cwd=folder, check=True)
        self.c = ctypes.CDLL(str(folder / "pfn.so"))
        self.n_context, n_scratch, self.n_saved = (ctypes.c_int32 * 3).in_dll(self.c, "sizes")
        self.context = ctypes.create_string_buffer(self.n_context)
        self.scratch = np.full(n_scratch // 4 + 1, np.nan, dtype=np.float32)

    def fit(self, x: np.ndarray, y: np.ndarray, n_classes: int | None = None) -> str:
        x, y = np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(y, dtype=np.int32)
        n_classes = int(y.max(initial=0)) + 1 if n_classes is None else n_classes
        return STATUS[self.c.pfn_fit(self.context, _of(x), _of(y), len(x), x.shape[1], n_classes, _of(self.scratch))]

    def fit_stream(self, source: Callable[[int], Any], n_features: int, n_classes: int, cache_bytes: int = 0) -> str:
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
        return STATUS[self.c.pfn_fit_stream(self.context, callback, None, n_features, n_classes, cache, cache_bytes, _of(self.scratch))]

    def ask(self, rows: np.ndarray, n_classes: int, what: str = "logits") -> np.ndarray:
        function = {"logits": self.c.pfn_predict_logits, "proba": self.c.pfn_predict_proba}[what]
        answer = np.full((len(rows), n_classes), np.nan, dtype=np.float32)
        for row, out in zip(np.ascontiguousarray(rows, dtype=np.float32), answer, strict=True):
            status = STATUS[function(self.context, _of(row), _of(out), _of(self.scratch))]
            assert status == "ok", status
        return answer

    def ask_status(self, row: np.ndarray) -> str:
        row, out = np.asarray(row, dtype=np.float32), np.zeros(self.options.max_classes, dtype=np.float32)
        return STATUS[self.c.pfn_predict_proba(self.context, _of(row), _of(out), _of(self.scratch))]

    def save(self, capacity: int | None = None) -> tuple[str, bytes]:
        capacity = self.n_saved if capacity is None else capacity
        room, n_bytes = ctypes.create_string_buffer(capacity + 1), ctypes.c_int32(0)
        status = STATUS[self.c.pfn_context_save(self.context, room, capacity, ctypes.byref(n_bytes))]
        return status, room.raw[: n_bytes.value]

    def load(self, saved: bytes) -> str:
        return STATUS[self.c.pfn_context_load(self.context, saved, len(saved))]


def _of(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
