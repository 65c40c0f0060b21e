"""`train`: a network trained on tasks from a prior, resumable at any moment."""

from __future__ import annotations

import math
import platform
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import openpfn
from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs.training import TrainingConfig
from openpfn.models import PFN
from openpfn.priors_io.stream import TaskStream
from openpfn.training.optimizers import Optimizers, WeightAverage, rate_factor
from openpfn.training.tracking import TrainingEvent, notify
from openpfn.training.tracking.console import ProgressLine
from openpfn.training.tracking.history import History, read_rows

EVALUATION_START = 2**40
"""Index of the first evaluation batch in the prior's stream, far beyond any training batch."""


class TrainingStopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM reached a run, which has saved its state."""


def train(
    prior: Any,
    model_config: Any,
    training_config: TrainingConfig | None = None,
    *,
    resume_from: str | Path | None = None,
    eval_data_generator: Iterable[TaskBatch] | None = None,
    data_config: Any = None,
    callbacks: Sequence[Any] = (),
) -> Any:
    """The network of `model_config`, trained on tasks from `prior`; its `.history` is a DataFrame of the run.

    `prior` is a `TaskPrior`, or an iterable of `TaskBatch` (one that can be resumed has a settable `position`).
    `model_config` is a model configuration, or a network with `.config` and `.loss(batch)` to train further.

    `resume_from` is a run's folder or its `latest.safetensors`: the run continues bit for bit as if it had never
    stopped. The configuration given here wins over the recorded one, so `num_steps`, rates or `log_every` may be
    changed on purpose; a changed `num_steps` stretches the warm-up and the cosine from where the run stands. The
    optimizer's kind and the network cannot change.

    `eval_data_generator` gives the batches of the evaluations; None takes them from the prior, from a part of its
    stream that training never reaches. `data_config` is recorded in the checkpoints. Each of `callbacks` is called
    with a `TrainingEvent`, or has methods `on_step`, `on_log`, `on_eval`, `on_checkpoint`.

    In `checkpoint_dir` stand `latest.safetensors` (everything), `best.safetensors` (weights with the best
    evaluation) and `history.csv`. Raises TrainingStopped, a KeyboardInterrupt, after saving on Ctrl-C or SIGTERM;
    FloatingPointError when losses stay non-finite; FileExistsError when `checkpoint_dir` holds another run.
    """
    config = training_config or TrainingConfig()
    device = pick_device(config.device)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=[device] if device.type == "cuda" else []))
        stack.enter_context(_torch_settings(config))
        run = _Run(prior, model_config, config, device, eval_data_generator, data_config, callbacks)
        stack.callback(run.close)
        run.begin(resume_from)
        stack.enter_context(_stop_on_signal(run))
        run.finish()
    return run.model


class _Run:
    """The state of one training run."""

    def __init__(
        self,
        prior: Any,
        model_config: Any,
        config: TrainingConfig,
        device: torch.device,
        eval_data: Iterable[TaskBatch] | None,
        data_config: Any,
        callbacks: Sequence[Any],
    ) -> None:
        self.config, self.device, self.callbacks = config, device, callbacks
        self.folder = Path(config.checkpoint_dir) if config.save_checkpoint else None
        torch.manual_seed(config.seed)
        model = model_config if isinstance(model_config, nn.Module) else PFN(model_config)
        if config.init_from is not None:
            checkpoint.load(config.init_from, model=model)
        self.model: Any = model.to(device).train()
        self.loss_function = torch.compile(self.model.loss) if config.compile else self.model.loss
        self.optimizers = Optimizers(self.model, config)
        self.average = WeightAverage(self.optimizers.parameters, config.average_decay) if config.average_decay else None
        self.prior, self.eval_data = prior, eval_data
        self.data_config = describe_data(prior) if data_config is None else data_config
        self.batches: Any = TaskStream(prior, config.batch_size, seed=config.seed, n_workers=config.n_workers) if is_prior(prior) else prior
        self.counters: dict[str, Any] = {
            "step": 0,
            "position": 0,
            "tasks": 0,
            "seconds": 0.0,
            "nan_losses": 0,
            "nan_in_a_row": 0,
            "best_eval_loss": math.inf,
            "average_updates": 0,
            "since_row": dict(_NOTHING),
        }
        self.history = History(None)
        self.stop_signal: int | None = None
        self.progress: ProgressLine | None = None
        self.eval_batches: list[TaskBatch] | None = None

    # --- beginning and end

    def begin(self, resume_from: str | Path | None) -> None:
        rows: list[dict[str, float]] = []
        if resume_from is not None:
            rows = self.restore(checkpoint.locate(resume_from))
        elif self.folder is not None and (self.folder / "latest.safetensors").exists() and not self.config.overwrite:
            raise FileExistsError(
                f"{self.folder} already holds a run. Continue it with resume_from={str(self.folder)!r} (--resume), "
                "choose another checkpoint_dir, or set overwrite=True to start afresh."
            )
        if self.folder is not None:
            if resume_from is None:
                for name in ("best.safetensors", "latest.safetensors", "latest.previous.safetensors"):
                    (self.folder / name).unlink(missing_ok=True)
            self.history = History(self.folder / "history.csv", rows)
        else:
            self.history = History(None, rows)
        self.progress = ProgressLine(self.counters["step"], self.config.num_steps)

    def finish(self) -> None:
        """Train to the last step, save, and leave the exported weights in the model."""
        began_saving = time.monotonic()
        batches = iter(self.batches)
        while self.counters["step"] < self.config.num_steps:
            self.one_step(batches)
            step = self.counters["step"]
            is_last = step == self.config.num_steps
            due = step % self.config.save_every == 0 or time.monotonic() - began_saving >= 60 * self.config.save_minutes
            if due or is_last or self.stop_signal is not None:
                self.save()
                began_saving = time.monotonic()
            if self.stop_signal is not None and not is_last:
                raise TrainingStopped(self._stopped_message())
        with self.optimizers.exported(self.average):
            exported = [parameter.detach().clone() for parameter in self.optimizers.parameters]
        with torch.no_grad():
            for parameter, value in zip(self.optimizers.parameters, exported, strict=True):
                parameter.copy_(value)
        self.model.eval()
        self.model.history = self.history.frame()

    def close(self) -> None:
        if isinstance(self.batches, TaskStream) and self.batches is not self.prior:
            self.batches.close()
        if self.progress is not None:
            self.progress.close()
        self.history.close()

    # --- one step

    def one_step(self, batches: Iterator[TaskBatch]) -> None:
        config, counters = self.config, self.counters
        began, waited, n_tasks = time.perf_counter(), 0.0, 0
        factor = rate_factor(counters["step"], config)
        self.optimizers.set_rate(factor)
        total = torch.zeros((), device=self.device)
        for _ in range(config.accumulation):
            waiting = time.perf_counter()
            batch = self.next_batch(batches)
            waited += time.perf_counter() - waiting
            with self.autocast():
                loss = self.loss_function(batch) / config.accumulation
            loss.backward()
            total += loss.detach()
            n_tasks += batch.n_tasks
        norm = nn.utils.clip_grad_norm_(self.optimizers.parameters, config.grad_clip if config.use_grad_clip else math.inf)
        loss_value, norm_value = torch.stack([total, norm.to(total.dtype)]).tolist()
        finite = math.isfinite(loss_value) and math.isfinite(norm_value)
        if finite:
            self.optimizers.step()
            if self.average is not None:
                self.average.update(self.optimizers.parameters)
        self.optimizers.zero_grad()
        counters["step"] += 1
        counters["tasks"] += n_tasks
        counters["position"] = getattr(self.batches, "position", None)
        counters["nan_losses"] += not finite
        counters["nan_in_a_row"] = 0 if finite else counters["nan_in_a_row"] + 1
        seconds = time.perf_counter() - began
        counters["seconds"] += seconds
        since = counters["since_row"]
        for name, value in (("steps", int(finite)), ("tasks", n_tasks), ("seconds", seconds), ("waited", waited)):
            since[name] += value
        if finite:
            since["loss"] += loss_value
            since["grad_norm"] += norm_value
        self.after_step(loss_value, norm_value, factor * config.learning_rate)

    def after_step(self, loss: float, norm: float, rate: float) -> None:
        config, step = self.config, self.counters["step"]
        if self.counters["nan_in_a_row"] >= config.max_nan_losses:
            raise FloatingPointError(
                f"the last {config.max_nan_losses} losses or gradients were not finite, up to step {step}. "
                "Lower the learning rate, clip gradients, use precision='float32', or look for infinite values in the tasks; "
                "the last checkpoint is from before."
            )
        values = {"step": step, "loss": loss, "grad_norm": norm, "learning_rate": rate}
        notify(self.callbacks, TrainingEvent("step", step, self.model, values))
        assert self.progress is not None
        self.progress.step(step)
        is_last = step == config.num_steps
        evaluates = config.eval_every is not None and (step % config.eval_every == 0 or is_last)
        if not (evaluates or is_last or step % config.log_every == 0):
            return
        row = self.row(rate)
        if evaluates:
            row |= self.evaluate(row)
        self.history.append(row)
        self.progress.row(row)
        notify(self.callbacks, TrainingEvent("log", step, self.model, row))

    def row(self, rate: float) -> dict[str, float]:
        """The history's row at this step; what it averages begins anew."""
        counters, since = self.counters, self.counters["since_row"]
        counters["since_row"] = dict(_NOTHING)
        steps = since["steps"] or math.nan
        return {
            "step": counters["step"],
            "seconds": counters["seconds"],
            "tasks": counters["tasks"],
            "loss": since["loss"] / steps,
            "grad_norm": since["grad_norm"] / steps,
            "learning_rate": rate,
            "tasks_per_second": since["tasks"] / since["seconds"],
            "wait_share": since["waited"] / since["seconds"],
            "nan_losses": counters["nan_losses"],
        }

    def next_batch(self, batches: Iterator[TaskBatch]) -> TaskBatch:
        try:
            batch = next(batches)
        except StopIteration:
            raise ValueError(
                f"the tasks ended after {self.counters['step']} of {self.config.num_steps} steps. "
                "Give a longer or endless source, or lower num_steps."
            ) from None
        return batch.to(self.device)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.config.precision == "bfloat16")

    # --- evaluation

    def evaluate(self, row: dict[str, float]) -> dict[str, float]:
        """Mean loss and accuracy of the exported weights on the fixed tasks; keeps the best ones."""
        if self.eval_batches is None:
            self.eval_batches = list(islice(self.evaluation_source(), self.config.eval_batches))
        with self.optimizers.exported(self.average), torch.no_grad(), _kept_rng(self.device), self.autocast():
            self.model.eval()
            results = [self.evaluate_batch(batch.to(self.device)) for batch in self.eval_batches]
            values = {"eval_loss": _mean(r[0] for r in results), "eval_accuracy": _mean(r[1] for r in results)}
            notify(self.callbacks, TrainingEvent("eval", self.counters["step"], self.model, {**row, **values}))
            if values["eval_loss"] < self.counters["best_eval_loss"]:
                self.counters["best_eval_loss"] = values["eval_loss"]
                self.save_best(values)
        self.model.train()
        return values

    def evaluate_batch(self, batch: TaskBatch) -> tuple[float, float]:
        loss = float(self.model.loss(batch))
        probabilities = getattr(self.model.predictive(batch), "probs", None) if hasattr(self.model, "predictive") else None
        if probabilities is None:
            return loss, math.nan
        return loss, float((probabilities.argmax(-1) == batch.y_query).float().mean())

    def evaluation_source(self) -> Iterable[TaskBatch]:
        if self.eval_data is not None:
            return self.eval_data
        if not is_prior(self.prior):
            raise ValueError("eval_every is set, but the training tasks are not a prior: give eval_data_generator, or set eval_every=None.")
        return TaskStream(self.prior, self.config.batch_size, seed=self.config.seed, n_workers=0, start=EVALUATION_START)

    # --- checkpoints

    def save(self) -> None:
        if self.folder is None:
            return
        self.history.flush_to_disk()
        state = self.state()
        with self.optimizers.exported(self.average):
            path = checkpoint.save(
                self.folder / "latest.safetensors",
                self.model,
                training_config=self.config,
                provenance=self.provenance(),
                training_state=state,
                keep_previous=True,
            )
            notify(self.callbacks, TrainingEvent("checkpoint", self.counters["step"], self.model, {}, path))

    def save_best(self, values: dict[str, float]) -> None:
        if self.folder is not None:
            provenance = self.provenance() | values
            checkpoint.save(self.folder / "best.safetensors", self.model, training_config=self.config, provenance=provenance)

    def state(self) -> checkpoint.TrainingState:
        """Everything beside the exported weights that the rest of the run depends on."""
        tensors, groups = self.optimizers.state()
        tensors["rng/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            tensors["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        if self.average is not None or self.config.optimizer == "schedulefree":
            tensors |= {f"raw/{name}": parameter.detach().clone() for parameter, name in self.optimizers.names.items()}
        if self.average is not None:
            self.counters["average_updates"] = self.average.updates
        return checkpoint.TrainingState(tensors, {**self.counters, "optimizers": groups, "averaged": self.average is not None})

    def restore(self, path: Path) -> list[dict[str, float]]:
        """Take up the run in `path`; gives the rows of its history up to there."""
        state = checkpoint.load_training_state(path)
        recorded = checkpoint.read_header(path).model_config
        wanted = checkpoint.as_json(self.model.config)
        if recorded != wanted:
            names = [name for name in wanted.keys() | recorded.keys() if wanted.get(name) != recorded.get(name)]
            raise ValueError(f"{path} was trained with another {', '.join(sorted(names))}. Resume with the same model_config, or use init_from.")
        checkpoint.load(path, model=self.model)
        values = dict(state.values)
        groups, averaged = values.pop("optimizers"), values.pop("averaged")
        self.counters |= values
        if self.average is not None:
            self.average = WeightAverage(self.optimizers.parameters, self.config.average_decay)
            self.average.updates = self.counters["average_updates"] if averaged else 0
        raw = {name.removeprefix("raw/"): value for name, value in state.tensors.items() if name.startswith("raw/")}
        self.model.load_state_dict(raw, strict=False)
        self.model.train()
        optimizer_state = {k: v for k, v in state.tensors.items() if not k.startswith(("raw/", "rng/"))}
        self.optimizers.load_state(optimizer_state, groups)
        self.seek(self.counters["position"])
        torch.set_rng_state(state.tensors["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in state.tensors:
            torch.cuda.set_rng_state(state.tensors["rng/cuda"], self.device)
        history = path.with_name("history.csv")
        return read_rows(history, last_step=self.counters["step"]) if history.is_file() else []

    def seek(self, position: int | None) -> None:
        try:
            self.batches.position = position
        except AttributeError:
            position = None
        if position is None:
            raise ValueError(f"cannot resume on a {type(self.batches).__name__}: give a prior, or an iterable with a settable position.")

    def provenance(self) -> dict[str, Any]:
        return {
            "openpfn": openpfn.__version__,
            "revision": git_revision(),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device),
            "seed": self.config.seed,
            "steps": self.counters["step"],
            "tasks": self.counters["tasks"],
            "seconds": self.counters["seconds"],
            "nan_losses": self.counters["nan_losses"],
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "data": self.data_config,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def _stopped_message(self) -> str:
        where = f"; saved in {self.folder}, continue with resume_from={str(self.folder)!r} (--resume)" if self.folder else "; nothing saved"
        return f"stopped by {signal.Signals(self.stop_signal or 0).name} at step {self.counters['step']}{where}."


_NOTHING = {"steps": 0, "tasks": 0, "seconds": 0.0, "waited": 0.0, "loss": 0.0, "grad_norm": 0.0}


def pick_device(name: str) -> torch.device:
    """The torch device called `name`; "auto" is cuda, then mps, then cpu, by what there is."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def is_prior(source: Any) -> bool:
    """Whether tasks are drawn from `source` with `.sample`, rather than by iterating over it."""
    return hasattr(source, "sample")


def describe_data(prior: Any) -> dict[str, Any]:
    """A record of where tasks come from, for the provenance."""
    config = getattr(prior, "config", None)
    kind = f"{type(prior).__module__}:{type(prior).__qualname__}"
    return {"prior": kind, "config": asdict(config)} if is_dataclass(config) and not isinstance(config, type) else {"prior": kind}


def git_revision() -> str | None:
    """The commit of this package's source if it stands in a git repository, with a + if it was changed since."""
    folder = Path(openpfn.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", "__init__.py") is None:    # installed inside somebody else's repository
        return None
    revision = git("rev-parse", "HEAD")
    return revision and revision + ("+" if git("status", "--porcelain", "--untracked-files=no", "--", ".") else "")


@contextmanager
def _stop_on_signal(run: _Run) -> Iterator[None]:
    """SIGINT and SIGTERM ask the run to stop after this step; a second one acts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        run.stop_signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _torch_settings(config: TrainingConfig) -> Iterator[None]:
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    if config.n_threads is not None:
        torch.set_num_threads(config.n_threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


@contextmanager
def _kept_rng(device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else math.nan
