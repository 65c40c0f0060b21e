"""`Activations`: the activations of random structural causal models, applied to all nodes of one
kind at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.scm.noise import Noise, change_rows

KINDS = {
    "identity": 0.20,
    "tanh": 0.14,
    "relu": 0.10,
    "leaky_relu": 0.06,
    "softplus": 0.04,
    "fourier": 0.18,
    "sine": 0.06,
    "abs": 0.05,
    "square": 0.05,
    "bump": 0.05,
    "sign": 0.03,
    "steps": 0.03,
    "modulo": 0.03,
}
"""Kinds of activation and their weights; `fourier` stands for a whole family of random smooth
functions."""

_IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": Tensor.tanh_,
    "relu": Tensor.relu_,
    "leaky_relu": lambda z: F.leaky_relu_(z, 0.2),
    "softplus": F.softplus,
    "sine": Tensor.sin_,
    "abs": Tensor.abs_,
    "square": lambda z: z.clamp_(-4, 4).square_(),
    "bump": lambda z: z.clamp_(-5, 5).square_().neg_().exp_(),
    "sign": Tensor.sign_,
    "steps": Tensor.floor_,
    "modulo": lambda z: z.frac_(),
}
N_KINDS_IN_USE = 6
N_FUNCTIONS, N_SINES, N_CELLS, REACH = 48, 32, 1024, 4.0


class Activations:
    """The activations of one chunk of tasks: a few kinds by chance, so that every call works on
    many nodes, and random functions."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise
        self.kinds = noise.choice(list(KINDS.values()), N_KINDS_IN_USE)
        self._names = [list(KINDS)[kind] for kind in sorted(set(self.kinds.tolist()))]
        self._functions: Float[Tensor, " F"] | None = None

    def draw(self, *shape: int) -> Int[Tensor, "..."]:
        """Random kinds among those in use."""
        return self.kinds[self.noise.integers(N_KINDS_IN_USE, *shape)]

    def apply(self, z: Float[Tensor, "M N"], kinds: Int[Tensor, " M"]) -> None:
        """Apply to every row the activation of its kind, in place."""
        for name in self._names:
            if name != "identity":
                rows = (kinds == list(KINDS).index(name)).nonzero().squeeze(1)
                change_rows(
                    z, rows, self._random_functions if name == "fourier" else _IN_PLACE[name]
                )

    def _random_functions(self, z: Float[Tensor, "R N"]) -> Float[Tensor, "R N"]:
        """A random function for every row, stretched and shifted at random; looked up, because
        sines by the dozen are dear."""
        if self._functions is None:
            self._functions = random_functions(self.noise)
        per_unit = N_CELLS / (2 * REACH)
        z.mul_(self.noise.uniform(0.5 * per_unit, 1.2 * per_unit, len(z), 1)).add_(
            self.noise.uniform(0.3, 0.7, len(z), 1) * N_CELLS
        )
        z.clamp_(0, N_CELLS - 1).add_(
            self.noise.integers(N_FUNCTIONS, len(z), 1) * N_CELLS
        )  # below 2²⁴: exact in float32
        return self._functions.index_select(0, z.int().view(-1)).view(z.shape)


def random_functions(noise: Noise) -> Float[Tensor, " F"]:
    """`N_FUNCTIONS` sums of sines with random decaying spectra on a grid over −REACH … REACH, one
    after another, made by one product."""
    frequency = noise.log_uniform(0.15, 12, N_SINES)
    grid = torch.linspace(-REACH, REACH, N_CELLS, device=noise.device)
    waves = torch.addcmul(noise.uniform(0, 6.2832, N_SINES, 1), frequency.unsqueeze(1), grid).sin_()
    amplitude = noise.normal(N_FUNCTIONS, N_SINES) * frequency.pow(
        -noise.uniform(0.6, 2.5, N_FUNCTIONS, 1)
    )
    return ((amplitude / amplitude.norm(dim=1, keepdim=True)) @ waves).flatten()
