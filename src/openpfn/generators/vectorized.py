"""A function written for one task, called on many at once; and torch's randomness out of one
generator."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.distributions import Distribution
from torch.utils import _pytree as pytree


class PerTask:
    """`function`, written for one task, called on tensors (or trees of them) with a leading axis of
    tasks; gives what it gives, stacked along that axis.

    It runs once under `torch.vmap`. Where that fails, or gives other values than a call per task,
    it runs in a loop, after one warning. Which of the two is settled by the first call, on at most
    two tasks; an error of the function's own is raised from there as it is. Random functions of
    torch are welcome inside and differ between tasks. Whatever else is random (NumPy, `random`, a
    counter) is refused, because the tasks would not depend on their generator alone: ValueError.

    `under_vmap` takes the function's place under vmap. `replay(outputs, *arguments)` calls a random
    function again on one task so that it meets the randomness behind `outputs`: then even its
    values can be compared.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        under_vmap: Callable[..., Any] | None = None,
        replay: Callable[..., Any] | None = None,
    ) -> None:
        self.function, self.name, self.under_vmap, self.replay = (
            function,
            name,
            under_vmap or function,
            replay,
        )
        self.way: Literal["vmap", "loop"] | None = None

    def __call__(self, *arguments: Any) -> Any:
        with torch.no_grad():
            if self.way is None:
                with torch.random.fork_rng(_cuda_devices(arguments)):
                    self.way = self._choose(pytree.tree_map(lambda tensor: tensor[:2], arguments))
            return self._vmapped(*arguments) if self.way == "vmap" else self._looped(*arguments)

    def _vmapped(self, *arguments: Any) -> Any:
        with _unvalidated():
            return torch.vmap(_tensors_of(self.under_vmap), randomness="different")(*arguments)

    def _looped(self, *arguments: Any) -> Any:
        function = _tensors_of(self.function)
        return stacked([function(*task) for task in _tasks(arguments)])

    def _choose(self, few: tuple[Any, ...]) -> Literal["vmap", "loop"]:
        with torch.random.fork_rng(_cuda_devices(few)):
            again = self._looped(*few)
        before = _random_state(few)
        one_by_one = self._looped(*few)
        is_random = _random_state(few) != before
        if not same(again, one_by_one):
            raise ValueError(
                f"{self.name} gives different values for the same arguments and the same state of"
                " torch's random generator. Draw with torch (or sample(name, distribution))"
                " instead of NumPy or random, and keep no state between calls."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what vmap says of its own speed
                at_once = self._vmapped(*few)
        except Exception as error:  # whatever vmap cannot follow: the loop can
            self._warn(
                f"{type(error).__name__}:"
                f" {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
            )
            return "loop"
        if is_random and self.replay is not None:
            one_by_one, is_random = self._replayed(at_once, few)
        if not (
            alike(at_once, one_by_one)
            if is_random
            else same(at_once, one_by_one, rtol=1e-3, atol=1e-4)
        ):
            self._warn("torch.vmap gives other values than a call per task")
            return "loop"
        return "vmap"

    def _replayed(self, at_once: Any, few: tuple[Any, ...]) -> tuple[Any, bool]:
        """What a call per task gives under the randomness behind `at_once`, and whether it drew
        more than that."""
        assert self.replay is not None
        before = _random_state(few)
        outputs = [
            _tensors_of(self.replay)(pytree.tree_map(lambda t, i=i: t[i], at_once), *task)
            for i, task in enumerate(_tasks(few))
        ]
        return stacked(outputs), _random_state(few) != before

    def _warn(self, why: str) -> None:
        warnings.warn(
            f"{self.name} runs in a loop over tasks, which is slow, because torch.vmap cannot"
            f" follow it ({why}). Write it without branches on values, without in-place changes and"
            " without .item().",
            stacklevel=4,
        )


def stacked(outputs: list[Any]) -> Any:
    """Trees of tensors, one a task, as one tree with a leading axis of tasks."""
    return pytree.tree_map(lambda *tensors: torch.stack(tensors), outputs[0], *outputs[1:])


def alike(a: Any, b: Any) -> bool:
    """Whether two trees of tensors agree in structure and shapes."""
    (leaves, spec), (others, other_spec) = pytree.tree_flatten(a), pytree.tree_flatten(b)
    return spec == other_spec and all(
        x.shape == y.shape for x, y in zip(leaves, others, strict=True)
    )


def same(a: Any, b: Any, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Whether two trees of tensors agree in their values, too; NaN equals NaN."""
    pairs = zip(pytree.tree_leaves(a), pytree.tree_leaves(b), strict=True) if alike(a, b) else ()
    return alike(a, b) and all(
        torch.allclose(x.double(), y.double(), rtol, atol, equal_nan=True) for x, y in pairs
    )


def _tensors_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` with numbers in its result as tensors."""
    return lambda *arguments: pytree.tree_map(torch.as_tensor, function(*arguments))


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Distributions made inside do not look at their parameters: vmap cannot follow a look at
    values. The loop has looked."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


def _tasks(arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The arguments of each task, without their axis of tasks."""
    n_tasks = len(pytree.tree_leaves(arguments)[0])
    return [pytree.tree_map(lambda tensor, i=i: tensor[i], arguments) for i in range(n_tasks)]


def _cuda_devices(arguments: tuple[Any, ...]) -> list[torch.device]:
    tensors = pytree.tree_leaves(arguments)
    return sorted({tensor.device for tensor in tensors if tensor.is_cuda}, key=str)


def _random_state(arguments: tuple[Any, ...]) -> list[bytes]:
    states = [
        torch.get_rng_state(),
        *(torch.cuda.get_rng_state(device) for device in _cuda_devices(arguments)),
    ]
    return [state.numpy().tobytes() for state in states]
