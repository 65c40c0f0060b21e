"""A network's state of the context, taken apart into named tensors and put together again.

A state is any nesting of NamedTuples, dataclasses, mappings, lists and tuples that ends in tensors,
numbers, words and None. A file holds the ends alone. Their types come from a state that the same
network makes of two rows when the file is loaded: no name in the file decides which code runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

Ends = dict[str, Any]
"""Tensors, numbers, words and None of a state, by their path in it."""


def take_apart(state: Any) -> Ends:
    """Return the ends of `state`. Raises TypeError for an end that no file can hold."""
    ends: Ends = {}
    for path, end in _walk(state, ""):
        if not isinstance(end, Tensor | bool | int | float | str | None):
            raise TypeError(
                f"the state holds a {type(end).__name__} at {path!r}: only tensors, numbers, words"
                " and None can be saved."
            )
        ends[path] = end
    return ends


def put_together(ends: Mapping[str, Any], like: Any) -> Any:
    """Return the state with these ends, built as `like` is.

    Tensors of real numbers get the precision and device of its tensors.

    Raises ValueError if `like` has other paths.
    """
    paths = {path for path, _ in _walk(like, "")}
    if paths != ends.keys():
        odd = sorted(paths ^ ends.keys())[0]
        raise ValueError(
            f"the states do not fit this network: {odd or 'the state itself'} is only in"
            f" {'it' if odd in paths else 'them'}."
        )
    return _build(like, ends, "")


def narrowed(ends: Ends, dtype: torch.dtype) -> Ends:
    """Return the same with what the layers keep in `dtype`, unless it is narrower.

    Column statistics keep their precision.
    """
    return {
        path: _narrowed(end, dtype) if path.startswith("layers/") else end
        for path, end in ends.items()
    }


def in_storage_order(tensor: Tensor) -> tuple[Tensor, list[int]]:
    """Return `tensor` with its axes in the order in which they lie in memory, and this order;
    kernels round by it."""
    order = sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))
    return tensor.permute(order).contiguous(), order


def from_storage_order(tensor: Tensor, order: list[int]) -> Tensor:
    """Return the tensor that `in_storage_order` took."""
    return tensor.permute([order.index(axis) for axis in range(tensor.dim())])


def _narrowed(end: Any, dtype: torch.dtype) -> Any:
    if isinstance(end, Tensor) and end.is_floating_point() and end.dtype.itemsize > dtype.itemsize:
        return end.to(dtype)
    return end


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    parts = _parts(value)
    if parts is None:
        yield path, value
        return
    for name, part in parts.items():
        yield from _walk(part, f"{path}/{name}" if path else name)


def _parts(value: Any) -> dict[str, Any] | None:
    """Return the parts of `value` by name; None for an end."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()  # type: ignore[attr-defined]
    if isinstance(value, list | tuple):
        return {str(i): part for i, part in enumerate(value)}
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return None


def _build(like: Any, ends: Mapping[str, Any], path: str) -> Any:
    parts = _parts(like)
    if parts is None:
        return _like(ends[path], like)
    built = {
        name: _build(part, ends, f"{path}/{name}" if path else name) for name, part in parts.items()
    }
    if isinstance(like, Mapping):
        return dict(zip(like, built.values(), strict=True))
    if is_dataclass(like) or hasattr(like, "_asdict"):
        return type(like)(**built)
    return type(like)(built.values())


def _like(end: Any, like: Any) -> Any:
    if not isinstance(end, Tensor) or not isinstance(like, Tensor):
        return end
    return end.to(device=like.device, dtype=like.dtype if end.is_floating_point() else end.dtype)
