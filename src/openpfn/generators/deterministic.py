"""`DeterministicGenerator`: sequences whose targets are a function of inputs and random parameters,
plus noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from openpfn.generators.base import SequencePrior
from openpfn.generators.distributions import (
    check_function,
    check_input_dim,
    distribution_of,
    draw_parameters,
    input_distribution,
    named_latents,
    pools_of,
)
from openpfn.generators.vectorized import PerTask
from openpfn.randomness import draw_inputs, seeded


class DeterministicGenerator(SequencePrior):
    """Draws parameters from `prior` for each task, inputs from `x_distribution`, and gives y =
    function(x, params) + noise.

    `function(x, params)` is written for one task: `x` is (N, input_dim), `params` one draw from
    `prior`, and it returns (N,) targets. Batches run under `torch.vmap`, or in a loop over tasks,
    after one warning, where that cannot follow the function. It may be random through torch's
    functions: those, like the prior and the inputs, then depend on the generator alone.

    Args:
        prior: A `torch.distributions` object, a `DiscreteTask`, a `Mixture`, a `Prior`, or another
        object whose `sample()` gives the parameters of one task.
        function: Targets of one task from its inputs and parameters.
        input_dim: Columns of x.
        noise_std: Standard deviation of the normal noise added to y; None is 0.
        x_distribution: Distribution of a value of x, drawn anew for each column, or of a row of
        input_dim values.
        device: Where `generate` makes its tensors; the CPU if None.
        seq_len: Rows of a sequence in `sample`.
        n_train: Of these, rows of context for networks that read a context; 0 for sequence models.

    Raises ValueError when the function gives other than one target a row. The latent `params` holds
    the parameters.

    >>> from torch.distributions import Normal
    >>> generator = DeterministicGenerator(
    ...     Normal(torch.zeros(3), 1.0), lambda x, w: x @ w, input_dim=3, noise_std=0.1
    ... )
    >>> x, y = generator.generate(seq_len=20)
    >>> x.shape, y.shape
    (torch.Size([20, 3]), torch.Size([20]))
    """

    aliases: ClassVar[tuple[str, ...]] = ("deterministic",)

    def __init__(
        self,
        prior: Any,
        function: Callable[[Tensor, Any], Tensor],
        input_dim: int,
        noise_std: float | None = 0.0,
        x_distribution: Distribution | None = None,
        device: torch.device | str | None = None,
        *,
        seq_len: int = 64,
        n_train: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, n_train=n_train, device=device)
        check_input_dim(input_dim)
        check_function("function", function)
        if noise_std is not None and not (
            isinstance(noise_std, Real) and 0 <= noise_std < math.inf
        ):
            raise ValueError(
                f"noise_std is {noise_std!r}, must be a finite number ≥ 0, or None for no noise."
            )
        self.prior, self.input_dim, self.noise_std = (
            distribution_of(prior),
            input_dim,
            noise_std or 0.0,
        )
        self.x_distribution = input_distribution(x_distribution)
        self.function = function
        self._values = PerTask(
            function, f"the function {getattr(function, '__name__', '')}".rstrip()
        )

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        with seeded(generator) as device:
            params = draw_parameters(self.prior, n_tasks, device)
            x = draw_inputs(self.x_distribution, n_tasks, n_rows, self.input_dim, device)
            y = self._values(x, params)
            if isinstance(y, Tensor) and y.shape in ((n_tasks,), (n_tasks, 1)):
                y = y.reshape(n_tasks, 1).expand(n_tasks, n_rows)  # the same for all rows
            if not isinstance(y, Tensor) or y.shape != (n_tasks, n_rows):
                given = tuple(y.shape[1:]) if isinstance(y, Tensor) else type(y).__name__
                raise ValueError(
                    f"{self._values.name} gave {given} for one task of {n_rows} rows; expected"
                    f" shape ({n_rows},)."
                )
            y = y.to(device, torch.float32)
            if self.noise_std:
                y = y + self.noise_std * torch.randn_like(y)
        return x, y, named_latents("params", params)

    def task_pools(self) -> dict[str, Tensor]:
        return pools_of("params", self.prior)
