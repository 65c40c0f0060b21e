"""`Muon`: momentum whose update is made orthogonal, for the hidden matrices of a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.training.ranks import ALONE, Ranks

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024), steepest at zero."""


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by Newton–Schulz iterations (Jordan et al. 2024),
    for matrices.

    As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`: the update of a matrix A × B is
    scaled by 0.2·√max(A, B), which makes AdamW's learning rates fit. Matrices of one shape are
    iterated together, which saves most of the calls, and several `ranks`, whose gradients are the
    same, share the iterations among them. Raises ValueError for parameters that are not matrices.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        iterations: int = 5,
        ranks: Ranks = ALONE,
    ) -> None:
        self.ranks = ranks
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
            # nothing is changed before all is computed: a rank that is lost leaves a whole state
            buffers = [[self._momentum(p, group) for p in alike] for alike in by_shape.values()]
            stacks = [
                torch.stack([_nesterov(p, buffer, group) for p, buffer in zip(*pair, strict=True)])
                for pair in zip(by_shape.values(), buffers, strict=True)
            ]
            orthogonal = orthogonalize_shared(stacks, group["iterations"], self.ranks)
            for alike, momenta, updates in zip(by_shape.values(), buffers, orthogonal, strict=True):
                self._apply(alike, momenta, updates, group)

    def _momentum(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return torch.lerp(state["momentum_buffer"], gradient, 1 - group["momentum"])

    def _apply(
        self,
        parameters: list[Tensor],
        buffers: list[Tensor],
        updates: Float[Tensor, "m A B"],
        group: dict[str, Any],
    ) -> None:
        rate = group["lr"] * 0.2 * math.sqrt(max(parameters[0].shape))
        updates = updates.to(parameters[0].dtype)
        for parameter, buffer, update in zip(parameters, buffers, updates, strict=True):
            self.state[parameter]["momentum_buffer"] = buffer
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)


def _nesterov(parameter: Tensor, buffer: Tensor, group: dict[str, Any]) -> Tensor:
    gradient = parameter.grad
    assert gradient is not None
    return torch.lerp(gradient, buffer, group["momentum"])


def orthogonalize_shared(
    stacks: Sequence[Tensor], iterations: int, ranks: Ranks = ALONE
) -> list[Tensor]:
    """Return `orthogonalize` of each stack of matrices, where each of several ranks, which all
    have the same stacks, computes some of the matrices for all.

    The largest matrices are dealt out first, each to the rank that has the least to do.
    """
    if ranks.size == 1 or not stacks:
        return [orthogonalize(stack, iterations) for stack in stacks]
    dealt = _dealt([tuple(stack.shape) for stack in stacks], ranks.size)
    own = [
        orthogonalize(stack[numbers], iterations).flatten()
        for stack, numbers in zip(stacks, dealt[ranks.rank], strict=True)
        if numbers
    ]
    sizes = [
        sum(len(numbers) * stack[0].numel() for stack, numbers in zip(stacks, mine, strict=True))
        for mine in dealt
    ]
    message = torch.zeros(max(sizes), dtype=torch.bfloat16, device=stacks[0].device)
    if own:
        message[: sizes[ranks.rank]] = torch.cat(own)
    found = [torch.empty_like(stack, dtype=torch.bfloat16) for stack in stacks]
    for mine, vector in zip(dealt, ranks.gathered_vectors(message), strict=True):
        begin = 0
        for stack, numbers in zip(found, mine, strict=True):
            end = begin + len(numbers) * stack[0].numel()
            stack[numbers] = vector[begin:end].view(len(numbers), *stack.shape[1:])
            begin = end
    return found


def _dealt(shapes: Sequence[tuple[int, ...]], n_ranks: int) -> list[list[list[int]]]:
    """Return for each rank and stack, the numbers of the matrices that the rank computes."""
    costs = [
        (min(rows, columns) * rows * columns, number, matrix)
        for number, (n_matrices, rows, columns) in enumerate(shapes)
        for matrix in range(n_matrices)
    ]
    dealt: list[list[list[int]]] = [[[] for _ in shapes] for _ in range(n_ranks)]
    work = [0] * n_ranks
    for cost, number, matrix in sorted(costs, key=lambda item: (-item[0], item[1:])):
        rank = work.index(min(work))
        work[rank] += cost
        dealt[rank][number].append(matrix)
    return dealt


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
