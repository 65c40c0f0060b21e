"""`TrainingConfig`: how a network is trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

from openpfn.configs.checks import check_fields


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained. Names and defaults follow the pfn_transformers document where it
    has them."""

    batch_size: int = 32
    """Tasks per optimizer step and accumulation slice."""
    seq_len: int = 64
    """Rows per task, for priors that leave the number of rows to the caller."""
    num_steps: int = 10_000
    """Optimizer steps of the whole run; a loader with `num_steps` sets it where it is left at this
    default."""
    learning_rate: float = 1e-4
    """Peak rate of AdamW; Muon's rate is `muon_learning_rate`."""
    weight_decay: float = 1e-5
    """Decoupled weight decay."""
    use_warmup: bool = True
    """Raise the rate linearly from 0 over `warmup_steps`."""
    warmup_steps: int = 500
    """Length of the warm-up in steps; at most a tenth of `num_steps` is used."""
    use_grad_clip: bool = True
    """Clip the gradient's norm at `grad_clip`."""
    grad_clip: float = 1.0
    """Largest gradient norm."""
    log_every: int = 100
    """Steps between history rows."""
    save_checkpoint: bool = True
    """Write checkpoints at all."""
    save_every: int = 1000
    """Steps between checkpoints (a checkpoint is also written every `save_minutes`)."""
    checkpoint_dir: str = "checkpoints"
    """Folder of this run's checkpoints and history; the default, "checkpoints", holds a folder for
    each run, called by the run's id."""
    checkpoint_schedule: Literal["linear", "logarithmic"] | None = None
    """Keep the weights of many steps as `step-N.safetensors`: evenly or logarithmically spaced;
    None keeps every `save_every`-th step, with all that a run continues from."""
    linear_checkpoint_interval: int = 100
    """Steps between the kept weights of the linear schedule."""
    n_log_checkpoints: int = 1000
    """Kept weights of the logarithmic schedule, at most: early steps, which round to the same
    number, are kept once."""
    eval_every: int | None = None
    """Steps between evaluations on fixed tasks; None evaluates never, or, where tasks were given
    for it, every `log_every` steps."""
    eval_batches: int = 10
    """Batches of fixed tasks per evaluation; a loader or list given for it is evaluated whole."""
    log_distributional_mse: bool = True
    """Measure the squared error of the predictive mean also where the network answers with a
    distribution over numbers."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    optimizer: Literal["adamw", "schedulefree", "muon"] = "adamw"
    """AdamW; schedule-free AdamW (Defazio et al. 2024); Muon on hidden 2-D weights with AdamW on
    the rest."""
    muon_learning_rate: float = 0.02
    """Peak rate of Muon on 2-D weights, before its shape-dependent scale."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The rate after the warm-up; schedule-free AdamW takes constant."""
    final_learning_rate: float = 0.0
    """Where the cosine ends, as a share of the peak rate."""
    accumulation: int = 1
    """Batches whose gradients are averaged into one step."""
    average_decay: float = 0.0
    """Decay of the exponential average of the weights, which evaluation and export use; 0 keeps no
    average."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Precision of the forward pass: bfloat16 runs it under autocast, which pays from d_model 64 up
    where the device multiplies bfloat16 natively, and is several times slower elsewhere; auto takes
    bfloat16 where it is native and float32 elsewhere."""
    compile: bool = False
    """torch.compile the model: pays after some ten minutes on a CPU."""
    save_minutes: float = 5.0
    """Minutes of training between checkpoints, whatever the steps."""
    max_nan_losses: int = 20
    """Stop after this many NaN losses in a row; single ones are skipped and counted."""
    seed: int = 0
    """Seed of initial weights, tasks and evaluation tasks."""
    n_workers: int = 1
    """Processes that draw tasks ahead of the training; 0 draws them in the training process."""
    num_workers: int | None = None
    """The name of `n_workers` in PyTorch's data loaders: its value goes there, and this stays
    None."""
    prefetch_factor: int = 4
    """Batches that wait per worker, beside the one it is drawing."""
    pin_memory: bool | None = None
    """Keep batches from workers in page-locked memory, from where a CUDA device takes them faster;
    None: on CUDA only."""
    persistent_workers: bool = True
    """Taken from PyTorch's data loaders. Tasks have no epochs, so workers live as long as the run:
    False warns that it changes nothing."""
    n_threads: int | None = None
    """Torch threads of the training process; None leaves them as they are."""
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    """Precision of float32 matrix products: high allows TF32 on CUDA, medium bfloat16 products."""
    init_from: str | None = None
    """Start from the weights of this checkpoint (a path or a shipped name) instead of random
    ones."""
    teacher: str | None = None
    """Learn classes from what this checkpoint (a path or a shipped name) answers to the tasks, in
    place of their classes; numbers, and classes of real tables, are learned from the tasks. For
    table networks."""
    overwrite: bool = False
    """Start afresh even if `checkpoint_dir` already holds a run, whose files are then replaced."""
    use_wandb: bool = False
    """Track the run with Weights & Biases (needs the extra `openpfn[wandb]`)."""
    wandb_project: str | None = None
    """Project of a tracked run; None takes WANDB_PROJECT, then "openpfn"."""
    wandb_entity: str | None = None
    """User or team that owns the project; None takes WANDB_ENTITY, then your default at W&B."""
    wandb_run_name: str | None = None
    """Name of the run. A named run is tracked even without W&B: in the registry on disk."""
    wandb_tags: list[str] | tuple[str, ...] | None = None
    """Words to find the run by."""
    wandb_notes: str | None = None
    """What the run is for, in your words."""
    wandb_log_model: bool = True
    """Keep checkpoints with the tracked run: as artifacts at W&B, as files in the registry."""
    wandb_mode: Literal["online", "offline", "disabled"] | None = None
    """offline keeps W&B's files here for `wandb sync`, disabled sends nothing; None takes
    WANDB_MODE, then W&B's own settings (`wandb offline`), then online."""
    registry: str | None = None
    """Folder of a registry on disk that tracks the run; None takes OPENPFN_REGISTRY, or
    ./openpfn-runs for a run with a name."""

    def __post_init__(self) -> None:
        check_fields(self)
        self._settle_names()
        for name in AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        for name in ("eval_every", "n_threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1 or None.")
        for name in ("warmup_steps", "n_workers", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must not be negative.")
        for name in ("learning_rate", "muon_learning_rate", "grad_clip", "save_minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive.")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"average_decay is {self.average_decay}, must lie in [0, 1).")
        if not 0 <= self.final_learning_rate <= 1:
            raise ValueError(
                f"final_learning_rate is {self.final_learning_rate}, a share of the peak rate: must"
                " lie in [0, 1]."
            )
        if self.optimizer == "schedulefree" and self.schedule != "constant":
            raise ValueError("schedule: schedule-free AdamW needs schedule='constant'.")
        if self.optimizer == "schedulefree" and self.average_decay:
            raise ValueError(
                "average_decay: schedule-free AdamW averages the weights itself. Set"
                " average_decay=0."
            )

    def _settle_names(self) -> None:
        """Give the number of workers one name, and make tags that nobody can change."""
        if not self.persistent_workers:
            warnings.warn(
                "persistent_workers=False changes nothing: tasks have no epochs between which"
                " workers could end.",
                stacklevel=4,
            )
        if self.num_workers is not None:
            if self.n_workers not in (type(self).n_workers, self.num_workers):
                raise ValueError(
                    f"num_workers is {self.num_workers} and n_workers {self.n_workers}: they mean"
                    " the same. Give one of them."
                )
            object.__setattr__(self, "n_workers", self.num_workers)
            object.__setattr__(self, "num_workers", None)
        if isinstance(self.wandb_tags, str):
            raise ValueError(
                f"wandb_tags is {self.wandb_tags!r}, one text. Give a list of them:"
                f" [{self.wandb_tags!r}]."
            )
        if self.wandb_tags is not None:
            object.__setattr__(self, "wandb_tags", tuple(self.wandb_tags))


AT_LEAST_ONE = (
    "batch_size",
    "seq_len",
    "num_steps",
    "log_every",
    "save_every",
    "eval_batches",
    "accumulation",
    "max_nan_losses",
    "linear_checkpoint_interval",
    "n_log_checkpoints",
    "prefetch_factor",
)
