"""`finetune`: a network that reads text, adapted to one table by low-rank adapters or whole."""

from __future__ import annotations

import copy
import math
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from openpfn.configs.text import FineTuneConfig
from openpfn.models.text.network import CellBatch, Task, TextTableNetwork
from openpfn.text.cells import Texts, batch_of, outputs_of
from openpfn.text.verbalize.table import VerbalizedTable

WARM_UP = 0.1
"""Share of the steps in which the rate rises; patience does not count in it."""
LEAST_STEPS = 4
"""Steps of an epoch at least: small tables have smaller batches, down to `LEAST_ROWS`."""
LEAST_ROWS = 8


@dataclass(frozen=True)
class FineTuned:
    """An adapted network, and how it came about."""

    network: TextTableNetwork
    """The network in evaluation mode, adapters merged into its weights."""
    losses: list[float]
    """Loss on the validation rows after each epoch; the first is that before any training."""
    validation_loss: float
    """Loss of the network that is given."""
    averaged_epochs: tuple[int, ...]
    """Epochs whose weights were averaged; 0 stands for no training."""


def finetune(
    network: TextTableNetwork,
    texts: Any,
    training: VerbalizedTable,
    validation: VerbalizedTable,
    config: FineTuneConfig | None = None,
    *,
    seed: int = 0,
    deadline: float | None = None,
) -> FineTuned:
    """Return a copy of `network` that is adapted to the `training` rows.

    `texts` is called with a network and gives the embeddings of the strings: the frozen ones, or
    those of the text encoder that is trained with the network. Training ends after `max_epochs`,
    after `patience` epochs without a lower loss on the `validation` rows, or at the `deadline` of
    `time.monotonic`. The weights of the best epochs are averaged if that lowers the loss. The same
    seed gives the same weights unless the deadline ends training.
    """
    config = FineTuneConfig() if config is None else config
    with torch.random.fork_rng(_cuda_devices(network)):
        torch.manual_seed(seed)
        return _Adaptation(network, texts, training, validation, config, seed, deadline).run()


def adapter_modules(network: TextTableNetwork, task: Task) -> list[str]:
    """Return the names of the linear modules that get an adapter: all of the network but the head
    of the other task and the frozen layers of the text encoder."""
    other = ("number_head.",) if task == "classification" else ("class_head.", "matching.")
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and not name.startswith(other)
        and (not name.startswith("encoder.") or module.weight.requires_grad)
    ]


def with_adapters(network: TextTableNetwork, config: FineTuneConfig, task: Task) -> Any:
    """Return `network` inside a PEFT model that trains adapters alone.

    The modules are named whole and matched whole: peft takes a list of names for endings, which
    others may share.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "low-rank adapters need the package peft: pip install 'openpfn[text]', or set"
            " adapt='all'."
        ) from error

    names = "|".join(re.escape(name) for name in adapter_modules(network, task))
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=config.lora_dropout,
        target_modules=names,
        bias="none",
    )
    return get_peft_model(network, lora)  # pyright: ignore[reportArgumentType]


def split_rows(
    labels: np.ndarray | None, n_rows: int, config: FineTuneConfig, seed: int
) -> tuple[Int[np.ndarray, " t"], Int[np.ndarray, " v"]]:
    """Return the rows to train on and those to validate on.

    Each class has its share in both where there are enough rows of it, and rows to train on in any
    case. A row serves both where there is no other.
    """
    if n_rows < 2:
        return np.arange(n_rows), np.arange(n_rows)
    n_held = min(config.max_validation_rows, math.ceil(config.validation_share * n_rows))
    n_held = min(n_held, n_rows - 1)
    strata = None
    if labels is not None:
        counts = np.bincount(labels)
        if counts[counts > 0].min() >= 2 and min(n_held, n_rows - n_held) >= (counts > 0).sum():
            strata = labels
    trained, held = train_test_split(
        np.arange(n_rows), test_size=n_held, random_state=seed, stratify=strata
    )
    if labels is not None:  # a class without training rows would have no token
        unseen = ~np.isin(labels[held], labels[trained])
        trained = np.concatenate([trained, held[unseen]])
        held = held[~unseen] if not unseen.all() else trained[:1]
    return np.sort(trained), np.sort(held)


class _Adaptation:
    """One run of `finetune`."""

    def __init__(
        self,
        network: TextTableNetwork,
        texts: Any,
        training: VerbalizedTable,
        validation: VerbalizedTable,
        config: FineTuneConfig,
        seed: int,
        deadline: float | None,
    ) -> None:
        self.config, self.training, self.validation = config, training, validation
        self.deadline, self.random = deadline, np.random.default_rng(seed)
        self.network = copy.deepcopy(network)
        self.network.set_trained()
        self.model: Any = self.network
        if config.adapt == "lora":
            self.model = with_adapters(self.network, config, training.task)
        self.texts: Texts = texts(self.network)
        self.parameters = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.parameters.values(), config.learning_rate, weight_decay=config.weight_decay
        )
        wanted = math.ceil(len(training) / (LEAST_STEPS * config.accumulation))
        self.batch_size = min(config.batch_size, max(LEAST_ROWS, wanted))
        n_batches = math.ceil(len(training) / self.batch_size)
        self.steps_per_epoch = math.ceil(n_batches / config.accumulation)
        self.step = 0

    def run(self) -> FineTuned:
        losses = [self.validation_loss()]
        kept = [(losses[0], 0, self.weights())]
        for epoch in range(1, self.config.max_epochs + 1):
            if not self.train_epoch() or self.is_late():
                if self.step:
                    losses.append(self.keep(kept, epoch))
                break
            losses.append(self.keep(kept, epoch))
            begun = math.ceil(WARM_UP * self.config.max_epochs)
            if epoch - max(begun, min(kept)[1]) >= self.config.patience:
                break
        loss, epochs = self.take_up(kept)
        return FineTuned(self.merged(), losses, loss, epochs)

    def keep(self, kept: list[tuple[float, int, dict[str, Tensor]]], epoch: int) -> float:
        """Measure this epoch's weights and keep them if they are among the best."""
        loss = self.validation_loss()
        kept.append((loss, epoch, self.weights()))
        kept.sort(key=lambda entry: entry[:2])
        del kept[self.config.n_averaged :]
        return loss

    def take_up(
        self, kept: list[tuple[float, int, dict[str, Tensor]]]
    ) -> tuple[float, tuple[int, ...]]:
        """Put the mean of the kept weights into the network, or the best of them if that has the
        lower loss."""
        mean = {
            name: torch.stack([weights[name] for _, _, weights in kept]).mean(dim=0)
            for name in self.parameters
        }
        self.put(mean)
        loss = self.validation_loss()
        best_loss, best_epoch, best = min(kept, key=lambda entry: entry[:2])
        if loss <= best_loss:
            return loss, tuple(sorted(epoch for _, epoch, _ in kept))
        self.put(best)
        return best_loss, (best_epoch,)

    def train_epoch(self) -> bool:
        """Pass over the training rows once; False where the deadline ended it early."""
        self.model.train()
        config = self.config
        batches = list(self.batches())
        for group in range(0, len(batches), config.accumulation):
            if self.is_late():
                return False
            chosen = batches[group : group + config.accumulation]
            n_rows = sum(len(rows) for rows in chosen)
            for rows in chosen:
                batch, used = batch_of(self.training, rows, device=self.network.borders.device)
                loss = self.loss(batch, used) * (len(rows) / n_rows)
                loss.backward()
            nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            for settings in self.optimizer.param_groups:
                settings["lr"] = config.learning_rate * self.rate()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
        return True

    def batches(self) -> Iterator[Int[np.ndarray, " B"]]:
        order = self.random.permutation(len(self.training))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def loss(self, batch: CellBatch, used: Int[np.ndarray, " U"]) -> Tensor:
        return self.network.loss(self.network.answer(batch, self.texts(used)), batch)

    def rate(self) -> float:
        """Return the share of the peak rate at this step."""
        total = self.steps_per_epoch * self.config.max_epochs
        progress = (self.step + 1) / total
        if progress <= WARM_UP:
            return progress / WARM_UP
        return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))

    def validation_loss(self) -> float:
        outputs = outputs_of(self.network, self.texts, self.validation)
        batch, _ = batch_of(self.validation, np.arange(len(self.validation)))
        loss = float(self.network.loss(outputs, batch))
        return loss if math.isfinite(loss) else math.inf

    def is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def weights(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def put(self, weights: dict[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(weights[name])

    def merged(self) -> TextTableNetwork:
        """Return the network with the adapters merged into its weights."""
        network = self.model.merge_and_unload() if self.config.adapt == "lora" else self.network
        network.set_trained()  # peft has frozen what it adapted
        return network.eval()


def _cuda_devices(network: TextTableNetwork) -> list[torch.device]:
    device = network.borders.device
    return [device] if device.type == "cuda" else []
