"""`WeightDifference`: what fine-tuning changed in a network, in a byte per weight."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LARGEST = 127
"""Largest size of a whole number that stands for a change."""


@dataclass(frozen=True)
class WeightDifference:
    """Changes of a network's weights: for each changed tensor, whole numbers from −127 to 127, and
    the unit of each of its rows.

    The sum of the weights and the changes is computed alike everywhere, so that a network that is
    put together from a checkpoint and a file has the bits of the one that was saved.
    """

    steps: Mapping[str, np.ndarray]
    """Whole numbers (int8) in the shape of each tensor."""
    units: Mapping[str, np.ndarray]
    """Size of one in each row (float32), for rows of the first axis; one unit for a vector."""

    @classmethod
    def between(
        cls, base: Mapping[str, Tensor], others: Sequence[Mapping[str, Tensor]]
    ) -> WeightDifference:
        """Return the difference of the mean of `others` to `base`, rounded.

        What is equal in all of them is left out.
        """
        steps, units = {}, {}
        for name, weights in base.items():
            if not weights.is_floating_point():
                continue
            # in double precision, which not every device has
            mean = torch.stack([other[name].cpu().double() for other in others]).mean(dim=0)
            change = mean - weights.cpu().double()
            if not change.any():
                continue
            rows = change if change.ndim > 1 else change.reshape(1, -1)
            rows = rows.reshape(len(rows), -1)
            unit = (rows.abs().amax(dim=1) / LARGEST).float()
            safe = torch.where(unit > 0, unit, 1.0).double()
            rounded = (rows / safe[:, None]).round().clamp(-LARGEST, LARGEST)
            steps[name] = rounded.reshape(change.shape).to(torch.int8).numpy()
            units[name] = unit.numpy()
        return cls(steps, units)

    def added_to(self, model: nn.Module) -> nn.Module:
        """Return a copy of `model` with the changes, ready to predict.

        Raises ValueError where `model` has no such weights.
        """
        changed = copy.deepcopy(model)
        weights = changed.state_dict()
        for name, steps in self.steps.items():
            if name not in weights or tuple(weights[name].shape) != steps.shape:
                raise ValueError(
                    f"the network has no weights {name!r} of shape {steps.shape}, which the"
                    " fine-tuning changed. Bring back the checkpoint that was fine-tuned."
                )
            change = torch.from_numpy(self.change(name)).to(weights[name])
            with torch.no_grad():
                weights[name].add_(change)
        return changed.eval().requires_grad_(False)

    def change(self, name: str) -> np.ndarray:
        """Return the change of one tensor, in single precision."""
        steps, unit = self.steps[name], self.units[name]
        shape = (-1, *[1] * (steps.ndim - 1)) if steps.ndim > 1 else (-1,)
        return steps.astype(np.float32) * unit.reshape(shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of all of it."""
        return sum(part.nbytes for parts in (self.steps, self.units) for part in parts.values())

    def arrays(self) -> dict[str, np.ndarray]:
        """Return its parts by name."""
        return {f"steps/{name}": part for name, part in self.steps.items()} | {
            f"units/{name}": part for name, part in self.units.items()
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> WeightDifference:
        """Return the difference whose `arrays()` these were."""
        parts: dict[str, dict[str, np.ndarray]] = {"steps": {}, "units": {}}
        for name, array in arrays.items():
            kind, _, weight = name.partition("/")
            parts[kind][weight] = array
        return cls(parts["steps"], parts["units"])
