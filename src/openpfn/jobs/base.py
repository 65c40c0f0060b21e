"""What jobs are made of: functions found by name, orders, and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

Backend = Literal["processes", "ray", "dask"]
Order = TypeVar("Order")
Told = Callable[[Any, float], None]


@dataclass(frozen=True)
class Failed:
    """The answer to an order whose function raised."""

    reason: str


@runtime_checkable
class Workers(Protocol):
    """Something that does jobs."""

    def answers(
        self, orders: Iterable[Order], most: int | None = None, told: Told | None = None
    ) -> Iterator[tuple[Order, Any]]:
        """Each order with its answer, in the order in which they come: `Failed` where the function
        raised, None where the process that did it died again and again. At most `most` are done at
        a time; `told` takes an order and its share done."""
        ...

    def __enter__(self) -> Workers: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def called(function: str) -> Callable[..., Any]:
    """Return the function named "module:name"."""
    module, name = function.split(":")
    return getattr(import_module(module), name)


def described(error: BaseException) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
