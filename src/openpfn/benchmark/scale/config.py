"""Options of `openpfn benchmark scale` and `openpfn benchmark cost`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openpfn.configs.checks import check_least

MEASUREMENTS = ("generate", "equal", "ranks", "kills", "read", "rows")
"""Prior generation on several cores against one; the losses of several ranks against one process;
tasks per second of several ranks against one; what is lost when processes are killed at random
moments; reading of a dump in shards against training; fitting of ever more rows."""


@dataclass(frozen=True)
class ScaleConfig:
    """Measure how generation, training, reading and fitting scale on this machine."""

    only: tuple[str, ...] = ()
    """Some of generate, equal, ranks, kills, read and rows; all by default."""
    n: int = 2
    """Cores: jobs and ranks that are compared with one."""
    seconds: float = 60.0
    """About how long each timed part takes on one core."""
    kills: int = 10
    """Processes that are killed, each at a random moment of a run of its own; half of them draw
    tasks, half of them train."""
    rows: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    """Context rows that are fitted."""
    mechanisms: tuple[str, ...] = ("linear",)
    """Attention between rows, of those that keep a state of constant size, in networks of the size
    of tiny."""
    seed: int = 0
    """Decides the moments of the kills."""
    out: Path = Path("scale.json")
    """Results file, with the machine and the versions. What was measured before with the same
    options is kept."""

    def __post_init__(self) -> None:
        check_least(self, n=2, kills=0, seed=0)
        unknown = [name for name in self.only if name not in MEASUREMENTS]
        if unknown:
            raise ValueError(f"only holds {unknown[0]!r}. Choose among {', '.join(MEASUREMENTS)}.")
        if not self.seconds > 0:
            raise ValueError(f"seconds is {self.seconds}, must be positive.")
        if any(rows < 2 for rows in self.rows):
            raise ValueError(f"rows is {self.rows}. Give numbers from 2 on.")


@dataclass(frozen=True)
class CostConfig:
    """Predict speed, memory and cost of training a network on many GPUs.

    Everything that is not counted is an option: the figures are as good as these assumptions.
    """

    preset: str = "small"
    """The network: micro, tiny, nano or small."""
    batch_size: int = 64
    """Tasks of one step and GPU."""
    rows: int = 1024
    """Rows of a task."""
    columns: int = 20
    """Columns of a task."""
    tasks: float = 10e6
    """Tasks of the whole training."""
    gpus: tuple[int, ...] = (1, 8, 64)
    """Numbers of GPUs."""
    gpus_per_machine: int = 8
    """GPUs that share a machine and its fast links."""
    tflops: float = 989.0
    """Peak of one GPU in dense bfloat16, in TFLOP/s: 989 for H100 and H200."""
    utilisation: float = 0.25
    """Share of the peak that training reaches on one GPU. Measure it: GFLOP a task (this page)
    × tasks per second (history.csv) ÷ the peak."""
    link_gbit: float = 400.0
    """Network of a machine, in Gbit/s, which its GPUs share."""
    local_gbyte: float = 450.0
    """Links between the GPUs of a machine, in GB/s."""
    latency_us: float = 20.0
    """Microseconds of one message between two GPUs."""
    draws_per_core: float = 12.0
    """Tasks of that size that one core draws a second: `openpfn benchmark speed --only prior`."""
    dollars: float = 2.5
    """Price of one GPU for an hour."""

    def __post_init__(self) -> None:
        check_least(self, batch_size=1, rows=2, columns=1, gpus_per_machine=1)
        for name in ("tasks", "tflops", "link_gbit", "local_gbyte", "draws_per_core"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be positive.")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"utilisation is {self.utilisation}, must lie in (0, 1].")
        if not self.gpus or min(self.gpus) < 1:
            raise ValueError(f"gpus is {self.gpus}. Give numbers from 1 on.")
