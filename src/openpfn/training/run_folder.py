"""The files of a run: its training state, taken and taken up again, and its best weights."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openpfn import checkpoint
from openpfn.configs.training import TrainingConfig
from openpfn.files import replacing
from openpfn.training.optimizers import Optimizers
from openpfn.training.tracking.base import new_run_id


@dataclass
class SinceRow:
    """Sums since the last row of the history."""

    steps: int = 0
    """Steps with a finite loss."""
    tasks: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    """Seconds spent waiting for tasks."""
    loss: float = 0.0
    grad_norm: float = 0.0


@dataclass
class Counters:
    """How far a run is. A checkpoint holds it as JSON."""

    step: int = 0
    """Steps done, those without a finite loss included."""
    position: int | None = 0
    """Index of the next batch of tasks; None where the source does not tell."""
    tasks: int = 0
    """Tasks seen."""
    seconds: float = 0.0
    """Training time, without evaluations and checkpoints."""
    nan_losses: int = 0
    """Steps skipped because the loss or the gradient was not finite."""
    nan_in_a_row: int = 0
    best_eval_loss: float | None = None
    average_updates: int = 0
    """Steps in the average of the weights; 0 keeps none."""
    since_row: SinceRow = field(default_factory=SinceRow)
    stretches: list[dict[str, Any]] = field(default_factory=list)
    """Each start and resumption: its first step, precision, device, and number of ranks if there
    are several."""

    def begin_stretch(self, precision: str, device: str, n_ranks: int = 1) -> None:
        """Note that training goes on from here in `precision` on `device`, or on `n_ranks` of
        them."""
        stretch: dict[str, Any] = {
            "from_step": self.step,
            "precision": precision,
            "device": device,
        }
        if n_ranks > 1:
            stretch["ranks"] = n_ranks
        unused = self.stretches and self.stretches[-1]["from_step"] == self.step
        self.stretches = [*(self.stretches[:-1] if unused else self.stretches), stretch]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Counters:
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        best = known.get("best_eval_loss")
        return cls(
            **known
            | {
                "since_row": SinceRow(**known["since_row"]),
                "best_eval_loss": best if best != math.inf else None,
            }
        )


def training_state(
    counters: Counters, optimizers: Optimizers, device: torch.device
) -> checkpoint.TrainingState:
    """Everything beside the exported weights that the rest of the run depends on."""
    tensors, groups = optimizers.state()
    tensors["rng/cpu"] = torch.get_rng_state()
    if device.type == "cuda":
        tensors["rng/cuda"] = torch.cuda.get_rng_state(device)
    if optimizers.exports_other_weights:
        tensors |= {
            f"raw/{name}": parameter.detach().clone()
            for parameter, name in optimizers.names.items()
        }
    counters.average_updates = optimizers.average.updates if optimizers.average else 0
    return checkpoint.TrainingState(
        tensors,
        {**asdict(counters), "optimizers": groups, "averaged": optimizers.average is not None},
    )


def restore(path: Path, model: Any, optimizers: Optimizers, device: torch.device) -> Counters:
    """Put the run in `path` into `model`, `optimizers` and torch's random state; gives how far it
    is.

    Raises ValueError if `path` holds no run, or one of another network or optimizer.
    """
    state = checkpoint.load_training_state(path)
    if "since_row" not in state.counters:
        raise ValueError(
            f"{path} holds an optimizer's state, but was not written by a run of train. Start from"
            " it with init_from."
        )
    _check_same_network(
        path, checkpoint.read_header(path).model_config, checkpoint.as_json(model.config)
    )
    checkpoint.load(path, model=model)
    counters = Counters.from_json(state.counters)
    if optimizers.average is not None:
        optimizers.average.restart(optimizers.parameters, counters.average_updates)
    parts: dict[str, dict[str, Tensor]] = {"raw": {}, "rng": {}}
    for key, value in state.tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = value
    model.load_state_dict(parts.pop("raw"), strict=False)
    rng = parts.pop("rng")
    entries = {
        f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()
    }
    optimizers.load_state(entries, state.counters["optimizers"])
    torch.set_rng_state(rng["cpu"])
    if device.type == "cuda" and "cuda" in rng:
        torch.cuda.set_rng_state(rng["cuda"], device)
    return counters


def kept_steps(config: TrainingConfig) -> frozenset[int]:
    """Return the steps whose weights the checkpoint schedule keeps; the last one is always among
    them.

    The logarithmic schedule has `n_log_checkpoints` numbers from 1 to `num_steps` in a constant
    ratio, rounded.

    >>> sorted(
    ...     kept_steps(
    ...         TrainingConfig(
    ...             num_steps=100, checkpoint_schedule="logarithmic", n_log_checkpoints=5
    ...         )
    ...     )
    ... )
    [1, 3, 10, 32, 100]
    """
    last = config.num_steps
    if config.checkpoint_schedule is None:
        return frozenset()
    if config.checkpoint_schedule == "linear":
        return frozenset(
            range(config.linear_checkpoint_interval, last + 1, config.linear_checkpoint_interval)
        ) | {last}
    n_gaps = max(1, config.n_log_checkpoints - 1)
    return frozenset(round(last ** (k / n_gaps)) for k in range(config.n_log_checkpoints)) | {last}


@dataclass(frozen=True)
class Place:
    """Where a run's files go, and what the run is called."""

    folder: Path | None
    """None keeps no files."""
    run_id: str
    """The run's id unless it goes on with an older one; a new folder of the default
    `checkpoint_dir` is called so."""


@contextmanager
def place_of(config: TrainingConfig, resumed: Path | None) -> Iterator[Place]:
    """The place of a run: the folder that it names, else a folder of its own in the default
    `checkpoint_dir`, called by its id.

    A run resumed out of the default `checkpoint_dir` goes on where it stood. A folder made here
    that no file came into is removed.
    """
    shelf, folder = (
        Path(TrainingConfig.checkpoint_dir),
        Path(config.checkpoint_dir) if config.save_checkpoint else None,
    )
    home = (
        resumed.parent
        if resumed is not None and shelf.resolve() in resumed.resolve().parents
        else None
    )
    if folder != shelf or home is not None:
        yield Place(home if folder == shelf else folder, new_run_id())
        return
    folder = _new_folder(shelf)
    try:
        yield Place(folder, folder.name)
    finally:
        if {path.name for path in folder.iterdir()} <= {".lock"}:
            (folder / ".lock").unlink(missing_ok=True)
            folder.rmdir()


def _new_folder(shelf: Path) -> Path:
    """Return a folder in `shelf` that no other run has, called by a new id."""
    while True:
        folder = shelf / new_run_id()
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


class RunFolder:
    """A run's files: `latest.safetensors`, `best.safetensors`, `step-N.safetensors`,
    `history.csv` and, of several ranks, `ranks.csv`. No folder, no files.

    Raises FileExistsError where a run stands already that is not the one to be resumed, unless
    `overwrite` is set.
    """

    def __init__(
        self,
        config: TrainingConfig,
        path: Path | None,
        resumed: Path | None,
        task_pools: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.path, self.task_pools = config, path, task_pools
        if self.path is None or self.is_home_of(resumed):
            return
        if (self.path / "latest.safetensors").exists() and not config.overwrite:
            raise FileExistsError(
                f"{self.path} already holds a run. Continue it with resume_from={str(self.path)!r}"
                " (--resume), choose another checkpoint_dir (--out), or set overwrite=True"
                " (--overwrite) to start afresh."
            )
        steps = [path.name for path in self.path.glob("step-*.safetensors")]
        for name in (
            "latest.safetensors",
            "latest.previous.safetensors",
            "best.safetensors",
            "history.csv",
            "ranks.csv",
            *steps,
        ):
            (self.path / name).unlink(missing_ok=True)

    @property
    def history(self) -> Path | None:
        return None if self.path is None else self.path / "history.csv"

    def is_home_of(self, resumed: Path | None) -> bool:
        """Return whether the file that a run is resumed from stands in this folder."""
        return (
            resumed is not None
            and self.path is not None
            and resumed.resolve().parent == self.path.resolve()
        )

    def has_best(self) -> bool:
        return self.path is not None and (self.path / "best.safetensors").exists()

    def save(
        self,
        name: str,
        model: Any,
        provenance: Mapping[str, Any],
        state: checkpoint.TrainingState | None = None,
    ) -> Path | None:
        """Write `model` as it is to the file `name`; a file with a training state keeps its
        predecessor."""
        if self.path is None:
            return None
        keep = state is not None
        record = {
            "training_config": self.config,
            "provenance": provenance,
            "task_pools": self.task_pools,
        }
        return checkpoint.save(
            self.path / name, model, **record, training_state=state, keep_previous=keep
        )

    def keep_step(self, step: int) -> None:
        """Keep `latest.safetensors` also as `step-N.safetensors`, from where a run can continue."""
        if self.path is None:
            return
        latest, kept = self.path / "latest.safetensors", self.path / f"step-{step}.safetensors"
        with replacing(kept) as unfinished:
            try:
                os.link(latest, unfinished)  # the same file: `latest` is replaced, never changed
            except OSError:  # a file system without hard links
                shutil.copyfile(latest, unfinished)


def _check_same_network(path: Path, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = sorted(
        name for name in wanted.keys() | recorded.keys() if wanted.get(name) != recorded.get(name)
    )
    if different:
        changes = ", ".join(
            f"{name} {recorded.get(name)} → {wanted.get(name)}" for name in different
        )
        raise ValueError(
            f"{path} was trained with another network: {changes}. Resume with the same"
            " model_config, or start with init_from."
        )
