"""Optimizers, the course of the learning rate, and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.configs.training import TrainingConfig

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration (Jordan et al. 2024), steepest at zero."""


class Optimizers:
    """The optimizers of one run, stepped together, with what of their state a checkpoint keeps.

    `adamw` and `schedulefree` take all parameters. `muon` takes the hidden matrices (see `hidden_matrices`) and
    leaves the rest (embeddings, norms, biases, encoders, the decoder) to AdamW. Weight decay acts on parameters
    of two or more dimensions only.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig) -> None:
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
        self.parameters = list(self.names)
        self.kind = config.optimizer
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.peak: dict[str, float] = {}
        hidden: set[Tensor] = set()
        if config.optimizer == "muon":
            hidden = set(hidden_matrices(model))
            self.optimizers["muon"] = Muon([p for p in self.parameters if p in hidden], config.muon_learning_rate, config.weight_decay)
            self.peak["muon"] = config.muon_learning_rate
        groups = _decay_groups([p for p in self.parameters if p not in hidden], config.weight_decay)
        if config.optimizer == "schedulefree":
            from schedulefree import AdamWScheduleFree

            self.optimizers["schedulefree"] = AdamWScheduleFree(groups, lr=config.learning_rate)
            self.peak["schedulefree"] = config.learning_rate
        else:
            self.optimizers["adamw"] = torch.optim.AdamW(groups, lr=config.learning_rate)
            self.peak["adamw"] = config.learning_rate
        self._schedule_free("train")

    def set_rate(self, factor: float) -> None:
        """Set every learning rate to `factor` of its peak."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = factor * self.peak[name]

    def step(self) -> None:
        for optimizer in self.optimizers.values():
            optimizer.step()

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @contextmanager
    def exported(self, average: WeightAverage | None) -> Iterator[None]:
        """The weights to use while inside (averaged ones, if there are); those in training, bit for bit, after."""
        if average is None and self.kind != "schedulefree":
            yield
            return
        raw = [parameter.detach().clone() for parameter in self.parameters]
        if average is None:
            self._schedule_free("eval")
        else:
            average.copy_to(self.parameters)
        try:
            yield
        finally:
            self._schedule_free("train")
            copy(raw, self.parameters)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by `optimizer/entry/parameter`, and the plain values of each parameter group."""
        tensors = {
            f"{name}/{entry}/{self.names[parameter]}": value
            for name, optimizer in self.optimizers.items()
            for parameter, entries in optimizer.state.items()
            for entry, value in entries.items()
        }
        groups = {
            name: [{key: group[key] for key in _COUNTERS if key in group} for group in optimizer.param_groups]
            for name, optimizer in self.optimizers.items()
        }
        return tensors, groups

    def load_state(self, tensors: Mapping[str, Tensor], groups: Mapping[str, Any]) -> None:
        """Take up what `state` gave. Raises ValueError if it is another optimizer's."""
        if set(groups) != set(self.optimizers):
            raise ValueError(f"the run used {' and '.join(groups)}, not {' and '.join(self.optimizers)}. Resume with the same optimizer.")
        by_name: dict[str, Any] = {name: parameter for parameter, name in self.names.items()}
        for name, optimizer in self.optimizers.items():
            for group, values in zip(optimizer.param_groups, groups[name], strict=True):
                group.update(values)
        for key, value in tensors.items():
            name, entry, parameter_name = key.split("/", 2)
            parameter = by_name[parameter_name]
            place = "cpu" if entry == "step" else parameter.device
            self.optimizers[name].state[parameter][entry] = value.to(place, copy=True)

    def _schedule_free(self, mode: str) -> None:
        if self.kind == "schedulefree":
            getattr(self.optimizers["schedulefree"], mode)()


_COUNTERS = ("k", "lr_max", "weight_sum", "scheduled_lr")
"""Plain values that schedule-free AdamW counts in its groups; the other values of a group come from the configuration."""


class WeightAverage:
    """Exponential average of the weights, free of a bias towards the start.

    After t updates it is Σᵢ (1−d) d^(t−i) wᵢ / (1 − d^t), so after the first it is the weights themselves.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, parameters: Sequence[Tensor]) -> None:
        self.updates += 1
        weight = (1 - self.decay) / (1 - self.decay**self.updates)
        for value, parameter in zip(self.values, parameters, strict=True):
            value.lerp_(parameter, weight)

    def copy_to(self, parameters: Sequence[Tensor]) -> None:
        copy(self.values, parameters)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal by Newton–Schulz iterations (Jordan et al. 2024), for matrices.

    As `torch.optim.Muon` with `adjust_lr_fn="match_rms_adamw"`: an update of a matrix A × B is scaled by
    0.2·√max(A, B), which makes AdamW's learning rates fit. Matrices of the same shape are iterated together.
    """

    def __init__(self, parameters: Sequence[Tensor], lr: float, weight_decay: float, momentum: float = 0.95, iterations: int = 5) -> None:
        wrong = [tuple(p.shape) for p in parameters if p.ndim != 2]
        if wrong:
            raise ValueError(f"Muon takes matrices, got shapes {wrong}.")
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "iterations": iterations})

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
            updates.append(torch.lerp(gradient, buffer, group["momentum"]))    # Nesterov
        orthogonal = orthogonalize(torch.stack(updates), group["iterations"])
        rate = group["lr"] * 0.2 * math.sqrt(max(parameters[0].shape))
        for parameter, update in zip(parameters, orthogonal.to(parameters[0].dtype), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=rate)


def orthogonalize(matrices: Float[Tensor, "m A B"], iterations: int = 5) -> Float[Tensor, "m A B"]:
    """Each matrix with its singular values brought near 1 (between about 0.7 and 1.2), in bfloat16."""
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()                                          # (m, A, B), A ≤ B
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT                                                                         # (m, A, A)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def hidden_matrices(model: nn.Module) -> list[Tensor]:
    """The weights of `nn.Linear` modules inside an `nn.ModuleList`, the stack of layers. Raises ValueError if there are none."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    linear = [module for stack in stacks for module in stack.modules() if isinstance(module, nn.Linear)]
    found = list(dict.fromkeys(module.weight for module in linear if module.weight.requires_grad))
    if not found:
        raise ValueError(f"{type(model).__name__} has no nn.Linear inside an nn.ModuleList for Muon. Choose optimizer='adamw'.")
    return found


def rate_factor(step: int, config: TrainingConfig) -> float:
    """Share of the peak learning rate at `step`, counted from 0.

    A linear warm-up, (step + 1) / warm-up, then 1 or a half cosine from 1 to `final_learning_rate`.
    """
    warmup = min(config.warmup_steps, config.num_steps // 10) if config.use_warmup else 0
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, config.num_steps - warmup)
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def copy(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    """Write `values` into `parameters`."""
    for value, parameter in zip(values, parameters, strict=True):
        parameter.copy_(value)


def _decay_groups(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
