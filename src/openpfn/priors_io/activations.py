"""`activate`: the activations of random structural causal models, applied to all nodes of one kind at a time."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.priors_io.noise import Noise, change_rows

N_SINES = 32
N_CELLS = 2048
REACH = 4.0


def _fourier(z: Float[Tensor, "R N"], noise: Noise) -> Float[Tensor, "R N"]:
    """Random smooth functions, another for every row: sums of sines with a random decaying spectrum.

    Sines are dear, so the functions are tabulated on a fine grid by one matrix product and looked up.
    """
    frequency = noise.log_uniform(0.15, 12, N_SINES)
    phase = noise.uniform(0, 6.2832, N_SINES)
    grid = torch.linspace(-REACH, REACH, N_CELLS, device=z.device)
    waves = torch.addcmul(phase.unsqueeze(1), frequency.unsqueeze(1), grid).sin_()            # (K, cells)
    decay = frequency.pow(-noise.uniform(0.6, 2.5, len(z), 1))
    amplitude = noise.normal_rows(len(z), N_SINES) * decay
    amplitude = amplitude / amplitude.norm(dim=1, keepdim=True)
    cell = z.add_(REACH).mul_(N_CELLS / (2 * REACH)).clamp_(0, N_CELLS - 1).long()
    return (amplitude @ waves).gather(1, cell)


KINDS: dict[str, tuple[float, Callable[[Tensor, Noise], Tensor] | None]] = {
    "identity": (0.20, None),
    "tanh": (0.14, lambda z, noise: z.tanh_()),
    "relu": (0.10, lambda z, noise: z.relu_()),
    "leaky_relu": (0.06, lambda z, noise: torch.nn.functional.leaky_relu_(z, 0.2)),
    "softplus": (0.04, lambda z, noise: torch.nn.functional.softplus(z)),
    "fourier": (0.16, _fourier),
    "sine": (0.06, lambda z, noise: z.sin_()),
    "abs": (0.05, lambda z, noise: z.abs_()),
    "square": (0.05, lambda z, noise: z.clamp_(-4, 4).square_()),
    "bump": (0.05, lambda z, noise: z.clamp_(-5, 5).square_().mul_(-1).exp_()),
    "sign": (0.03, lambda z, noise: z.sign_()),
    "steps": (0.03, lambda z, noise: z.floor_()),
    "modulo": (0.03, lambda z, noise: z.sub_(z.floor())),
}


def draw_kinds(noise: Noise, *shape: int) -> Int[Tensor, "..."]:
    """Random kinds of activation, by their weights."""
    return noise.choice([weight for weight, _ in KINDS.values()], *shape)


def activate(z: Float[Tensor, "M N"], kinds: Int[Tensor, " M"], noise: Noise) -> None:
    """Apply to every row the activation of its kind, in place; a negative kind leaves its row as it is."""
    for number, (_, function) in enumerate(KINDS.values()):
        if function is not None:
            change_rows(z, (kinds == number).nonzero().squeeze(1), lambda rows, f=function: f(rows, noise))
