"""Optimizers, the course of the learning rate, and the average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from openpfn.configs.training import TrainingConfig
from openpfn.training.muon import Muon, hidden_matrices
from openpfn.training.ranks import ALONE, Ranks

COUNTERS = ("k", "lr_max", "weight_sum", "scheduled_lr")
"""What schedule-free AdamW counts in its parameter groups; their other values come from the
configuration."""


class Optimizers:
    """The optimizers of one run, stepped together, with what of their state a checkpoint keeps.

    `adamw` and `schedulefree` take all parameters. `muon` takes the hidden matrices (see
    `hidden_matrices`) and leaves the rest (embeddings, norms, biases, encoders, the decoder) to
    AdamW. Weight decay acts on parameters of two or more dimensions only. Several `ranks` take the
    same steps; they share the work of Muon.
    """

    def __init__(self, model: nn.Module, config: TrainingConfig, ranks: Ranks = ALONE) -> None:
        self.names: dict[Tensor, str] = {
            parameter: name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        self.parameters = list(self.names)
        self.kind = config.optimizer
        self.average = (
            WeightAverage(self.parameters, config.average_decay) if config.average_decay else None
        )
        hidden = set(hidden_matrices(model)) if config.optimizer == "muon" else set()
        others = _decay_groups([p for p in self.parameters if p not in hidden], config.weight_decay)
        self.by_name: dict[str, torch.optim.Optimizer] = {}
        self.peak: dict[str, float] = {}
        if config.optimizer == "muon":
            self.by_name["muon"] = Muon(
                [p for p in self.parameters if p in hidden],
                config.muon_learning_rate,
                config.weight_decay,
                ranks=ranks,
            )
            self.peak["muon"] = config.muon_learning_rate
        if config.optimizer == "schedulefree":
            from schedulefree import AdamWScheduleFree

            self.by_name["schedulefree"] = AdamWScheduleFree(others, lr=config.learning_rate)
            self.peak["schedulefree"] = config.learning_rate
        elif others:
            self.by_name["adamw"] = torch.optim.AdamW(others, lr=config.learning_rate)
            self.peak["adamw"] = config.learning_rate
        self._schedule_free("train")

    def step(self, rate_factor: float) -> None:
        """One step of each, at `rate_factor` of its peak rate, with the gradients that the
        parameters hold."""
        for name, optimizer in self.by_name.items():
            for group in optimizer.param_groups:
                group["lr"] = rate_factor * self.peak[name]
            optimizer.step()
        if self.average is not None:
            self.average.update(self.parameters)

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def exports_other_weights(self) -> bool:
        """Whether the weights to use are not those in training."""
        return self.average is not None or self.kind == "schedulefree"

    @contextmanager
    def exported(self) -> Iterator[None]:
        """The weights to use while inside (averages, if there are); those in training, bit for bit,
        after."""
        if not self.exports_other_weights:
            yield
            return
        # schedule-free's own way back to the training weights rounds: an evaluation would change
        # the run
        raw = [parameter.detach().clone() for parameter in self.parameters]
        self.export()
        try:
            yield
        finally:
            self._schedule_free("train")
            copy(raw, self.parameters)

    def export(self) -> None:
        """Put the weights to use into the network, for good."""
        if self.average is not None:
            copy(self.average.values, self.parameters)
        self._schedule_free("eval")

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by `optimizer/entry/parameter`, and the counters of each parameter group."""
        tensors = {
            f"{name}/{entry}/{self.names[parameter]}": value
            for name, optimizer in self.by_name.items()
            for parameter, entries in optimizer.state.items()
            for entry, value in entries.items()
        }
        groups = {
            name: [
                {key: group[key] for key in COUNTERS if key in group}
                for group in optimizer.param_groups
            ]
            for name, optimizer in self.by_name.items()
        }
        return tensors, groups

    def load_state(self, tensors: Mapping[str, Tensor], groups: Mapping[str, Any]) -> None:
        """Take up what `state` gave. Raises ValueError if it is another optimizer's."""
        if set(groups) != set(self.by_name):
            raise ValueError(
                f"the run used {' and '.join(groups)}, not {' and '.join(self.by_name)}. Resume"
                " with the same optimizer."
            )
        parameters: dict[str, Any] = {name: parameter for parameter, name in self.names.items()}
        for name, optimizer in self.by_name.items():
            for group, values in zip(optimizer.param_groups, groups[name], strict=True):
                group.update(values)
        for key, value in tensors.items():
            name, entry, parameter_name = key.split("/", 2)
            parameter = parameters[parameter_name]
            place = (
                "cpu" if entry == "step" else parameter.device
            )  # AdamW counts its steps on the CPU
            self.by_name[name].state[parameter][entry] = value.to(place, copy=True)

    def _schedule_free(self, mode: str) -> None:
        if self.kind == "schedulefree":
            getattr(self.by_name["schedulefree"], mode)()


class WeightAverage:
    """Exponential average of the weights, free of a bias towards the start.

    After t updates it is Σᵢ (1−d) d^(t−i) wᵢ / (1 − d^t), so after the first it is the weights
    themselves.
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

    def restart(self, parameters: Sequence[Tensor], updates: int) -> None:
        """Go on from an average in `parameters` that holds `updates` updates."""
        copy([parameter.detach() for parameter in parameters], self.values)
        self.updates = updates


def rate_factor(step: int, config: TrainingConfig) -> float:
    """Return share of the peak learning rate at `step`, counted from 0.

    A linear warm-up, (step + 1) / warm-up, then 1 or a half cosine from 1 towards
    `final_learning_rate`.
    """
    warmup = min(config.warmup_steps, config.num_steps // 10) if config.use_warmup else 0
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    progress = min(1.0, (step - warmup) / max(1, config.num_steps - warmup))
    return config.final_learning_rate + (1 - config.final_learning_rate) * 0.5 * (
        1 + math.cos(math.pi * progress)
    )


@torch.no_grad()
def copy(values: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
    """Write `values` into `parameters`."""
    for value, parameter in zip(values, parameters, strict=True):
        parameter.copy_(value)


def _decay_groups(parameters: Sequence[Tensor], weight_decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in parameters if p.ndim >= 2]
    vectors = [p for p in parameters if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
