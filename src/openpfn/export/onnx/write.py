"""Write a table network as ONNX: the whole pass in one file, or fit and predict in one each."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openpfn.checkpoint.fingerprint import fingerprint_of
from openpfn.export.onnx.graphs import (
    ANSWERS,
    LEVELS,
    FitPass,
    Given,
    Passes,
    PredictPass,
    Targets,
    WholePass,
    named_tensors,
)
from openpfn.export.onnx.operators import missing_operators
from openpfn.files import replacing
from openpfn.models.published.network import PublishedPFN
from openpfn.models.tabular.network import TabularPFN

OPSET = 18
WITHOUT_OPERATOR = {"ridge": "a Cholesky factorization"}
"""Mechanisms that ONNX has no operator for, and which."""
WHOLE = ("x_context", "y_context", "x_query", "categorical")
CONTEXT = ("x_context", "y_context", "categorical")
DYNAMIC = torch.export.Dim.DYNAMIC
SIZES, OTHER_SIZES = (33, 6), (37, 8)
"""Rows and columns of the tables that graphs are traced with."""


def write_onnx(
    model: Any, path: str | Path, *, targets: Targets = "classes", steps: bool = False
) -> list[Path]:
    """Write the table network `model` to the ONNX file `path` and return the files' paths.

    The graph takes one table: `x_context` (1, n, D) and `x_query` (1, Q, D) in float32, NaN where
    a value is missing and whole numbers for categories, which `categorical` (1, D) marks, and
    `y_context` (1, n): classes from 0 in float32, or numbers in float64. It answers `logits`
    (1, Q, classes), −inf for classes above the context's largest; or, for `targets="numbers"`,
    `target_mean` (1, Q) and `target_quantiles` (1, Q, 19) at the levels 0.05 … 0.95. n, Q and D are
    free.

    With `steps` there are two files in its place: `NAME-fit.onnx` turns a context into a state,
    tensors whose names begin with `state`, and `NAME-predict.onnx` takes `x_query` and that state.
    Estimators' encodings and ensembles are not part of a file. Needs the packages onnx and
    onnxscript. Raises ValueError for a network that ONNX has no operators for, or that does not
    predict such targets.
    """
    check_exportable(model, targets)
    path = Path(path)
    model = model.eval()
    if not steps:
        return [_write(path, WholePass(model, targets), WHOLE, ANSWERS[targets])]
    fit = FitPass(model, targets)
    predict = PredictPass(model, targets, state_of(fit, *SIZES))
    names = [name for name, _ in named_tensors(predict.example)]
    asked, place = ("x_query", *names), path.with_stem(f"{path.stem}-predict")
    return [
        _write(path.with_stem(f"{path.stem}-fit"), fit, CONTEXT, names),
        _write(place, predict, asked, ANSWERS[targets]),
    ]


def check_exportable(model: Any, targets: Targets) -> None:
    """Raise ValueError where ONNX cannot carry `model`, ImportError where a package is missing."""
    if not isinstance(model, TabularPFN | PublishedPFN):
        raise ValueError(
            f"a {type(model).__name__} is no network of tables. ONNX files are written of"
            " TabularPFN and of imported nanoTabPFN and TinyPFN networks."
        )
    if missing := [name for name in ("onnx", "onnxscript") if find_spec(name) is None]:
        raise ValueError(
            f"writing ONNX needs {' and '.join(missing)}: pip install 'openpfn[onnx]'."
        )
    if isinstance(model, PublishedPFN):
        if targets == "numbers":
            raise ValueError("this network predicts classes alone. Leave out targets='numbers'.")
        return
    config = model.config
    head = config.head if targets == "classes" else config.regression_head
    if head is None:
        other = "numbers" if targets == "classes" else "classes"
        raise ValueError(f"this network predicts {other} alone. Set targets={other!r}.")
    for name in (config.attention_type, config.column_attention_type):
        if name in WITHOUT_OPERATOR:
            raise ValueError(
                f"ONNX has no operator for {WITHOUT_OPERATOR[name]}, which {name} attention needs."
                " Train with softmax or linear attention, or export C (openpfn export c)."
            )


def example_table(targets: Targets, n_rows: int, n_columns: int) -> dict[str, Tensor]:
    """A table to trace a graph with, by the names of a graph's inputs."""
    generator = torch.Generator().manual_seed(0)
    x, x_query = (torch.randn(1, n, n_columns, generator=generator) for n in (n_rows, 9))
    x[0, 3, 2] = torch.nan
    y = torch.arange(n_rows)[None] % 3
    return {
        "x_context": x,
        "y_context": y.float() if targets == "classes" else y + x[:, :, 0].double(),
        "x_query": x_query,
        "categorical": torch.arange(n_columns)[None] == 1,
    }


def state_of(fit: FitPass, n_rows: int, n_columns: int) -> Given:
    """The state after an example of that size."""
    table = example_table(fit.targets, n_rows, n_columns)
    with torch.no_grad():
        return fit.given(*(table[name] for name in CONTEXT))


def _write(path: Path, graph: Passes, inputs: Sequence[str], outputs: Sequence[str]) -> Path:
    """Trace `graph` on an example and write it."""
    table = example_table(graph.targets, *SIZES)
    free = {name: dict.fromkeys(range(1, table[name].dim()), DYNAMIC) for name in table}
    if isinstance(graph, PredictPass):
        other = dict(named_tensors(state_of(FitPass(graph.model, graph.targets), *OTHER_SIZES)))
        table |= dict(named_tensors(graph.example))
        free |= {name: _differing(table[name], other[name]) for name in other}
    shapes: tuple[Any, ...] = tuple(free[name] for name in inputs)
    if isinstance(graph, PredictPass):
        shapes = (shapes[0], shapes[1:])
    with torch.no_grad(), _quiet():
        program: Any = torch.onnx.export(
            graph,
            tuple(table[name] for name in inputs),
            dynamo=True,
            optimize=False,  # onnxruntime does that as it loads; the exporter loses nodes of clamps
            verbose=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            custom_translation_table=missing_operators(),
        )
    program.model.metadata_props.update(
        {
            "openpfn.graph": type(graph).__name__,
            "openpfn.fingerprint": fingerprint_of(graph.model),
            "openpfn.targets": graph.targets,
            "openpfn.levels": json.dumps(LEVELS if graph.targets == "numbers" else []),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        unfinished.write_bytes(program.model_proto.SerializeToString())
    return path


def _differing(a: Tensor, b: Tensor) -> dict[int, Any]:
    """The axes that grow with the table: those in which states of two tables differ."""
    lengths = enumerate(zip(a.shape, b.shape, strict=True))
    return {axis: DYNAMIC for axis, (one, other) in lengths if one != other}


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on packages that it could use are of no use here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
