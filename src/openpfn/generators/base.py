"""`SequencePrior`: a distribution over sequences, described in Python."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import nullcontext
from copy import copy
from numbers import Integral
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.priors.base import TaskPrior
from openpfn.randomness import fresh_generator, seeded


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

    @abstractmethod
    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Mapping[str, Tensor]]:
        """Inputs (B, N, D) or None, targets (B, N) and latents with a leading axis B: float32, or
        whole numbers where targets are, on the generator's device."""

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        x, y, latents = self.draw(n_tasks, self.seq_len, generator)
        y = y if y.is_floating_point() else y.float()
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
        if not isinstance(seq_len, Integral) or seq_len < 0:
            raise ValueError(f"seq_len is {seq_len!r}, must be a whole number of at least 0.")
        n_rows = max(seq_len, 1)  # functions of users need not know what to do without any row
        x, y, latents = self.draw(1, n_rows, generator or fresh_generator(self.device))
        first = {name: value[0] for name, value in latents.items()}
        params = first["params"] if set(first) == {"params"} else first
        y = y[0, :seq_len]
        return (y, params) if x is None else (x[0, :seq_len], y, params)


def sample_batch(
    data_generator: Any,
    batch_size: int,
    seq_len: int,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "B N D"] | None, Float[Tensor, "B N"] | Int[Tensor, "B N"]]:
    """`(x, y)` of `batch_size` sequences of `seq_len` rows; x is None where there are no inputs.

    Priors draw them at once. Any other object with a method `generate(seq_len)`, which gives one
    sequence (x, y) or y, is called for each. Without a generator, torch's global random state
    decides.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f"batch_size is {batch_size!r}, must be a whole number of at least 1.")
    if not isinstance(data_generator, TaskPrior):
        return _generated(data_generator, batch_size, seq_len, generator)
    random = generator or fresh_generator(getattr(data_generator, "device", torch.device("cpu")))
    prior = data_generator.of_length(seq_len)
    if isinstance(prior, SequencePrior):
        return prior.draw(batch_size, seq_len, random)[:2]
    batch = prior.sample(batch_size, random)
    return batch.x, batch.y


def _generated(
    data_generator: Any, batch_size: int, seq_len: int, generator: torch.Generator | None
) -> tuple[Tensor | None, Tensor]:
    """A batch of sequences out of an object that makes one at a time."""
    if not callable(getattr(data_generator, "generate", None)):
        raise TypeError(
            f"data_generator is a {type(data_generator).__name__}; expected a TaskPrior, such as a"
            " DeterministicGenerator, or an object with a method generate(seq_len)."
        )
    with nullcontext() if generator is None else seeded(generator):
        made = [data_generator.generate(seq_len=seq_len) for _ in range(batch_size)]
    pairs = [one if isinstance(one, tuple) else (None, one) for one in made]
    y = torch.stack([torch.as_tensor(pair[1]) for pair in pairs])
    if any(pair[0] is None for pair in pairs):
        return None, y
    return torch.stack([torch.as_tensor(pair[0]) for pair in pairs]), y
