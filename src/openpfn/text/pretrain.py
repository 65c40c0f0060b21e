"""`pretrain`: one network trained on many tables with classes and numbers, resumable at any
moment."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from openpfn import checkpoint
from openpfn.configs.text import TextConfig, TextTrainingConfig
from openpfn.configs.training import TrainingConfig
from openpfn.device import peak_megabytes, pick_device
from openpfn.models.text.network import TextTableNetwork
from openpfn.text.batches import pure_batches
from openpfn.text.cells import FrozenTexts, Texts, TokenTexts, batch_of, outputs_of
from openpfn.text.scores import score
from openpfn.text.verbalize.table import VerbalizedTable
from openpfn.training import TrainingStopped
from openpfn.training.optimizers import Optimizers, rate_factor
from openpfn.training.process import asked_to_stop, kept_rng, locked, torch_settings
from openpfn.training.provenance import describe_environment
from openpfn.training.run_folder import (
    Counters,
    RunFolder,
    SinceRow,
    restore,
    training_state,
)
from openpfn.training.tracking.console import ProgressLine
from openpfn.training.tracking.history import History, read_rows


@dataclass(frozen=True)
class TaskTable:
    """One task of the pretraining: rows to train on and rows to validate on."""

    name: str
    training: VerbalizedTable
    validation: VerbalizedTable


def pretrain(
    tables: Sequence[TaskTable],
    encoder: Any,
    model_config: TextConfig,
    training_config: TrainingConfig,
    text_config: TextTrainingConfig | None = None,
    *,
    resume: bool = False,
    data_config: Mapping[str, Any] | None = None,
) -> TextTableNetwork:
    """Return the network of `model_config`, trained on `tables`; its `.history` is a DataFrame of
    the run, `.run_folder` its folder.

    A step averages the gradients of `accumulation` batches, each of rows of one table. The rate
    rises over the first tenth of the steps and then falls as half a cosine. After each epoch the
    mean of AUC and R² over the whole validation rows of all tables decides about
    `best.safetensors`, whose weights are given, and about stopping early. `encoder` is a text
    encoder of `openpfn.text.encoders`: frozen, it encodes each string of a table once; with
    `unfrozen_layers` it is trained, and each string of a batch passes through it once.

    `resume` continues the run in `checkpoint_dir` as if it had never stopped. Raises
    TrainingStopped after saving on Ctrl-C or SIGTERM, ValueError for a resumed run of another text
    encoder or network.
    """
    text_config = TextTrainingConfig() if text_config is None else text_config
    if not tables:
        raise ValueError("there is no table to train on. Give a corpus with at least one.")
    check_encoder(model_config, encoder)
    model_config = replace(
        model_config, d_text=encoder.width, encoder_fingerprint=encoder.fingerprint
    )
    n_batches = len(_epoch(tables, training_config, text_config, 0))
    steps_per_epoch = math.ceil(n_batches / training_config.accumulation)
    n_steps = text_config.n_epochs * steps_per_epoch
    config = replace(
        training_config, num_steps=n_steps, warmup_steps=n_steps // 10, schedule="cosine"
    )
    device = pick_device(config.device)
    with ExitStack() as stack:
        stack.enter_context(kept_rng(device))
        stack.enter_context(torch_settings(config))
        folder = Path(config.checkpoint_dir) if config.save_checkpoint else None
        stack.enter_context(locked(folder))
        resumed = checkpoint.locate(folder) if resume and folder is not None else None
        run = _Pretraining(
            tables, encoder, model_config, config, text_config, folder, resumed, device
        )
        run.steps_per_epoch, run.data_config = steps_per_epoch, dict(data_config or {})
        stack.callback(run.close)
        stack.enter_context(asked_to_stop(run.stop))
        return run.finish()


def check_encoder(config: TextConfig, encoder: Any) -> None:
    """Raise ValueError where the weights of `config` were trained with another text encoder."""
    known = config.encoder_fingerprint
    if known and known != encoder.fingerprint:
        raise ValueError(
            f"this network was trained with the text encoder {config.encoder!r} (fingerprint"
            f" {known}), not with one of fingerprint {encoder.fingerprint}. Load that encoder, or"
            " train a network with yours."
        )


def network_with(config: TextConfig, encoder: Any) -> TextTableNetwork:
    """Return the network of `config` with fresh weights; with the text encoder inside where some
    of its layers are trained."""
    if not config.unfrozen_layers:
        return TextTableNetwork(config)
    module_of = getattr(encoder, "torch_module", None)
    if module_of is None:
        raise ValueError(
            f"unfrozen_layers is {config.unfrozen_layers}, but the text encoder"
            f" {encoder.fingerprint} has no layers to train. Set unfrozen_layers=0."
        )
    return TextTableNetwork(config, module_of())


def texts_of(network: TextTableNetwork, encoder: Any, strings: Sequence[str]) -> Texts:
    """Return the embeddings of a table's strings: computed now by the frozen encoder, or batch by
    batch by the one that `network` trains."""
    if network.encoder is not None:
        return TokenTexts(network, encoder, strings)
    vectors = torch.from_numpy(np.asarray(encoder.encode(strings), dtype=np.float32))
    return FrozenTexts(vectors.to(network.borders.device))


def _epoch(
    tables: Sequence[TaskTable], config: TrainingConfig, text: TextTrainingConfig, epoch: int
) -> list[Any]:
    n_rows = [len(table.training) for table in tables]
    return pure_batches(
        n_rows, config.batch_size, text.rows_per_epoch, seed=config.seed, epoch=epoch
    )


class _Pretraining:
    """One run, from its state at the beginning to the trained network."""

    steps_per_epoch: int
    data_config: dict[str, Any]

    def __init__(
        self,
        tables: Sequence[TaskTable],
        encoder: Any,
        model_config: TextConfig,
        config: TrainingConfig,
        text_config: TextTrainingConfig,
        folder: Path | None,
        resumed: Path | None,
        device: torch.device,
    ) -> None:
        self.tables, self.config, self.text_config = tables, config, text_config
        self.device, self.resumed = device, resumed
        self.folder = RunFolder(config, folder, resumed)
        torch.manual_seed(config.seed)
        self.network = network_with(model_config, encoder).to(device)
        self.network.gradient_checkpointing = text_config.gradient_checkpointing
        if config.init_from is not None and resumed is None:
            checkpoint.load(config.init_from, model=self.network)
        self.optimizers = Optimizers(self.network, config)
        self.counters, rows = Counters(), []
        if resumed is not None:
            self.counters = restore(resumed, self.network, self.optimizers, device)
            recorded = resumed.with_name("history.csv")
            rows = read_rows(recorded, self.counters.step) if recorded.is_file() else []
        self.texts = [texts_of(self.network, encoder, table.training.strings) for table in tables]
        self.history = History(self.folder.history, rows)
        self.progress = ProgressLine(self.counters.step, config.num_steps)
        self.progress.say(f"training on {device}, {len(tables)} tasks")
        self.counters.begin_stretch("float32", str(device))
        self.stop_signal: int | None = None
        self.batches: tuple[int, list[Any]] = (-1, [])

    def finish(self) -> TextTableNetwork:
        """Train until the last epoch or until the score falls, and give the best network."""
        last_save = time.monotonic()
        while self.counters.step < self.config.num_steps and not self.has_stalled():
            self.step()
            is_epoch = self.counters.step % self.steps_per_epoch == 0
            if is_epoch or self.counters.step % self.config.log_every == 0:
                self.tell(evaluates=is_epoch)
            late = time.monotonic() - last_save >= 60 * self.config.save_minutes
            if late or is_epoch or self.stop_signal is not None:
                self.save()
                last_save = time.monotonic()
            if self.stop_signal is not None:
                raise TrainingStopped(self.stopped_message(self.stop_signal))
        self.optimizers.export()
        best = None if self.folder.path is None else self.folder.path / "best.safetensors"
        if best is not None and best.exists():
            checkpoint.load(best, model=self.network)
        self.network.eval()
        network: Any = self.network
        network.history, network.run_folder = self.history.frame(), self.folder.path
        return network

    def step(self) -> None:
        """One optimizer step on the next `accumulation` batches; skipped, and counted, if the loss
        or gradient is not finite."""
        began, counters = time.perf_counter(), self.counters
        epoch, group = divmod(counters.step, self.steps_per_epoch)
        if self.batches[0] != epoch:
            self.batches = epoch, _epoch(self.tables, self.config, self.text_config, epoch)
        size = self.config.accumulation
        chosen = self.batches[1][group * size : (group + 1) * size]
        self.network.train()
        total, n_rows = 0.0, 0
        for place, (number, rows) in enumerate(chosen):
            table = self.tables[number].training
            columns = self.columns_of(table, [counters.step, place])
            batch, used = batch_of(table, rows, columns, self.device)
            outputs = self.network.answer(batch, self.texts[number](used))
            loss = self.network.loss(outputs, batch) / len(chosen)
            loss.backward()
            total += float(loss.detach())
            n_rows += len(rows)
        limit = self.config.grad_clip if self.config.use_grad_clip else math.inf
        norm = float(nn.utils.clip_grad_norm_(self.optimizers.parameters, limit))
        if math.isfinite(total) and math.isfinite(norm):
            self.optimizers.step(rate_factor(counters.step, self.config))
            counters.nan_in_a_row = 0
            counters.since_row.steps += 1
            counters.since_row.loss += total
            counters.since_row.grad_norm += norm
        else:
            self.count_nan()
        self.optimizers.zero_grad()
        counters.step += 1
        counters.position = counters.step
        counters.tasks += n_rows
        counters.since_row.tasks += n_rows
        seconds = time.perf_counter() - began
        counters.seconds += seconds
        counters.since_row.seconds += seconds
        self.progress.step(counters.step)

    def columns_of(self, table: VerbalizedTable, seed: list[int]) -> np.ndarray | None:
        """Return the columns that a batch keeps; None for all."""
        n_columns = table.cells.shape[1]
        n_most = int(self.text_config.column_dropout * n_columns)
        if not n_most:
            return None
        random = np.random.default_rng([self.config.seed, *seed])
        n_kept = n_columns - random.integers(n_most + 1)
        return np.sort(random.permutation(n_columns)[:n_kept])

    def count_nan(self) -> None:
        counters = self.counters
        counters.nan_losses += 1
        counters.nan_in_a_row += 1
        if counters.nan_in_a_row >= self.config.max_nan_losses:
            raise FloatingPointError(
                f"the last {counters.nan_in_a_row} losses or gradients were not finite, up to step"
                f" {counters.step + 1}. Lower the learning rate; the last checkpoint is from"
                " before."
            )

    def tell(self, *, evaluates: bool) -> None:
        """Write a row of the history, with the scores of the whole validation rows after an
        epoch."""
        counters, since = self.counters, self.counters.since_row
        counters.since_row = SinceRow()
        row: dict[str, float] = {
            "step": counters.step,
            "seconds": counters.seconds,
            "tasks": counters.tasks,
            "loss": since.loss / since.steps if since.steps else math.nan,
            "grad_norm": since.grad_norm / since.steps if since.steps else math.nan,
            "learning_rate": self.config.learning_rate
            * rate_factor(counters.step - 1, self.config),
            "tasks_per_second": since.tasks / since.seconds if since.seconds else math.nan,
            "wait_share": 0.0,
            "nan_losses": counters.nan_losses,
            "peak_megabytes": peak_megabytes(self.device),
        }
        if evaluates:
            row |= self.evaluate()
        self.history.append(row)
        self.progress.row(row)

    def evaluate(self) -> dict[str, float]:
        """Return the mean scores over the tables, and keep the weights if they are the best."""
        found: dict[str, list[float]] = {"classification": [], "regression": []}
        by_table = {}
        with self.optimizers.exported(), kept_rng(self.device):
            for table, texts in zip(self.tables, self.texts, strict=True):
                outputs = outputs_of(self.network, texts, table.validation)
                value = score(self.network, outputs, table.validation)
                by_table[table.name] = value
                if math.isfinite(value):
                    found[table.validation.task].append(max(value, -1.0))
            every = found["classification"] + found["regression"]
            values = {
                "eval_loss": 1 - float(np.mean(every)) if every else math.nan,
                "eval_auc": _mean(found["classification"]),
                "eval_r2": _mean(found["regression"]),
            }
            best = self.counters.best_eval_loss
            if every and (best is None or values["eval_loss"] < best):
                self.counters.best_eval_loss = values["eval_loss"]
                self.folder.save(
                    "best.safetensors", self.network, self.provenance() | {"scores": by_table}
                )
        return values

    def has_stalled(self) -> bool:
        """Return whether the last `patience` epochs brought no better score."""
        losses = [row["eval_loss"] for row in self.history.rows]
        losses = [loss for loss in losses if math.isfinite(loss)]
        return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= (
            self.text_config.patience
        )

    def save(self) -> None:
        self.history.flush_to_disk()
        state = training_state(self.counters, self.optimizers, self.device)
        with self.optimizers.exported():
            self.folder.save("latest.safetensors", self.network, self.provenance(), state)

    def provenance(self) -> dict[str, Any]:
        counted = asdict(self.counters)
        return describe_environment(self.device) | {
            **{name: counted[name] for name in ("step", "tasks", "seconds", "nan_losses")},
            "seed": self.config.seed,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "text_training": asdict(self.text_config),
            "data": self.data_config,
        }

    def stop(self, signal_number: int) -> None:
        """Stop after the step that is going on."""
        self.stop_signal = signal_number

    def stopped_message(self, signal_number: int) -> str:
        name, where = signal.Signals(signal_number).name, self.folder.path
        kept = "nothing was saved" if where is None else f"saved in {where}, continue with --resume"
        return f"stopped by {name} at step {self.counters.step}; {kept}"

    def close(self) -> None:
        self.progress.close()
        self.history.close()


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
