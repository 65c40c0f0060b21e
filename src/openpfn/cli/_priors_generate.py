"""`openpfn priors generate`: its options, and the drawing of tasks into files."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from openpfn.configs.prior import PriorConfig
from openpfn.configs.real_table import RealTableConfig

if TYPE_CHECKING:
    import torch

    from openpfn.batch import TaskBatch
    from openpfn.data.dump_reader import DumpHeader, DumpWriter
    from openpfn.priors.base import TaskPrior


@dataclass(frozen=True)
class Generate:
    """Draw tasks from a prior into an HDF5 file, or into a folder of them. The same arguments give
    the same tasks, whatever the number of jobs and files."""

    save_path: Path | None = None
    """The file; prior_<num_batches>x<batch_size>_<max_seq_len>x<max_features>.h5 if not given. Of
    shards the folder, which is called so without .h5."""
    num_batches: int = 100
    """Number of batches."""
    batch_size: int = 8
    """Tasks per batch; within a batch the rows and the split into context and query are the same
    for all tasks."""
    prior: str = "mixture"
    """Name of a prior, or module:Class."""
    seed: int = 0
    """Seed of all tasks."""
    jobs: int = 1
    """Processes that draw tasks."""
    shards: int | None = None
    """Write a folder of this many files, each drawn and written by one worker, and a manifest with
    their checksums; one file if not given, or, on a cluster, as many as jobs."""
    backend: Literal["processes", "ray", "dask"] = "processes"
    """Where shards are drawn: by processes of this machine, or by a cluster of Ray or Dask whose
    machines all see the folder (needs the extra openpfn[scale])."""
    address: str | None = None
    """Address of the cluster; without it Ray takes RAY_ADDRESS, and else this machine is one."""
    device: str = "cpu"
    """cpu or cuda: where the tasks are drawn. Another kind of device draws other tasks from the
    same seed."""
    fill_missing: bool = False
    """Store the mean of a column's context rows in place of a missing value, for readers that know
    no NaN."""
    resume: bool = False
    """Continue a dump that was interrupted, or lengthen a finished one; begins it if it does not
    exist. Shards keep their number."""
    force: bool = False
    """Replace the dump if it exists."""
    config: tyro.conf.OmitArgPrefixes[PriorConfig] = field(default_factory=PriorConfig)
    """What the tasks look like."""
    table: RealTableConfig = field(default_factory=RealTableConfig)
    """For --prior real_tables."""

    def __post_init__(self) -> None:
        for name in ("num_batches", "batch_size", "jobs", "shards"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        if self.resume and self.force:
            raise ValueError("--resume continues a file and --force replaces it: give one of them.")

    @property
    def path(self) -> Path:
        return self.path_for(self.config.max_seq_len, self.config.max_features)

    def path_for(self, most_rows: int, most_columns: int) -> Path:
        """Return the file, or the folder of shards, for tasks of at most so many rows and
        columns."""
        automatic = f"prior_{self.num_batches}x{self.batch_size}_{most_rows}x{most_columns}"
        if self.save_path is not None:
            return self.save_path
        return Path(automatic if self.wants_shards else f"{automatic}.h5")

    @property
    def wants_shards(self) -> bool:
        """Whether the options ask for a folder of files."""
        return self.shards is not None or self.backend != "processes"


def generate(options: Generate) -> None:
    """Write the tasks, or those still missing, into the file."""
    from openpfn.data.dump_reader import DumpWriter
    from openpfn.data.stream import TaskStream

    prior = OnDevice(build(options.prior, options.config, options.table), options.device)
    header = _header(options, prior)
    path = options.path_for(header.max_seq_len, header.max_features)
    if options.wants_shards or (path / "manifest.json").is_file():
        generate_shards(options, prior, header, path)
        return
    writer = (
        DumpWriter.resume(path, header)
        if options.resume
        else DumpWriter.create(path, header, replace=options.force)
    )
    n_workers = 0 if options.jobs == 1 else options.jobs
    with (
        writer as dump,
        TaskStream(
            prior, options.batch_size, seed=options.seed, n_workers=n_workers, start=dump.n_batches
        ) as stream,
    ):
        try:
            _write(dump, stream, options)
        except KeyboardInterrupt:
            _say_safe(f"{dump.n_tasks} tasks are", path)
            raise
    megabytes = path.stat().st_size / 1e6
    print(f"{path} holds {dump.n_tasks} tasks in {dump.n_batches} batches ({megabytes:.1f} MB).")
    if dump.n_missing and not options.fill_missing:
        print(
            "Missing values are stored as NaN. Some other readers skip such batches: --fill-missing"
            " stores means instead."
        )


def generate_shards(options: Generate, prior: OnDevice, header: DumpHeader, path: Path) -> None:
    """Write the shards of the dump in the folder `path` that are not finished."""
    from openpfn import jobs
    from openpfn.data.shards import WORKER, ShardsFailed, begin_shards, write_shards

    is_on_cluster = options.backend != "processes"
    n_shards = options.shards
    if n_shards is None and not (options.resume and path.exists()):
        n_shards = options.jobs
    workers = jobs.workers(
        WORKER,
        options.jobs,
        options.backend,
        options.address,
        gpu=is_on_cluster and options.device.startswith("cuda"),
    )
    path = path.resolve() if is_on_cluster else path
    manifest = begin_shards(
        path,
        header,
        options.num_batches,
        n_shards,
        resume=options.resume,
        replace_old=options.force,
    )
    try:
        with workers, _progress(path.name, manifest.num_batches, header.batch_size, 0) as advance:
            manifest = write_shards(manifest, header, prior, workers, advance)
    except KeyboardInterrupt:
        _say_safe("the tasks drawn so far are", path)
        raise
    except ShardsFailed as error:
        raise ValueError(str(error)) from error
    records = [record for record in manifest.shards if record is not None]
    print(
        f"{path} holds {sum(record.n_tasks for record in records)} tasks in"
        f" {manifest.num_batches} batches in {len(records)} shards"
        f" ({sum(record.bytes for record in records) / 1e6:.1f} MB)."
    )


def build(name: str, config: PriorConfig, table: RealTableConfig) -> TaskPrior:
    """Return the prior called `name`, made with `table` if it draws from a real table, else with
    `config`."""
    from openpfn.generators.base import SequencePrior
    from openpfn.priors.base import TaskPrior, made
    from openpfn.registry import find

    prior = made(
        name, table if find("priors", name, TaskPrior).config_class is RealTableConfig else config
    )
    if isinstance(prior, SequencePrior):
        raise ValueError(
            f"{name!r} draws sequences, and these commands are for tables. Look at it in Python:"
            " prior.generate(seq_len)."
        )
    return prior


class OnDevice:
    """A prior whose generators live on `device`."""

    def __init__(self, prior: TaskPrior, device: str) -> None:
        from openpfn.device import pick_device

        self.prior, self.device = prior, pick_device(device)

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        import torch

        if self.device.type != "cpu":
            generator = torch.Generator(self.device).manual_seed(generator.initial_seed())
        return self.prior.sample(n_tasks, generator)


def _header(options: Generate, prior: OnDevice) -> DumpHeader:
    from openpfn.data.dump_reader import DumpHeader
    from openpfn.data.stream import task_generator

    made: Any = prior.prior
    if made.config_class is RealTableConfig:
        config, rows, columns, classes = (
            made.config,
            made.config.total_rows,
            made.n_features,
            made.n_classes,
        )
    else:
        config = options.config
        rows, columns, classes = config.max_seq_len, config.max_features, config.max_classes
    is_classification = prior.sample(1, task_generator(options.seed, 0)).n_classes is not None
    return DumpHeader(
        max_seq_len=rows,
        max_features=columns,
        batch_size=options.batch_size,
        max_classes=classes if is_classification else None,
        prior=options.prior,
        prior_config=asdict(config),
        seed=options.seed,
        device=options.device.partition(":")[0],
        missing="mean" if options.fill_missing else "nan",
    )


def _write(dump: DumpWriter, stream: Any, options: Generate) -> None:
    with _progress(
        dump.path.name, options.num_batches, options.batch_size, dump.n_batches
    ) as advance:
        while dump.n_batches < options.num_batches:
            dump.append(next(stream))
            advance(dump.n_batches)


@contextmanager
def _progress(
    name: str, n_batches: int, batch_size: int, n_done: float
) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; the value takes the number of batches done."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("batches  {task.fields[speed]} tasks/s"),
        TimeRemainingColumn(),
    )
    began, at_first = time.perf_counter(), None
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(name, total=n_batches, completed=round(n_done), speed="…")

        def advance(done: float) -> None:
            nonlocal at_first
            at_first = done if at_first is None else at_first
            speed = (done - at_first) * batch_size / (time.perf_counter() - began)
            progress.update(bar, completed=round(done), speed=f"{speed:,.0f}")

        yield advance


def _say_safe(what: str, path: Path) -> None:
    print(f"{what} safe in {path}; the same command with --resume continues.", file=sys.stderr)
