"""An exported library compiled for this machine and called from Python: the same C, the same
answers."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from openpfn.export.network.c_structs import struct_layouts
from openpfn.export.prefix import renamed
from openpfn.export.record import recorded_prefix
from openpfn.export.verification.targets import STRICT, ToolError, find_target

STATUSES = tuple(
    "ok argument features classes rows label value source not_fitted saved capacity".split()
)
"""What the library's functions return, by number: the names of `pfn_status` without their
prefix."""
_SIZES = (
    '#include "pfn.h"\nconst int32_t pfn_sizes[] = {PFN_CONTEXT_BYTES, PFN_SCRATCH_BYTES,'
    " PFN_SAVED_BYTES, PFN_MAX_CLASSES};\n"
)


class HostLibrary:
    """The library that `write_library` wrote, compiled with the flag `optimize`, which changes no
    bit. It has one context and one scratch memory, on which `fit` and `predict_proba` work.

    Raises FileNotFoundError where no compiler is installed or `folder` holds no library,
    ToolError with the compiler's words.
    """

    def __init__(self, folder: str | Path, optimize: str = "-O2") -> None:
        self.folder = Path(folder).resolve()
        self.prefix = recorded_prefix(self.folder)
        source = self.folder / f"{self.prefix}.c"
        if not source.is_file():
            raise FileNotFoundError(
                f"{folder} holds no {source.name}. Give a folder that `openpfn export c` wrote."
            )
        self.compiler = find_target("host").compiler
        # the library stays mapped when its file is gone
        with tempfile.TemporaryDirectory() as place:
            sizes, built = Path(place) / "sizes.c", Path(place) / "pfn.so"
            sizes.write_text(renamed(_SIZES, self.prefix))
            flags = [*STRICT, optimize, "-ffp-contract=off", "-fPIC", "-shared", f"-I{self.folder}"]
            self._compile([*flags, str(source), str(sizes), "-o", str(built)])
            self.c = ctypes.CDLL(str(built))
        self.n_context, self.n_scratch, self.n_saved, self.max_classes = (
            ctypes.c_int32 * 4
        ).in_dll(self.c, f"{self.prefix}_sizes")
        self.context = ctypes.create_string_buffer(self.n_context)
        self.scratch = np.full(self.n_scratch // 4 + 1, np.nan, dtype=np.float32)

    def fit(
        self, x: Num[np.ndarray, "n D"], y: Num[np.ndarray, " n"], n_classes: int | None = None
    ) -> str:
        """Fit rows and their labels 0 … n_classes − 1, and return the status, "ok" where all went
        well."""
        x, y = np.ascontiguousarray(x, dtype=np.float32), np.ascontiguousarray(y, dtype=np.int32)
        n_classes = int(y.max(initial=0)) + 1 if n_classes is None else n_classes
        return STATUSES[
            self.function("fit")(
                self.context,
                address(x),
                address(y),
                len(x),
                x.shape[1],
                n_classes,
                address(self.scratch),
            )
        ]

    def predict_proba(
        self, rows: Num[np.ndarray, "Q D"], n_classes: int
    ) -> Float[np.ndarray, "Q k"]:
        """Return the probabilities of all classes; `n_classes` is that of `fit`. Raises ValueError
        where the library refuses a row."""
        return self._ask(self.function("predict_proba"), rows, n_classes)

    def predict_logits(
        self, rows: Num[np.ndarray, "Q D"], n_classes: int
    ) -> Float[np.ndarray, "Q k"]:
        """Return the logits of all classes, −inf for one without context rows. Raises ValueError
        where the library refuses a row."""
        return self._ask(self.function("predict_logits"), rows, n_classes)

    def fields(self) -> np.void:
        """Return the context, field by field, by the names of the C struct."""
        layouts = struct_layouts(self.preprocessed(), prefix=self.prefix)
        layout = layouts[f"{self.prefix}_context"]
        assert layout.itemsize == self.n_context, (
            f"{layout} has {layout.itemsize} bytes, the compiler's context {self.n_context}"
        )
        return np.frombuffer(self.context.raw, dtype=layout)[0]

    def preprocessed(self) -> str:
        """Return pfn.h with all macros replaced."""
        return self._compile(["-E", "-P", str(self.folder / f"{self.prefix}.h")])

    def function(self, name: str) -> Any:
        """Return the function that is called pfn_`name` where the prefix is pfn."""
        return getattr(self.c, f"{self.prefix}_{name}")

    def _ask(self, function: Any, rows: np.ndarray, n_classes: int) -> np.ndarray:
        answer = np.full((len(rows), n_classes), np.nan, dtype=np.float32)
        for number, (row, out) in enumerate(
            zip(np.ascontiguousarray(rows, dtype=np.float32), answer, strict=True)
        ):
            status = STATUSES[
                function(self.context, address(row), address(out), address(self.scratch))
            ]
            if status != "ok":
                raise ValueError(
                    f"the library refused row {number} with PFN_ERROR_{status.upper()}: pfn.h tells"
                    " what that means."
                )
        return answer

    def _compile(self, arguments: list[str]) -> str:
        done = subprocess.run([self.compiler, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            raise ToolError(f"{self.compiler} {' '.join(arguments)} failed:\n{done.stderr[:2000]}")
        return done.stdout


def address(array: Num[np.ndarray, "..."]) -> ctypes.c_void_p:
    """Return the array's memory, as C takes it."""
    return ctypes.c_void_p(array.ctypes.data)
