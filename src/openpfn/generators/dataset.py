"""`DatasetGenerator`: sequences of rows of data in memory, at random or one after another."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.generators.base import SequencePrior
from openpfn.randomness import draw_without_replacement


class DatasetGenerator(SequencePrior):
    """Sequences of rows of `x_data` (N, D) and `y_data` (N,): random ones, none twice in a
    sequence, or N consecutive ones.

    Both may be NumPy arrays; `x_data` is None for sequences without inputs. With `sequential` a
    sequence is a window that begins at a random row. The latent `rows` tells which rows a sequence
    has. Targets that are whole numbers stay so. A sequence longer than the data, told once in a
    warning, has rows twice: a window goes on at the first row, random rows are drawn with
    replacement.

    >>> data = DatasetGenerator(torch.randn(100, 3), torch.arange(100.0), sequential=True)
    >>> bool((data.generate(seq_len=10)[1].diff() == 1).all())
    True
    """

    aliases: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        x_data: Tensor | np.ndarray | None,
        y_data: Tensor | np.ndarray,
        sequential: bool = False,
        *,
        device: torch.device | str | None = None,
        seq_len: int = 64,
        n_train: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, n_train=n_train, device=device)
        x_data, y_data = (
            None if x_data is None else torch.as_tensor(x_data),
            torch.as_tensor(y_data),
        )
        if (
            y_data.ndim != 1
            or len(y_data) < 1
            or (x_data is not None and (x_data.ndim != 2 or len(x_data) != len(y_data)))
        ):
            given = "None" if x_data is None else tuple(x_data.shape)
            raise ValueError(
                f"x_data has shape {given} and y_data {tuple(y_data.shape)}; expected (N, D), or"
                " None, and (N,)."
            )
        self.x_data: Float[Tensor, "N D"] | None = (
            None if x_data is None else x_data.detach().float()
        )
        self.y_data: Float[Tensor, " N"] | Int[Tensor, " N"] = (
            y_data.detach().float() if y_data.is_floating_point() else y_data.detach().long()
        )
        self._has_warned = False
        self.sequential = sequential

    def draw(
        self, n_tasks: int, n_rows: int, generator: torch.Generator
    ) -> tuple[Tensor | None, Tensor, dict[str, Tensor]]:
        n_data, device = len(self.y_data), generator.device
        if n_rows > n_data:
            self._warn_of_repeats(n_rows)
        if self.sequential:
            first = torch.randint(
                n_data - n_rows + 1 if n_rows <= n_data else n_data,
                (n_tasks, 1),
                generator=generator,
                device=device,
            )
            rows = (first + torch.arange(n_rows, device=device)) % n_data
        elif n_rows > n_data:
            rows = torch.randint(n_data, (n_tasks, n_rows), generator=generator, device=device)
        else:
            rows = draw_without_replacement(n_tasks, n_rows, n_data, generator)
        at = rows.to(self.y_data.device)
        x = None if self.x_data is None else self.x_data[at].to(device)
        return x, self.y_data[at].to(device), {"rows": rows}

    def _warn_of_repeats(self, n_rows: int) -> None:
        if not self._has_warned:
            self._has_warned = True
            way = "go round to the first row" if self.sequential else "have rows more than once"
            warnings.warn(
                f"seq_len is {n_rows}, but the data have {len(self.y_data)} rows: sequences {way}."
                " Lower seq_len or give more data.",
                stacklevel=4,
            )
