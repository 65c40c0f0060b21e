"""Options of `openpfn benchmark attention`: mechanisms, training, tasks and measurements."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from openpfn.configs import PriorConfig, TabularConfig, TrainingConfig
from openpfn.configs.real_table import RealTableConfig

NETWORK = TabularConfig(d_model=32, n_heads=4, n_layers=3, d_mlp=64, max_classes=3)
TASKS = PriorConfig(
    min_features=2,
    max_features=8,
    max_seq_len=96,
    max_classes=3,
    min_context_share=2 / 3,
    max_context_share=2 / 3,
)
TABLE = RealTableConfig(shuffle_columns_for_each_task=True, shuffle_classes_for_each_task=True)
ASIDE = (
    "mechanisms",
    "seeds",
    "out",
    "jobs",
    "backend",
    "address",
    "inference_rows",
    "query_rows",
)
"""Options that may differ between calls with one folder."""


@dataclass(frozen=True)
class AttentionConfig:
    """Train one network per mechanism and seed on the same tasks, and say what each mechanism costs
    and is worth."""

    mechanisms: tuple[str, ...] = ("softmax", "linear", "ridge", "induced", "hybrid")
    """Attention between rows: names of files in `openpfn.attention`, aliases, or "module:Class".
    Differences are taken to softmax if it is among them, else to the first."""
    num_steps: int = 2000
    """Optimizer steps of each run."""
    seeds: int = 5
    """Runs per mechanism. A seed decides the initial weights and the order of the tasks, alike for
    every mechanism."""
    out: Path = Path("attention")
    """Folder of the runs, results.csv and report.html. A comparison with the same folder goes on
    where the last one stopped."""
    jobs: int = 1
    """Processes, each of one thread."""
    backend: Literal["processes", "ray", "dask"] = "processes"
    """Where the jobs run: processes of this machine, or a cluster of Ray or Dask whose machines all
    see OUT (needs the extra openpfn[scale])."""
    address: str | None = None
    """Address of the cluster; without it Ray takes RAY_ADDRESS, and else this machine is one."""
    device: str = "cpu"
    """Device of the networks: cpu or cuda."""
    batch_size: int = 8
    """Tasks per optimizer step."""
    optimizer: Literal["adamw", "schedulefree", "muon"] = "muon"
    """As in `openpfn train`; all but schedulefree end on a cosine."""
    learning_rate: float = 3e-3
    """Peak rate of AdamW."""
    muon_learning_rate: float = 1e-2
    """Peak rate of Muon."""
    average_decay: float = 0.99
    """Decay of the average of the weights that is evaluated; schedulefree keeps its own."""
    eval_every: int = 100
    """Steps between evaluations on the held-out tasks."""
    held_out: int = 256
    """Held-out tasks, the same for every run."""
    lengths: tuple[int, ...] = (1, 2, 4, 8)
    """Held-out tasks are also read with contexts this many times the longest that was trained."""
    inference_rows: tuple[int, ...] = (40, 100, 500, 1000, 5000, 10000)
    """Context rows at which fitting and reading are timed; none for no timing."""
    query_rows: int = 100
    """Query rows read at once in the timing."""
    prior: str = "mixture"
    """Prior of the tasks: a file name in `openpfn.priors`, an alias, or "module:Class"."""
    network: TabularConfig = field(default_factory=lambda: NETWORK)
    tasks: PriorConfig = field(default_factory=lambda: TASKS)
    table: RealTableConfig = field(default_factory=lambda: TABLE)
    """For --prior real_tables, whose held-out tasks take rows that no training task has."""

    def __post_init__(self) -> None:
        for name in (
            "num_steps",
            "seeds",
            "jobs",
            "batch_size",
            "eval_every",
            "held_out",
            "query_rows",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        if not self.mechanisms:
            raise ValueError("mechanisms is empty. Name at least one.")
        if (
            1 not in self.lengths
            or min(self.lengths) < 1
            or len(set(self.lengths)) < len(self.lengths)
        ):
            raise ValueError(
                f"lengths is {self.lengths}. Give different whole numbers, 1 among them."
            )
        if any(n < 2 for n in self.inference_rows):
            raise ValueError(
                f"inference_rows is {self.inference_rows}. Give numbers of context rows from 2 on."
            )
        if self.network.attention_type != TabularConfig.attention_type:
            raise ValueError(
                f"network.attention_type is {self.network.attention_type!r}, but mechanisms decides"
                " about it. Leave it out."
            )
        if self.device != "cpu" and self.device.partition(":")[0] != "cuda":
            raise ValueError(f"device is {self.device!r}. Choose cpu or cuda.")
        self.training(0)  # its options are checked before hours of work

    @property
    def reference(self) -> str:
        """The mechanism that the others are compared with."""
        return next(
            (name for name in self.mechanisms if name.lower() in ("softmax", "original")),
            self.mechanisms[0],
        )

    def training(self, seed: int) -> TrainingConfig:
        """Return the training configuration of the run of `seed`, alike for every mechanism."""
        free = self.optimizer == "schedulefree"
        return TrainingConfig(
            batch_size=self.batch_size,
            num_steps=self.num_steps,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            muon_learning_rate=self.muon_learning_rate,
            weight_decay=0.01,
            warmup_steps=100,
            schedule="constant" if free else "cosine",
            average_decay=0.0 if free else self.average_decay,
            log_every=min(self.eval_every, max(1, self.num_steps // 20)),
            eval_every=self.eval_every,
            eval_batches=self.held_out,
            device=self.device,
            seed=seed,
            n_workers=0,
            n_threads=1,
            save_minutes=1.0,
        )

    def settings(self) -> dict[str, Any]:
        """Return the settings that the runs in one folder must have in common."""
        from dataclasses import asdict

        return {name: value for name, value in asdict(self).items() if name not in ASIDE}
