"""`train`: a network trained on tasks from a prior, resumable at any moment."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.data.stream import WorkerError
from openpfn.device import peak_megabytes
from openpfn.models import PFN
from openpfn.training.batches import Batches
from openpfn.training.evaluation import Evaluation, figures
from openpfn.training.optimizers import Optimizers, rate_factor
from openpfn.training.process import (
    asked_to_stop,
    keep_freed_memory,
    kept_rng,
    locked,
    settled_precision,
    torch_settings,
)
from openpfn.training.provenance import describe_data, describe_environment
from openpfn.training.ranks import ALONE, RankLost, Ranks, seed_of_batch
from openpfn.training.run_folder import (
    Counters,
    Place,
    RunFolder,
    SinceRow,
    kept_steps,
    place_of,
    restore,
    training_state,
)
from openpfn.training.sources import task_pools, task_source, with_steps_of
from openpfn.training.teaching import loss_of
from openpfn.training.tracking import TrainingEvent, notify
from openpfn.training.tracking.base import Tracker
from openpfn.training.tracking.console import ProgressLine
from openpfn.training.tracking.history import History, read_rows
from openpfn.training.tracking.rank_figures import RankFigures
from openpfn.training.tracking.tracked import TrackedRun, trackers_of

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TrainingStopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM reached a run, which has saved its state."""


def train(
    prior: Any = None,
    model_config: Any = None,
    training_config: TrainingConfig | None = None,
    *,
    data_generator: Any = None,
    resume_from: str | Path | None = None,
    eval_data_generator: Any = None,
    data_config: Any = None,
    callbacks: Sequence[Any] = (),
    tracker: Tracker | None = None,
    ranks: Ranks = ALONE,
) -> Any:
    """Return the network of `model_config`, trained on tasks from `prior`; its `.history` is a
    DataFrame of the run, `.run_folder` its folder.

    `prior`, also called `data_generator`, is a `TaskPrior`, with sequences of `seq_len` rows where
    it leaves their number to the caller, or an object with `.generate(seq_len)`; or an iterable of
    `TaskBatch`, begun again when it ends; one that can be resumed has a settable `position`, the
    index of its next batch. The `num_steps` of a `PriorDumpDataLoader` is the number of batches of
    the run where `training_config` leaves its own at the default.
    `model_config` is a model configuration, or a network with `.config` and `.loss(batch)` to train
    further.

    `resume_from` is a run's folder or its `latest.safetensors`: the run continues bit for bit as if
    it had never stopped. The configuration given here wins over the recorded one, so `num_steps`,
    rates or `log_every` may be changed on purpose; a changed `num_steps` stretches the warm-up and
    the cosine from where the run stands. The kind of optimizer and the network cannot change, and
    `init_from` is not looked at.

    `eval_data_generator` is where the tasks of the evaluations come from, of the same kinds: all
    batches of a loader or list, `eval_batches` of anything else. Given without `eval_every`, it is
    evaluated with every row of the history. None takes the tasks from the prior, from a part of its
    stream that training never reaches. `data_config`
    is recorded in the checkpoints, and so are the finite pools that a prior draws its tasks from.
    `tracker` takes the place of those that the configuration asks for (`use_wandb`, `registry`, a
    run's name). Each of `callbacks` is called with every `TrainingEvent`, or has methods `on_step`,
    `on_log`, `on_eval`, `on_checkpoint`.

    `ranks` are the processes that train the network together, where `openpfn.training.ranks.joined`
    gave several: each calls this function with the same arguments. The number of ranks does not
    change a run: a step takes `accumulation` batches, which the ranks share (see
    `openpfn.training.batches`). Rank 0 alone writes files, evaluates, and calls `callbacks`. Raises
    RankLost where another rank has ended.

    In `checkpoint_dir` stand `latest.safetensors` (everything), `best.safetensors` (weights with
    the best evaluation), `step-N.safetensors`, and `history.csv`. The steps are those of a
    checkpoint schedule (weights), else every `save_every`-th (everything) unless a tracker keeps
    them. Left
    at its default it holds a folder for each run, called by the run's id. Raises TrainingStopped, a
    KeyboardInterrupt, after saving on Ctrl-C or SIGTERM; FloatingPointError when losses stay
    non-finite; FileExistsError when a `checkpoint_dir` that was named holds another run.

    >>> config = TrainingConfig(
    ...     num_steps=2500, optimizer="muon", average_decay=0.99, schedule="cosine"
    ... )
    >>> model = train(prior, preset("nano"), config)    # doctest: +SKIP
    """
    if data_generator is not None:
        if prior is not None:
            raise TypeError("prior and data_generator mean the same: give one of them.")
        prior = data_generator
    config = TrainingConfig() if training_config is None else training_config
    if not isinstance(config, TrainingConfig):
        raise TypeError(f"training_config is a {type(config).__name__}, expected a TrainingConfig.")
    config = with_steps_of(prior, config)
    device = ranks.device(config.device)
    if device.type == "cpu":
        keep_freed_memory()
    with ExitStack() as stack:
        stack.enter_context(kept_rng(device))
        stack.enter_context(torch_settings(config))
        resumed = None if resume_from is None else checkpoint.locate(Path(resume_from))
        place = Place(None, "")
        if ranks.is_first:
            place = stack.enter_context(place_of(config, resumed))
            stack.enter_context(locked(place.folder))
        evaluation = Evaluation(eval_data_generator, prior, config)
        told = callbacks if ranks.is_first else ()
        run = _Run(
            prior,
            model_config,
            config,
            device,
            place,
            resumed,
            evaluation,
            data_config,
            told,
            ranks,
        )
        stack.push(run.close)
        if ranks.is_first:
            run.start_tracking(trackers_of(config) if tracker is None else [tracker])
        stack.enter_context(asked_to_stop(run.stop))
        return run.finish()


class _Run:
    """One training run, from its state at the beginning to the trained network."""

    def __init__(
        self,
        prior: Any,
        model_config: Any,
        config: TrainingConfig,
        device: torch.device,
        place: Place,
        resumed: Path | None,
        evaluation: Evaluation,
        data_config: Any,
        callbacks: Sequence[Any],
        ranks: Ranks,
    ) -> None:
        self.config, self.device, self.ranks = config, device, ranks
        self.evaluation, self.callbacks = evaluation, callbacks
        prior = task_source(prior, config.seq_len)
        self.folder, self.kept_steps = (
            RunFolder(config, place.folder, resumed, task_pools(prior)),
            kept_steps(config),
        )
        self.tracked, self.resumed, self.run_id = TrackedRun([], False), resumed, place.run_id
        self.model: Any = (
            starting_model(model_config, config if resumed is None else None, config.seed)
            .to(device)
            .train()
        )
        loss = loss_of(self.model, config.teacher, device)
        self.loss = torch.compile(loss) if config.compile else loss
        self.precision = settled_precision(config.precision, device)
        self.optimizers = Optimizers(self.model, config, ranks)
        self.batches = Batches(prior, config, device, ranks)
        self.data_config = describe_data(prior) if data_config is None else data_config
        self.counters, rows = Counters(), []
        if resumed is not None:
            self.counters = restore(resumed, self.model, self.optimizers, device)
            self.batches.seek(self.counters.position)
            if not self.folder.has_best():
                self.counters.best_eval_loss = None
            recorded = resumed.with_name("history.csv")
            rows = read_rows(recorded, last_step=self.counters.step) if recorded.is_file() else []
            self.model.train()
        ranks.agree(self.model, self.counters.step)
        self.history = History(self.folder.history, rows)
        self.of_ranks = RankFigures(place.folder, self.counters.step, ranks)
        self.progress = ProgressLine(self.counters.step, config.num_steps, ranks.is_first)
        together = f", {ranks.size} ranks together" if ranks.size > 1 else ""
        self.progress.say(f"training on {device} in {self.precision}{together}")
        self.counters.begin_stretch(self.precision, str(device), ranks.size)
        self.asked_to_stop: int | None = None
        self.stop_signal: int | None = None

    def start_tracking(self, trackers: Sequence[Tracker]) -> None:
        """Have the run recorded, or go on where the run that it continues was recorded."""
        before = (
            None
            if self.resumed is None
            else checkpoint.read_header(self.resumed).provenance.get("run")
        )
        same = self.folder.is_home_of(self.resumed)
        network = getattr(self.model, "config", None)
        self.tracked = TrackedRun.begin(
            trackers, self.run_id, self.config, network, self.data_config, before, same
        )
        if same and self.is_step_to_track():
            self.tracked.checkpoint(
                self.counters.step, self.resumed
            )  # a kill may have come between the file and its record

    def finish(self) -> Any:
        """Train to the last step, save, and give the network with the weights to use."""
        last_save = time.monotonic()
        while self.counters.step < self.config.num_steps:
            try:
                self.step()
            except (WorkerError, RankLost):
                self.save()
                raise
            is_last = self.counters.step == self.config.num_steps
            if self.counters.step in self.kept_steps:
                self.keep_weights()
            due = (
                self.counters.step % self.config.save_every == 0
                or time.monotonic() - last_save >= 60 * self.config.save_minutes
            )
            if due or is_last or self.stop_signal is not None:
                self.save()
                last_save = time.monotonic()
            if self.stop_signal is not None and not is_last:
                raise TrainingStopped(self.stopped_message(self.stop_signal))
        self.ranks.wait_for_all()  # the next stage of a plan reads what rank 0 has written
        self.optimizers.export()
        self.model.eval()
        self.model.history, self.model.run_folder = self.history.frame(), self.folder.path
        return self.model

    def stop(self, signal_number: int) -> None:
        """Stop after the step that is going on; several ranks, after the one that all of them
        know of."""
        self.asked_to_stop = signal_number
        if self.ranks.size == 1:
            self.stop_signal = signal_number

    def close(self, error: type[BaseException] | None, *_details: Any) -> None:
        self.batches.close()
        self.of_ranks.close()
        self.progress.close()
        self.history.close()
        self.tracked.finish(error)

    def step(self) -> None:
        """One optimizer step on `accumulation` batches; skipped, and counted, if the loss or
        gradient is not finite."""
        config, counters = self.config, self.counters
        began, waited, n_tasks = time.perf_counter(), 0.0, 0
        total = torch.zeros((), device=self.device)
        batch: Any = None
        for _ in range(self.batches.per_step):
            waiting = time.perf_counter()
            batch, weight, index = self.batches.next(counters.step)
            waited += time.perf_counter() - waiting
            if self.ranks.size > 1:
                torch.manual_seed(seed_of_batch(config.seed, index))
            if batch.n_tasks:
                with self.autocast():
                    loss = self.loss(batch) * weight / config.accumulation
                loss.backward()
                total += loss.detach()
            n_tasks += batch.n_tasks
        total, n_of_all = self.of_all_ranks(total, n_tasks, waited)
        norm = nn.utils.clip_grad_norm_(
            self.optimizers.parameters, config.grad_clip if config.use_grad_clip else math.inf
        )
        loss_value, norm_value = torch.stack(
            [total, norm.to(total.dtype)]
        ).tolist()  # the one wait for the device
        finite = math.isfinite(loss_value) and math.isfinite(norm_value)
        factor = rate_factor(counters.step, config)
        if finite:
            self.optimizers.step(factor)
        self.optimizers.zero_grad()
        counters.step += 1
        counters.position = self.batches.position
        self.count(finite, n_of_all, time.perf_counter() - began, waited, loss_value, norm_value)
        self.tell(factor * config.learning_rate, loss_value, norm_value, batch)

    def of_all_ranks(self, total: Tensor, n_tasks: int, waited: float) -> tuple[Tensor, int]:
        """Average the gradients over the ranks; gives the loss and the tasks of all of them, and
        makes known to all that one was asked to stop."""
        if self.ranks.size == 1:
            return total, n_tasks
        asked = [float(self.asked_to_stop == number) for number in STOP_SIGNALS]
        figures = torch.tensor([n_tasks, *asked], device=self.device)
        figures = self.ranks.sum_gradients(
            self.optimizers.parameters, torch.cat([total.reshape(1), figures])
        )
        n_of_all, *n_asked = (round(number) for number in figures[1:].tolist())
        for number, n_ranks in zip(STOP_SIGNALS, n_asked, strict=True):
            self.stop_signal = number if n_ranks else self.stop_signal
        self.of_ranks.count(n_tasks, waited)
        return figures[0], n_of_all

    def count(
        self, finite: bool, n_tasks: int, seconds: float, waited: float, loss: float, norm: float
    ) -> None:
        counters, since = self.counters, self.counters.since_row
        counters.tasks += n_tasks
        counters.seconds += seconds
        since.tasks += n_tasks
        since.seconds += seconds
        since.waited += waited
        if finite:
            counters.nan_in_a_row = 0
            since.steps += 1
            since.loss += loss
            since.grad_norm += norm
            return
        counters.nan_losses += 1
        counters.nan_in_a_row += 1
        if counters.nan_in_a_row >= self.config.max_nan_losses:
            raise FloatingPointError(
                f"the last {self.config.max_nan_losses} losses or gradients were not finite, up to"
                f" step {counters.step}. Lower the learning rate, clip gradients, use"
                " precision='float32', or look for NaN and infinite values in the tasks; the last"
                " checkpoint is from before."
            )

    def tell(self, rate: float, loss: float, norm: float, batch: TaskBatch) -> None:
        """Report the step, evaluate if it is time, and write a row of the history."""
        config, step = self.config, self.counters.step
        now = {"loss": loss, "grad_norm": norm, "learning_rate": rate}
        notify(self.callbacks, TrainingEvent("step", step, self.model, now))
        self.tracked.step(step, now)
        self.progress.step(step)
        is_last = step == config.num_steps
        every = self.evaluation.every
        evaluates = every is not None and (step % every == 0 or is_last)
        if evaluates or is_last or step % config.log_every == 0:
            row = self.row(rate)
            if self.ranks.size > 1:
                self.progress.say(self.of_ranks.row(step))
            if evaluates and self.ranks.is_first:
                row |= self.evaluate(row)
            self.history.append(row)
            self.progress.row(row)
            notify(self.callbacks, TrainingEvent("log", step, self.model, row))
            if self.tracked:
                self.tracked.row(step, row | self.figures_of_batch(batch))

    def row(self, rate: float) -> dict[str, float]:
        """Return the history's row at this step; what it averages begins anew."""
        counters, since = self.counters, self.counters.since_row
        counters.since_row = SinceRow()
        return {
            "step": counters.step,
            "seconds": counters.seconds,
            "tasks": counters.tasks,
            "loss": since.loss / since.steps if since.steps else math.nan,
            "grad_norm": since.grad_norm / since.steps if since.steps else math.nan,
            "learning_rate": rate,
            "tasks_per_second": since.tasks / since.seconds,
            "wait_share": since.waited / since.seconds,
            "nan_losses": counters.nan_losses,
            "peak_megabytes": peak_megabytes(self.device),
        }

    def autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=self.precision == "bfloat16"
        )

    def evaluate(self, row: dict[str, float]) -> dict[str, float]:
        """Return the figures of the weights to use on the fixed tasks; keeps the best weights."""
        with self.optimizers.exported(), kept_rng(self.device):
            self.model.eval()
            self.evaluation.draw()
            torch.manual_seed(
                self.config.seed
            )  # a loss that splits the rows at random splits them alike at every evaluation
            with self.autocast():
                values = self.evaluation(self.model, self.device)
            notify(
                self.callbacks, TrainingEvent("eval", self.counters.step, self.model, row | values)
            )
            best = self.counters.best_eval_loss
            if math.isfinite(values["eval_loss"]) and (best is None or values["eval_loss"] < best):
                self.counters.best_eval_loss = values["eval_loss"]
                self.folder.save("best.safetensors", self.model, self.provenance() | values)
        self.model.train()
        return values

    def figures_of_batch(self, batch: TaskBatch) -> dict[str, float]:
        """Accuracy and squared error of the weights in training on their last batch; NaN where they
        have no meaning."""
        with torch.no_grad(), kept_rng(self.device), self.autocast():
            self.model.eval()
            found = figures(self.model, batch, self.config.log_distributional_mse)
        self.model.train()
        return {name: found[name] for name in ("accuracy", "mse")}

    def keep_weights(self) -> None:
        """Write the weights to use of a step that the checkpoint schedule keeps."""
        step = self.counters.step
        with self.optimizers.exported():
            path = self.folder.save(f"step-{step}.safetensors", self.model, self.provenance())
            if path is not None:
                notify(self.callbacks, TrainingEvent("checkpoint", step, self.model, {}, path))
        self.tracked.checkpoint(step, path)

    def save(self) -> None:
        """Write the training state, after the history that it counts on."""
        self.history.flush_to_disk()
        self.tracked.flush()
        state = training_state(self.counters, self.optimizers, self.device)
        with self.optimizers.exported():
            path = self.folder.save("latest.safetensors", self.model, self.provenance(), state)
            if path is not None:
                notify(
                    self.callbacks,
                    TrainingEvent("checkpoint", self.counters.step, self.model, {}, path),
                )
        if self.is_step_to_track() or (self.stop_signal is not None and not self.kept_steps):
            self.tracked.checkpoint(self.counters.step, path)
        is_due = self.counters.step % self.config.save_every == 0
        if is_due and not self.kept_steps and not self.tracked.keeps_steps:
            self.folder.keep_step(self.counters.step)

    def is_step_to_track(self) -> bool:
        """Return whether the tracker keeps the whole state of this step: every `save_every`, unless
        it keeps the schedule's weights."""
        step = self.counters.step
        return not self.kept_steps and (
            step % self.config.save_every == 0 or step == self.config.num_steps
        )

    def provenance(self) -> dict[str, Any]:
        counted = {
            name: value
            for name, value in asdict(self.counters).items()
            if name in ("step", "tasks", "seconds", "nan_losses", "stretches")
        }
        n_parameters = sum(parameter.numel() for parameter in self.model.parameters())
        run = counted | {"data": self.data_config} | self.tracked.provenance()
        environment = describe_environment(self.device)
        return environment | {"seed": self.config.seed, "parameters": n_parameters} | run

    def stopped_message(self, signal_number: int) -> str:
        where = self.folder.path
        kept = (
            "; nothing was saved"
            if where is None
            else f"; saved in {where}, continue with resume_from={str(where)!r} (--resume)"
        )
        return f"stopped by {signal.Signals(signal_number).name} at step {self.counters.step}{kept}"


def starting_model(model_config: Any, config: TrainingConfig | None, seed: int) -> nn.Module:
    """Return a network with the weights that a run begins with: random ones under `seed`, or those
    of `init_from`."""
    torch.manual_seed(seed)
    model = model_config if isinstance(model_config, nn.Module) else PFN(model_config)
    if config is not None and config.init_from is not None:
        checkpoint.load(config.init_from, model=model)
    return model
