"""`sample(name, distribution)`: a named draw inside a program that describes a prior, in Pyro's
manner."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MixtureSameFamily

from openpfn.generators.distributions import DiscreteTask, Mixture, check_distributions


def sample(name: str | None, distribution: Distribution) -> Tensor:
    """One draw from `distribution`; its value becomes the latent `name` of the task. None as the
    name records nothing.

    Inside a program of a `ProgramGenerator` the draws of all tasks are made at once, and depend on
    that generator's randomness alone. Elsewhere this is `distribution.sample()`. Raises ValueError
    when a program uses a name twice.
    """
    check_distributions(f"the site {name!r}", distribution)
    trace = _TRACE.get()
    return distribution.sample() if trace is None else trace.draw(name, distribution)


class Trace:
    """Record of what the sites of one run of a program drew. `given` are values that sites take
    instead of drawing."""

    def __init__(
        self, task: Tensor | None = None, given: Mapping[str, Tensor] | None = None
    ) -> None:
        self.task, self.given = task, given
        self.values: dict[str, Tensor] = {}
        self.pools: dict[str, Tensor] = {}

    def run(self, program: Callable[..., Any], *arguments: Any) -> Any:
        """Run `program` so that its sites draw here, and return what it gives."""
        token = _TRACE.set(self)
        try:
            return program(*arguments)
        finally:
            _TRACE.reset(token)

    def draw(self, name: str | None, distribution: Distribution) -> Tensor:
        if name in self.values:
            raise ValueError(
                f"the program samples {name!r} twice. Give each site a name of its own, such as"
                f" f'{name}{{i}}', or None."
            )
        if name is not None and self.given is not None and name in self.given:
            value = self.given[name]
        else:
            value = (
                distribution.sample()
                if self.task is None
                else drawn_for_every_task(self.task, distribution)
            )
        if name is not None:
            self.values[name] = value
            if isinstance(distribution, DiscreteTask):
                self.pools[name] = distribution.tasks
        return value


_TRACE: ContextVar[Trace | None] = ContextVar("trace", default=None)


def drawn_for_every_task(task: Tensor, distribution: Distribution) -> Tensor:
    """A draw under `torch.vmap`: an independent one per task, made for all at once. `task` is the
    number of this one.

    Many distributions cannot be sampled under vmap. So the draw steps out of it: there the
    parameters have an axis of tasks.
    """
    tensors, rebuild = _taken_apart(distribution)
    return _Draw.apply(rebuild, task, *tensors)  # pyright: ignore[reportReturnType]


class _Draw(torch.autograd.Function):
    """The draw, with a rule for vmap."""

    @staticmethod
    def forward(rebuild: Callable[..., Distribution], task: Tensor, *tensors: Tensor) -> Tensor:
        return rebuild(tensors).sample()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Draws have no gradient."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        rebuild: Callable[..., Distribution],
        task: Tensor,
        *tensors: Tensor,
    ) -> Any:
        dims = in_dims[2:]
        placed = [
            t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
            for t, dim in zip(tensors, dims, strict=True)
        ]
        return rebuild(placed, info.batch_size).sample(), 0


def _taken_apart(distribution: Distribution) -> tuple[list[Tensor], Callable[..., Distribution]]:
    """The parameters of a distribution, and what makes one again of parameters that may have a
    leading axis of tasks.

    Raises TypeError for kinds whose parameters are not those that they are made with (transformed
    ones, for example).
    """
    if isinstance(distribution, Independent):
        tensors, rebuild = _taken_apart(distribution.base_dist)
        n_axes = distribution.reinterpreted_batch_ndims
        return tensors, lambda values, *n_tasks: Independent(rebuild(values, *n_tasks), n_axes)
    if isinstance(distribution, MixtureSameFamily):
        weights, rebuild_weights = _taken_apart(distribution.mixture_distribution)
        tensors, rebuild = _taken_apart(distribution.component_distribution)
        k = len(weights)
        return (
            weights + tensors,
            lambda values, *n_tasks: MixtureSameFamily(
                rebuild_weights(values[:k], *n_tasks),  # pyright: ignore[reportArgumentType]
                rebuild(values[k:], *n_tasks),
            ),
        )
    if isinstance(distribution, DiscreteTask | Mixture):
        # their parameters are the same for all tasks
        return [], lambda values, *n_tasks: distribution.expand(
            torch.Size((*n_tasks, *distribution.batch_shape))
        )
    kind: Any = type(distribution)
    shape = distribution.batch_shape
    names = set(inspect.signature(kind.__init__).parameters) - {"self", "validate_args"}
    for one, others in (
        ("logits", {"probs"}),
        ("scale_tril", {"covariance_matrix", "precision_matrix"}),
    ):
        if one in names:
            names -= others
    values = {
        name: getattr(distribution, name)
        for name in sorted(names & set(distribution.arg_constraints))
    }
    parameters = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    if not parameters or len(parameters) < len(names):
        raise TypeError(f"cannot draw a {kind.__name__} for all tasks at once")

    def rebuild_leaf(values: list[Tensor], *n_tasks: int) -> Distribution:
        made = kind(**dict(zip(parameters, values, strict=True)))
        assert made.batch_shape == (
            *n_tasks,
            *shape,
        ), f"{kind.__name__}: batch shape {made.batch_shape} for {n_tasks} tasks of {shape}"
        return made

    return list(parameters.values()), rebuild_leaf
