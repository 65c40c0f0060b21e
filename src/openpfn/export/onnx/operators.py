"""Operators that our networks use and the exporter of torch does not know, in those of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

INT64 = 7
"""ONNX's number of the type."""


def missing_operators() -> dict[Any, Callable[..., Any]]:
    """Return what each of them is in ONNX, for `torch.onnx.export`."""
    from onnxscript import opset18 as op

    def searchsorted(
        sorted_sequence: Any,
        values: Any,
        out_int32: bool = False,
        right: bool = False,
        side: str | None = None,
        sorter: Any = None,
    ) -> Any:
        """How many of the sorted values are less, or not more, than each value."""
        a = op.Unsqueeze(sorted_sequence, op.Constant(value_ints=[-2]))
        v = op.Unsqueeze(values, op.Constant(value_ints=[-1]))
        before = op.LessOrEqual(a, v) if right or side == "right" else op.Less(a, v)
        return op.ReduceSum(op.Cast(before, to=INT64), op.Constant(value_ints=[-1]), keepdims=0)

    def cummax(values: Any, dim: int) -> Any:
        """The largest value so far along the last axis, whose length K is fixed, and its place: the
        maximum of a window of K that ends there."""
        length = values.shape[-1]
        if dim not in (-1, len(values.shape) - 1) or not isinstance(length, int):
            raise ValueError(f"cummax along axis {dim} of {values.shape} is not supported.")
        rows = op.Reshape(values, op.Constant(value_ints=[-1, 1, length]))
        most, place = op.MaxPool(rows, kernel_shape=[length], pads=[length - 1, 0])
        place = op.Mod(place, op.Constant(value_int=length))
        shape = op.Shape(values)
        return op.Reshape(most, shape), op.Reshape(place, shape)

    return {
        torch.ops.aten.searchsorted.Tensor: searchsorted,
        torch.ops.aten.cummax.default: cummax,
    }
