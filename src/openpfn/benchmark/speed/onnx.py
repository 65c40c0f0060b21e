"""Measurements of a network in onnxruntime beside the same network in torch, one thread each."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any, Literal

from openpfn.benchmark.speed.timers import Measurement, Milliseconds, Paths, Timed

SHAPES = ((150, 1, 5), (1000, 1, 20))
"""Context rows, query rows and columns."""
What = Literal["row", "table"]
TITLES: dict[What, str] = {"row": "one row after fit", "table": "fit and one row"}


def tables(shape: tuple[int, int, int]) -> dict[str, Any]:
    """A table's arrays by the names of a graph's inputs."""
    from openpfn.export.onnx.checking import compared_table

    n_context, n_query, n_columns = shape
    return compared_table("classes", n_context, n_columns, n_query)


def in_torch(what: What, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """`read` of the shipped nano for one row of a context that is kept, or the whole pass."""
    import torch

    from openpfn import checkpoint
    from openpfn.batch import TaskBatch

    model = checkpoint.load("nano").model
    table = {name: torch.from_numpy(array) for name, array in tables(shape).items()}
    batch = TaskBatch(table["x_context"], table["y_context"], n_train=shape[0])
    with torch.inference_mode():
        state = model.summarize(batch)

    def row() -> None:
        with torch.inference_mode():
            model.read(table["x_query"], state)

    def whole() -> None:
        with torch.inference_mode():
            model.read(table["x_query"], model.summarize(batch))

    return Milliseconds(row if what == "row" else whole)


def in_onnxruntime(what: What, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """The same in onnxruntime, of files that `export onnx` writes."""
    from openpfn import checkpoint
    from openpfn.export.onnx.checking import Session
    from openpfn.export.onnx.write import write_onnx

    with tempfile.TemporaryDirectory() as folder:
        place, model = Path(folder) / "nano.onnx", checkpoint.load("nano").model
        session = Session(write_onnx(model, place, steps=what == "row"))
    table = tables(shape)
    if what == "row":
        table |= session.fit(table)
    return Milliseconds(lambda: session.last(table))


def measurements() -> list[Measurement]:
    """One more row after fit, and a whole table, in both."""
    rows = []
    for shape in SHAPES:
        for what, title in TITLES.items():
            size = f"{title}, {shape[0]} rows × {shape[2]} columns"
            torch_row = f"onnx-torch-{what}-{shape[0]}"
            shared = ("onnx", "nano in torch", size, "ms", partial(in_torch, what, shape))
            rows += [
                Measurement(torch_row, *shared, one_thread=True),
                Measurement(
                    f"onnx-{what}-{shape[0]}",
                    "onnx",
                    "nano in onnxruntime",
                    size,
                    "ms",
                    partial(in_onnxruntime, what, shape),
                    baseline=torch_row,
                    needs="onnxscript",
                    one_thread=True,
                ),
            ]
    return rows
