"""Checks of what goes into a network, before anything is computed: errors say what was given and
what is wanted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def check_tensors(**given: Any) -> None:
    """Raise TypeError, naming the argument, for anything but a tensor."""
    for name, value in given.items():
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} is a {type(value).__name__}, expected a tensor. Use torch.as_tensor."
            )


def check_columns(name: str, x: Tensor, input_dim: int) -> None:
    """Raise ValueError unless the rows `x` have `input_dim` columns."""
    if x.shape[-1] != input_dim:
        raise ValueError(
            f"{name} has {x.shape[-1]} columns, but input_dim is {input_dim}. Make them agree."
        )


def check_classes(y: Tensor, n_classes: int) -> None:
    """Raise ValueError unless `y` holds whole numbers 0 … `n_classes` − 1 alone."""
    if torch.compiler.is_compiling():
        return
    wrong = ~((y >= 0) & (y < n_classes) & (y == y.floor()))
    if bool(wrong.any()):
        raise ValueError(
            f"y holds {float(y[wrong][0]):g}, but the network tells {n_classes} classes or tokens"
            f" apart: 0 … {n_classes - 1}."
        )


def check_numbers(y: Tensor) -> None:
    """Raise ValueError where targets that are read as numbers are missing or infinite."""
    if torch.compiler.is_compiling():
        return
    if not bool(y.isfinite().all()):
        raise ValueError(
            "y holds NaN or infinite values; targets must be known. Drop the rows without one."
        )


def check_finite(**given: Tensor) -> None:
    """Raise ValueError, naming the argument, where one holds NaN or infinite values."""
    for name, value in given.items():
        if not bool(value.isfinite().all()):
            raise ValueError(
                f"{name} holds NaN or infinite values, which a sequence network cannot read. Fill"
                " them in or drop their rows."
            )


def check_queries(n_train: int, n_rows: int) -> None:
    """Raise ValueError where no row is left to predict."""
    if n_train == n_rows:
        raise ValueError(
            f"n_train is {n_train} of {n_rows} rows: no row is left to predict. Lower n_train, or"
            " give more rows."
        )


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is above 0."""
    if not temperature > 0:
        raise ValueError(
            f"temperature is {temperature}, must be above 0. For the most probable value, use"
            " sample=False or mode."
        )
