"""`SequencePrior`: a distribution over sequences, described in Python."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from copy import copy
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.priors.base import TaskPrior
from openpfn.randomness import fresh_generator


class SequencePrior(TaskPrior):
    """Tasks of `seq_len` rows, made in Python of distributions and functions. Subclasses say in
    `draw` what a row is.

    `n_train` of the rows are context for a network that reads a context and answers queries; 0
    suits sequence models, which predict every row from those before it. `device` is where
    `generate` makes its tensors: the CPU if None.
    """

    config_class: ClassVar[type | None] = None

    def __init__(
        self, *, seq_len: int = 64, n_train: int = 0, device: torch.device | str | None = None
    ) -> None:
        if not (seq_len >= 1 and 0 <= n_train <= seq_len):
            raise ValueError(
                f"got seq_len={seq_len} and n_train={n_train}; expected seq_len ≥ 1 and 0 ≤ n_train"
                " ≤ seq_len."
            )
        self.seq_len, self.n_train = seq_len, n_train
        self.device = torch.device("cpu" if device is None else device)

    @classmethod
    @abstractmethod
    def example(cls) -> SequencePrior:
        """A small prior of this kind, to try it out; the laws of priors are tested on it."""

    @abstractmethod
    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Mapping[str, Tensor]]:
        """Inputs (B, N, D) or None, targets (B, N) and latents with a leading axis B: float32, on
        the generator's device."""

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        x, y, latents = self.draw(n_tasks, self.seq_len, generator)
        return TaskBatch(x, y, n_train=self.n_train, latents=MappingProxyType(dict(latents)))

    def of_length(self, seq_len: int) -> SequencePrior:
        """The same prior with sequences of `seq_len` rows. Raises ValueError if they cannot hold
        `n_train`."""
        if not (isinstance(seq_len, Integral) and seq_len >= max(self.n_train, 1)):
            least = max(self.n_train, 1)
            raise ValueError(
                f"seq_len is {seq_len!r}; expected a whole number of at least {least}, with"
                f" n_train={self.n_train}."
            )
        other = copy(self)
        other.seq_len = seq_len
        return other

    def generate(self, seq_len: int, generator: torch.Generator | None = None) -> Any:
        """One sequence: `(x, y)` of shapes (seq_len, D) and (seq_len,), or `y` alone where there
        are no inputs.

        Without a generator, torch's global random state decides.
        """
        outputs = self.generate_with_params(seq_len, generator)[:-1]
        return outputs if len(outputs) == 2 else outputs[0]

    def generate_with_params(
        self, seq_len: int, generator: torch.Generator | None = None
    ) -> tuple[Any, ...]:
        """As `generate`, and then the parameters behind the sequence: `(x, y, params)` or `(y,
        params)`.

        `params` is one tensor, or a dict of them by name where the prior has named latents.
        """
        if not isinstance(seq_len, Integral) or seq_len < 1:
            raise ValueError(f"seq_len is {seq_len!r}, must be a whole number of at least 1.")
        x, y, latents = self.draw(1, seq_len, generator or fresh_generator(self.device))
        first = {name: value[0] for name, value in latents.items()}
        params = first["params"] if set(first) == {"params"} else first
        return (y[0], params) if x is None else (x[0], y[0], params)


def sample_batch(
    data_generator: TaskPrior,
    batch_size: int,
    seq_len: int,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "B N D"] | None, Float[Tensor, "B N"]]:
    """`(x, y)` of `batch_size` sequences of `seq_len` rows, drawn at once; `x` is None where there
    are no inputs.

    Without a generator, torch's global random state decides.
    """
    if not isinstance(data_generator, TaskPrior):
        raise TypeError(
            f"data_generator is a {type(data_generator).__name__}; expected a TaskPrior, such as a"
            " DeterministicGenerator."
        )
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}, must be a whole number of at least 1.")
    device = getattr(data_generator, "device", torch.device("cpu"))
    batch = data_generator.of_length(seq_len).sample(
        batch_size, generator or fresh_generator(device)
    )
    return batch.x, batch.y
