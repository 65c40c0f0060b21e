"""`Muon`: momentum whose update is made orthogonal, for the hidden matrices of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024), steepest at zero."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by Newton–Schulz iterations (Jordan et al. 2024),
    for matrices.

    As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`: the update of a matrix A × B is
    scaled by 0.2·√max(A, B), which makes AdamW's learning rates fit. Matrices of one shape are
    iterated together, which saves most of the calls. Raises ValueError for parameters that are not
    matrices.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        iterations: int = 5,
    ) -> None:
        wrong = [tuple(p.shape) for p in parameters if p.ndim != 2]
        if wrong:
            raise ValueError(f"Muon takes matrices, got shapes {wrong}. Leave the others to AdamW.")
        super().__init__(
            parameters,
            {
                "lr": lr,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "iterations": iterations,
            },
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for parameters in by_shape.values():
                self._step(parameters, group)

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        updates = []
        for parameter in parameters:
            state, gradient = self.state[parameter], parameter.grad
            assert gradient is not None
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            updates.append(torch.lerp(gradient, buffer, group["momentum"]))  # Nesterov
        orthogonal = orthogonalize(torch.stack(updates), group["iterations"])
        rate = group["lr"] * 0.2 * math.sqrt(max(parameters[0].shape))
        for parameter, update in zip(parameters, orthogonal.to(parameters[0].dtype), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)


def orthogonalize(matrices: Float[Tensor, "m A B"], iterations: int = 5) -> Float[Tensor, "m A B"]:
    """Each matrix with its singular values brought near 1 (between about 0.7 and 1.2), in
    bfloat16."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()  # (m, A, B), A ≤ B
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT  # (m, A, A)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """Return the weights of `nn.Linear` modules inside an `nn.ModuleList`, the stack of layers.

    Encoders, embeddings and decoders stand outside the stack, norms and biases are no matrices.
    Raises ValueError if there is no such weight.
    """
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    linear = [
        module for stack in stacks for module in stack.modules() if isinstance(module, nn.Linear)
    ]
    found = list(dict.fromkeys(module.weight for module in linear if module.weight.requires_grad))
    if not found:
        raise ValueError(
            f"{type(model).__name__} has no nn.Linear inside an nn.ModuleList for Muon. Choose"
            " optimizer='adamw'."
        )
    return found
