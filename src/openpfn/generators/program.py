"""`ProgramGenerator`: sequences from a Python program that draws its parameters with `sample(name,
distribution)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution

from openpfn.generators.base import SequencePrior
from openpfn.generators.distributions import check_function, check_input_dim, input_distribution
from openpfn.generators.tracing import Trace
from openpfn.generators.vectorized import PerTask
from openpfn.randomness import draw_inputs, seeded


class ProgramGenerator(SequencePrior):
    """Runs `program` for each task; what it draws with `sample(name, distribution)` are the task's
    latents.

    The program is written for one task. With `input_dim`, it is called as `program(x)` with `x` (N,
    input_dim) from `x_distribution`, standard normal if None, and returns the targets (N,).
    Without, it is called as `program(n_rows)` and returns the targets, or `(x, y)` if it makes
    inputs itself. All randomness comes from the generator.

    A batch is one run under `torch.vmap`, in which a site draws for all tasks at once; so a program
    may not branch on values that it drew. One that does runs in a loop over tasks, after one
    warning, and so does one that samples a kind of distribution whose parameters cannot be told
    (transformed ones, for example).

    >>> from torch.distributions import Normal
    >>> from openpfn.generators import sample
    >>> def line(x):
    ...     slope = sample("slope", Normal(0.0, 1.0))
    ...     noise = sample("noise", torch.distributions.Gamma(2.0, 4.0))
    ...     return sample(None, Normal(slope * x[:, 0], noise))
    >>> batch = ProgramGenerator(line, input_dim=1).sample(8, torch.Generator().manual_seed(0))
    >>> sorted(batch.latents), batch.latents["slope"].shape
    (['noise', 'slope'], torch.Size([8]))
    """

    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        program: Callable[[Any], Any],
        input_dim: int | None = None,
        x_distribution: Distribution | None = None,
        *,
        device: torch.device | str | None = None,
        seq_len: int = 64,
        n_train: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, n_train=n_train, device=device)
        check_function("program", program)
        if input_dim is not None:
            check_input_dim(input_dim)
        if input_dim is None and x_distribution is not None:
            raise ValueError(
                "x_distribution needs input_dim: without it the program takes the number of rows"
                " and makes its inputs itself."
            )
        self.program, self.input_dim = program, input_dim
        self.x_distribution = input_distribution(x_distribution)
        self.name = f"the program {getattr(program, '__name__', '')}".rstrip()
        self._run = PerTask(self._traced, self.name, self._traced_at_once, self._replayed)

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        with seeded(generator) as device:
            x = (
                None
                if self.input_dim is None
                else draw_inputs(self.x_distribution, n_tasks, n_rows, self.input_dim, device)
            )
            rows = torch.zeros(n_tasks, n_rows, 0, device=device) if x is None else x
            outputs, latents = self._run(torch.arange(n_tasks, device=device), rows)
        y = outputs[-1]
        x = outputs[0] if len(outputs) == 2 else x
        if y.shape != (n_tasks, n_rows) or (
            x is not None and (x.ndim != 3 or x.shape[1] != n_rows)
        ):
            shapes = " and ".join(str(tuple(output.shape[1:])) for output in outputs)
            raise ValueError(
                f"{self.name} gave {shapes} for one task of {n_rows} rows; expected y ({n_rows},),"
                f" or x ({n_rows}, D) and y."
            )
        floats = {
            name: value.to(device, torch.float32 if value.is_floating_point() else None)
            for name, value in latents.items()
        }
        return (
            None if x is None else x.to(device, torch.float32),
            y.to(device, torch.float32),
            floats,
        )

    def task_pools(self) -> dict[str, Tensor]:
        """The pools that the program's sites draw from, by the site's name."""
        trace = Trace()
        with seeded(torch.Generator().manual_seed(0)):
            trace.run(
                self.program,
                (
                    self.seq_len
                    if self.input_dim is None
                    else torch.zeros(self.seq_len, self.input_dim)
                ),
            )
        return trace.pools

    def _traced(self, task: Tensor, x: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        """Return what one task's program gives, and what its sites drew."""
        return self._outputs(Trace(), x)

    def _traced_at_once(
        self, task: Tensor, x: Tensor
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        return self._outputs(Trace(task), x)

    def _replayed(
        self, earlier: Any, task: Tensor, x: Tensor
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        return self._outputs(Trace(given=earlier[1]), x)

    def _outputs(self, trace: Trace, x: Tensor) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
        found = trace.run(self.program, x.shape[0] if self.input_dim is None else x)
        outputs = (
            (found,)
            if isinstance(found, Tensor)
            else tuple(found)
            if isinstance(found, tuple | list)
            else ()
        )
        if not 1 <= len(outputs) <= (2 if self.input_dim is None else 1) or not all(
            isinstance(output, Tensor) for output in outputs
        ):
            wanted = "the targets (N,)" + (" or (x, y)" if self.input_dim is None else "")
            raise TypeError(
                f"{self.name} returned a {type(found).__name__}; expected {wanted}, as tensors."
            )
        return outputs, trace.values
