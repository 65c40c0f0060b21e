"""`TaskDiversityConfig`: which networks a sweep of task diversity trains, and how."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from openpfn.configs.checks import check_fields, check_least
from openpfn.configs.sequence import RegressionConfig
from openpfn.configs.training import TrainingConfig

ASIDE = ("tasks", "seeds", "jobs", "log_file", "out", "registry", "device", "eval_batch")
"""Fields that do not change what one run trains."""


@dataclass(frozen=True)
class TaskDiversityConfig:
    """Networks trained on linear regression whose tasks are drawn from pools of several sizes
    (Raventós et al. 2023, arXiv 2306.15063). The defaults show the crossover from memorising to
    generalising on two cores."""

    tasks: tuple[int, ...] = (4, 16, 64, 256, 1024)
    """Tasks in the pool, a run for each."""
    task_size: int = 4
    """Columns of x, and coefficients of a task."""
    examples: int = 16
    """Rows of a sequence."""
    noise: float = 0.25
    """Variance of the noise of y."""
    steps: int = 4000
    """Optimizer steps of each run."""
    batch: int = 64
    """Sequences a step."""
    eval_batch: int = 1024
    """Sequences that each score is measured on."""
    lr: float = 1e-3
    """Peak rate of AdamW, with a warm-up and a cosine to zero."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """Muon trains hidden weights several times faster than AdamW alone."""
    muon_lr: float = 5e-3
    """Peak rate of Muon."""
    checkpoints: int = 8
    """Steps of each run whose weights are kept, logarithmically spaced."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each seed has its own pools and weights, a run for each and each pool size."""
    d_model: int = 64
    """Width of the network."""
    n_layers: int = 2
    """Layers."""
    n_heads: int = 2
    """Attention heads."""
    d_mlp: int = 128
    """Hidden width of the MLPs."""
    head: Literal["uniform", "mixture"] = "uniform"
    """Buckets of equal width for y, or a mixture of normal distributions."""
    d_vocab: int = 128
    """Buckets, or components of the mixture."""
    y_max: float | None = None
    """Buckets reach from −y_max to y_max; None for four standard deviations of y."""
    positions: bool = False
    """Add embeddings of positions, which end at the sequences' length."""
    jobs: int = 1
    """Runs at the same time, among which the cores are divided."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    out: Path = Path("task-diversity")
    """Folder of the sweep: its runs, results.csv and task-diversity.png."""
    registry: Path | None = None
    """Registry that the runs are kept in; OUT/registry by default."""
    log_file: Path | None = None
    """Also write a line for each run that begins or ends to this file."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("tasks", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} is {values}; give one number at least, none twice.")
        if min(self.tasks) < 1:
            raise ValueError(f"tasks is {self.tasks}; a pool needs at least one task.")
        check_least(
            self, task_size=1, examples=2, steps=1, batch=1, eval_batch=2, checkpoints=1, jobs=1
        )
        for name in ("noise", "lr", "muon_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be above 0.")

    @property
    def registry_folder(self) -> Path:
        """Where the runs are kept."""
        return self.out / "registry" if self.registry is None else self.registry

    @property
    def reach(self) -> float:
        """The greatest y that a bucket holds."""
        return 4 * (self.task_size + self.noise) ** 0.5 if self.y_max is None else self.y_max

    def data(self, n_tasks: int, seed: int) -> dict[str, Any]:
        """What a run trains on, as it is recorded: by this, runs are found again."""
        return {
            "experiment": "task-diversity",
            "n_tasks": n_tasks,
            "task_size": self.task_size,
            "examples": self.examples,
            "noise": self.noise,
            "seed": seed,
        }

    def network(self) -> RegressionConfig:
        """The network of every run."""
        return RegressionConfig(
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            d_mlp=self.d_mlp,
            n_ctx=2 * self.examples,
            input_dim=self.task_size,
            use_pos_emb=self.positions,
            bucket_type=self.head,
            d_vocab=self.d_vocab,
            y_min=-self.reach,
            y_max=self.reach,
        )

    def training(self, n_tasks: int, seed: int, n_threads: int | None) -> TrainingConfig:
        """How a run is trained, and where its files go."""
        return TrainingConfig(
            num_steps=self.steps,
            batch_size=self.batch,
            seq_len=self.examples,
            learning_rate=self.lr,
            optimizer=self.optimizer,
            muon_learning_rate=self.muon_lr,
            schedule="cosine",
            warmup_steps=max(1, self.steps // 20),
            checkpoint_dir=str(self.folder(n_tasks, seed)),
            checkpoint_schedule="logarithmic",
            n_log_checkpoints=self.checkpoints,
            save_every=max(1, self.steps // 4),
            log_every=max(1, self.steps // 40),
            seed=seed,
            n_workers=0,
            n_threads=n_threads,
            device=self.device,
            wandb_run_name=self.name(n_tasks, seed),
            wandb_project="task-diversity",
            wandb_tags=("task-diversity",),
            registry=str(self.registry_folder),
        )

    def name(self, n_tasks: int, seed: int) -> str:
        """What a run is called; no other run of the same folder is called so."""
        own = {k: v for k, v in asdict(self).items() if k not in ASIDE}
        digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
        return f"tasks{n_tasks}-size{self.task_size}-seed{seed}-{digest}"

    def folder(self, n_tasks: int, seed: int) -> Path:
        """Folder of a run."""
        return self.out / "runs" / self.name(n_tasks, seed)
