"""`MixtureGenerator`: sequences of several generators side by side in every batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from openpfn.generators.base import SequencePrior
from openpfn.generators.distributions import checked_weights


class MixtureGenerator(SequencePrior):
    """Draws each sequence from one of `generators`, in proportion to `weights` (equal if None).

    The generators must agree in the columns of x, or all have none. The latent `part` tells which
    generator made a sequence; other latents are kept where all generators have them in the same
    shape. `seq_len`, `n_train` and `device` are those of `SequencePrior`.

    >>> flat = DeterministicGenerator(Normal(0.0, 1.0), constant, input_dim=1)    # doctest: +SKIP
    >>> mixed = MixtureGenerator([flat, waves], weights=[1, 3])    # doctest: +SKIP
    """

    aliases: ClassVar[tuple[str, ...]] = ("mixture_generator",)

    def __init__(
        self,
        generators: Sequence[SequencePrior],
        weights: Sequence[float] | None = None,
        *,
        device: torch.device | str | None = None,
        seq_len: int = 64,
        n_train: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, n_train=n_train, device=device)
        self.generators = tuple(generators)
        if not self.generators or not all(
            isinstance(part, SequencePrior) for part in self.generators
        ):
            raise TypeError(
                "generators must be one or more generators of sequences; got"
                f" {[type(g).__name__ for g in generators]}."
            )
        self.weights = checked_weights(weights, len(self.generators))

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, Mapping[str, Tensor]]:
        device = generator.device
        choice = torch.multinomial(
            self.weights.to(device), n_tasks, replacement=True, generator=generator
        )
        counts = torch.bincount(choice, minlength=len(self.generators)).tolist()
        # a part that has no task in the batch draws one all the same: what the batch tells must not
        # depend on chance
        drawn = [
            part.draw(max(n, 1), n_rows, generator)
            for part, n in zip(self.generators, counts, strict=True)
        ]
        xs, ys, latents = zip(*drawn, strict=True)
        if len({None if x is None else x.shape[2] for x in xs}) > 1:
            given = [None if x is None else x.shape[2] for x in xs]
            raise ValueError(
                f"the generators make sequences of different columns, {given}. Mix generators of"
                " the same input_dim."
            )
        place = choice.argsort(
            stable=True
        ).argsort()  # task i is the place[i]-th of the parts' tasks in a row

        def in_order(parts: Sequence[Tensor]) -> Tensor:
            return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])[place]

        shared = {
            name: in_order([found[name] for found in latents])
            for name, value in latents[0].items()
            if all(name in found and found[name].shape[1:] == value.shape[1:] for found in latents)
        }
        return None if xs[0] is None else in_order(xs), in_order(ys), shared | {"part": choice}

    def task_pools(self) -> dict[str, Tensor]:
        """The pools of all generators, as PART.NAME."""
        return {
            f"{i}.{name}": pool
            for i, part in enumerate(self.generators)
            for name, pool in part.task_pools().items()
        }
