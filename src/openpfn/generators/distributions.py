"""Priors over parameters, likelihoods, pools of tasks and mixtures: what generators of sequences
are put together from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    Normal,
    constraints,
)
from torch.utils import _pytree as pytree

from openpfn.generators.vectorized import PerTask, stacked
from openpfn.randomness import drawn_from


@dataclass(frozen=True)
class Prior:
    """A distribution over the parameters of a task.

    >>> Prior(torch.distributions.Normal(0.0, 1.0)).sample((3,)).shape
    torch.Size([3])
    """

    distribution: Any
    """Any `torch.distributions` object, a `DiscreteTask` or a `Mixture`; or another object whose
    `sample()` gives the parameters of one task, numbers or tensors, also in tuples or dicts."""

    def __post_init__(self) -> None:
        if not callable(getattr(self.distribution, "sample", None)):
            raise TypeError(
                f"distribution is a {type(self.distribution).__name__}; expected a"
                " torch.distributions.Distribution, or an object with a method sample()."
            )

    def sample(self, shape: Sequence[int] = ()) -> Any:
        """Draws of the given shape, from torch's global random state."""
        found = distribution_of(self)
        if isinstance(found, Distribution):
            return found.sample(torch.Size(shape))
        if not len(shape):
            return pytree.tree_map(lambda values: values[0], _one_by_one(found, 1))
        draws = _one_by_one(found, torch.Size(shape).numel())
        return pytree.tree_map(lambda values: values.unflatten(0, tuple(shape)), draws)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Log-density of `theta` in nats."""
        return self.distribution.log_prob(theta)


class Likelihood:
    """The distribution of the targets of a task given its parameters and inputs: p(y | x, θ).

    `parameterizer(theta, x)` is written for one task: `theta` is one draw from the prior, `x` (N,
    input_dim) the rows. It gives the arguments of `distribution_class` by name, tensors or numbers
    that broadcast against the rows: rows are then independent given θ. A distribution whose event
    is the whole sequence, such as a MultivariateNormal with `loc` (N,), draws the rows jointly.

    >>> likelihood = Likelihood(
    ...     torch.distributions.Normal,
    ...     lambda theta, x: {"loc": x @ theta, "scale": 0.1},
    ...     input_dim=2,
    ... )
    >>> likelihood.distribution(torch.ones(2), torch.zeros(3, 2)).mean
    tensor([0., 0., 0.])
    """

    def __init__(
        self,
        distribution_class: Callable[..., Distribution],
        parameterizer: Callable[..., Any],
        input_dim: int,
    ) -> None:
        """`input_dim` is the number of columns of x, 1 (of zeros) where there are no inputs."""
        check_input_dim(input_dim)
        check_function("distribution_class", distribution_class)
        check_function("parameterizer", parameterizer)
        self.distribution_class, self.parameterizer, self.input_dim = (
            distribution_class,
            parameterizer,
            input_dim,
        )
        self._parameters = PerTask(
            self._aligned, f"the parameterizer {getattr(parameterizer, '__name__', '')}".rstrip()
        )

    def distribution(self, theta: Any, x: Float[Tensor, "N D"]) -> Distribution:
        """The distribution of the targets of one task."""
        return self.distribution_class(**_named(self.parameterizer(theta, x)))

    def draw(
        self, theta: Any, x: Float[Tensor, "B N D"]
    ) -> Float[Tensor, "B N"] | Int[Tensor, "B N"]:
        """Targets of B tasks at once, from torch's global random state, float32 or whole numbers as
        the distribution gives them. `theta` has a leading axis B.

        Raises ValueError when the distribution gives anything but one number a row.
        """
        parameters = {
            name: value.to(x.device) for name, value in self._parameters(theta, x).items()
        }
        found = self.distribution_class(**parameters)
        whole = isinstance(found, Bernoulli)  # its draws are 0.0 and 1.0
        n_tasks, n_rows = x.shape[:2]
        batch, event = tuple(found.batch_shape), tuple(found.event_shape)
        if event == (n_rows,) and batch in ((n_tasks,), (n_tasks, 1)):  # the rows are drawn jointly
            return _in_float32(found.sample().reshape(n_tasks, n_rows))
        if event == () and batch == (n_tasks, n_rows):
            return _in_float32(found.sample().long() if whole else found.sample())
        if event == () and batch in ((n_tasks,), (n_tasks, 1)):  # the same for all rows
            drawn = found.sample(torch.Size((n_rows,))).reshape(n_rows, n_tasks)
            return _in_float32((drawn.long() if whole else drawn).T.contiguous())
        raise ValueError(
            f"for {n_rows} rows the likelihood gives a {type(found).__name__} of batch shape"
            f" {batch[1:]} and event shape {event} per task; expected one number a row, batch shape"
            f" ({n_rows},). Sum over the columns of x in the parameterizer."
        )

    def _aligned(self, theta: Any, x: Tensor) -> dict[str, Tensor]:
        """One task's parameters with the same number of batch axes, so that they still broadcast
        behind an axis of tasks."""
        found = {
            name: torch.as_tensor(value)
            for name, value in _named(self.parameterizer(theta, x)).items()
        }
        n_axes = {name: value.ndim - self._event_axes(name) for name, value in found.items()}
        most = max(n_axes.values())
        return {
            name: value.reshape((1,) * (most - n_axes[name]) + tuple(value.shape))
            for name, value in found.items()
        }

    def _event_axes(self, name: str) -> int:
        """How many trailing axes of the parameter `name` belong to one event: 1 for the
        probabilities of classes, 2 for a covariance."""
        kind = getattr(
            self.distribution_class, "func", self.distribution_class
        )  # of a functools.partial
        constraint = getattr(kind, "arg_constraints", {}).get(name)
        return 0 if constraint is None else constraint.event_dim


class DiscreteTask(Distribution):
    """A finite pool of tasks: `tasks` (M, …), each as likely as the others, or in proportion to
    `weights` (M,).

    >>> DiscreteTask(torch.tensor([[0.0, 1.0], [2.0, 3.0]])).sample((5,)).shape
    torch.Size([5, 2])
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as torch declares it)

    def __init__(
        self, tasks: Tensor, weights: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        tasks = torch.as_tensor(tasks)
        if tasks.ndim < 1 or len(tasks) < 1:
            raise ValueError(
                f"tasks has shape {tuple(tasks.shape)}; expected (M, …) with at least one task."
            )
        if weights is not None:
            weights = torch.as_tensor(weights)
            _check_shares(weights, len(tasks))
        self.tasks, self.weights = tasks, weights
        super().__init__(torch.Size(), tasks.shape[1:], validate_args=validate_args)

    @property
    def log_weights(self) -> Float[Tensor, " M"]:
        """Log-probability of each task."""
        weights = torch.ones(len(self.tasks)) if self.weights is None else self.weights
        return (weights / weights.sum()).log()

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiscreteTask:
        made = DiscreteTask(self.tasks, self.weights)
        made._batch_shape = torch.Size(batch_shape)
        return made

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 (torch's signature)
        shape = torch.Size((*sample_shape, *self.batch_shape))
        if self.weights is None:
            return self.tasks[torch.randint(len(self.tasks), shape, device=self.tasks.device)]
        drawn = torch.multinomial(self.weights.double(), max(shape.numel(), 1), replacement=True)[
            : shape.numel()
        ]
        return self.tasks[drawn.view(shape).to(self.tasks.device)]

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of a task of the pool; −inf for any other."""
        n_axes = len(self.event_shape)
        is_task = value.unsqueeze(value.ndim - n_axes) == self.tasks  # (…, M, *parameters)
        is_task = is_task.flatten(-n_axes).all(-1) if n_axes else is_task  # (…, M)
        return torch.where(is_task, self.log_weights.to(value.device), -torch.inf).logsumexp(-1)


class Mixture(Distribution):
    """One of several distributions of the same shape, chosen for each draw in proportion to
    `weights` (equal if None).

    >>> normal = torch.distributions.Normal
    >>> round(float(Mixture([normal(-3.0, 0.1), normal(3.0, 0.1)], weights=[1, 3]).mean), 2)
    1.5
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 (as torch declares it)

    def __init__(
        self,
        components: Sequence[Distribution],
        weights: Sequence[float] | None = None,
        validate_args: bool | None = None,
    ) -> None:
        check_distributions("components", *components)
        shapes = {tuple(c.batch_shape + c.event_shape) for c in components}
        if len(shapes) != 1:
            raise ValueError(
                "components must be one or more distributions of values of the same shape; got"
                f" {sorted(shapes)}."
            )
        self.components = tuple(components)
        self.weights = checked_weights(weights, len(self.components))
        super().__init__(
            torch.Size(), torch.Size(shapes.pop()), validate_args=validate_args
        )  # one choice for a whole draw

    @property
    def mean(self) -> Tensor:
        return sum(
            (w * c.mean for w, c in zip(self.weights.tolist(), self.components, strict=True)),
            start=torch.zeros(()),
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> Mixture:
        made = Mixture(self.components, self.weights.tolist())
        made._batch_shape = torch.Size(batch_shape)
        return made

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008 (torch's signature)
        shape = torch.Size((*sample_shape, *self.batch_shape))
        draws = torch.stack([c.sample(shape) for c in self.components])  # (K, …, *event)
        choice = Categorical(self.weights).sample(shape).to(draws.device)
        index = choice.view(1, *shape, *(1 for _ in self.event_shape)).expand(
            1, *shape, *self.event_shape
        )
        return draws.gather(0, index).squeeze(0)

    def log_prob(self, value: Tensor) -> Tensor:
        whole = [Independent(c, len(c.batch_shape)) for c in self.components]
        parts = [c.log_prob(value) for c in whole]
        return (torch.stack(parts, -1) + self.weights.log().to(value.device)).logsumexp(-1)


def checked_weights(weights: Sequence[float] | None, n_parts: int) -> Float[Tensor, " K"]:
    """Shares that sum to 1. Raises ValueError for other than `n_parts` numbers ≥ 0."""
    found = (
        torch.ones(n_parts) if weights is None else torch.tensor(list(weights), dtype=torch.float)
    )
    _check_shares(found, n_parts)
    return found / found.sum()


def check_distributions(name: str, *given: Any) -> None:
    """Raise TypeError, naming the argument, for anything but a distribution."""
    for one in given:
        if not isinstance(one, Distribution):
            raise TypeError(
                f"{name} has a {type(one).__name__}; expected a torch.distributions.Distribution."
            )


def check_function(name: str, given: Any) -> None:
    """Raise TypeError, naming the argument, for what cannot be called."""
    if not callable(given):
        raise TypeError(f"{name} is a {type(given).__name__}; expected a function.")


def check_input_dim(input_dim: Any) -> None:
    """Raise ValueError unless this is a number of columns."""
    if not isinstance(input_dim, Integral) or input_dim < 1:
        raise ValueError(f"input_dim is {input_dim!r}, must be a whole number of at least 1.")


def input_distribution(given: Distribution | None) -> Distribution:
    """The distribution of inputs: standard normal if None. Raises TypeError for anything but a
    distribution."""
    found = Normal(0.0, 1.0) if given is None else given
    check_distributions("x_distribution", found)
    return found


def distribution_of(prior: Any) -> Any:
    """The distribution in a `Prior`, or in a `Prior` of a `Prior`, or itself. Raises TypeError for
    what cannot be sampled."""
    found = Prior(prior).distribution
    while isinstance(found, Prior):
        found = found.distribution
    return found


def draw_parameters(prior: Any, n_tasks: int, device: torch.device) -> Any:
    """One draw per task, (B, …), or a tree of them; numbers with a point are float32."""
    if isinstance(prior, Distribution):
        drawn = drawn_from(prior, torch.Size((n_tasks,)))
    else:
        drawn = _one_by_one(prior, n_tasks)

    def placed(values: Tensor) -> Tensor:
        values = values.to(device)
        return values.float() if values.is_floating_point() else values

    return pytree.tree_map(placed, drawn)


def _one_by_one(prior: Any, n_draws: int) -> Any:
    """Draws of an object that gives one at a time, by `sample()` or `sample(shape)`, stacked."""
    try:
        inspect.signature(prior.sample).bind()
        shape = ()
    except TypeError:
        shape = (torch.Size(),)
    except ValueError:  # no signature to look at
        shape = ()
    draws = [prior.sample(*shape) for _ in range(n_draws)]
    return stacked([pytree.tree_map(torch.as_tensor, draw) for draw in draws])


def named_latents(name: str, values: Any) -> dict[str, Tensor]:
    """The tensors of a tree under `name`, or `name`.0, `name`.slope, … where it has branches."""
    if isinstance(values, Tensor):
        return {name: values}
    branches = values.items() if isinstance(values, dict) else enumerate(values)
    return {
        key: tensor
        for branch, value in branches
        for key, tensor in named_latents(f"{name}.{branch}", value).items()
    }


def pools_of(name: str, distribution: Any) -> dict[str, Tensor]:
    """The pools of tasks in a distribution: under `name`, or `name`.0, `name`.1, … for the parts of
    a mixture."""
    if isinstance(distribution, DiscreteTask):
        return {name: distribution.tasks}
    parts = distribution.components if isinstance(distribution, Mixture) else ()
    return {
        key: pool
        for i, part in enumerate(parts)
        for key, pool in pools_of(f"{name}.{i}", part).items()
    }


def _in_float32(y: Tensor) -> Tensor:
    """Numbers with a point in float32; whole numbers as they are."""
    return y.float() if y.is_floating_point() else y


def _check_shares(weights: Tensor, n_parts: int) -> None:
    if (
        weights.shape != (n_parts,)
        or not bool((weights >= 0).all())
        or not 0 < float(weights.sum()) < torch.inf
    ):
        raise ValueError(
            f"weights must be {n_parts} finite numbers ≥ 0, not all 0; got {weights.tolist()}."
        )


def _named(parameters: Any) -> dict[str, Any]:
    if not isinstance(parameters, dict) or not parameters:
        raise TypeError(
            f"the parameterizer gave a {type(parameters).__name__}; expected a dict such as"
            " {'loc': mean, 'scale': 0.1}."
        )
    return parameters
