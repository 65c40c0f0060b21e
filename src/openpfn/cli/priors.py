"""Draw tasks from a prior into files (generate, verify), picture them (show), or profile them
(info)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from openpfn.cli._priors_generate import Generate, build, generate
from openpfn.configs.prior import PriorConfig
from openpfn.configs.real_table import RealTableConfig

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from openpfn.batch import TaskBatch
    from openpfn.plots.prior import DrawnTask

USAGE = """usage: openpfn priors {generate,show,info,verify} [OPTIONS]

  generate  draw tasks into an HDF5 file for training (the default when options come first)
  show      draw a figure of a few tasks
  info      profile a prior or a file of tasks: how predictable, how large, which columns
  verify    compare the files of a dump in shards with their checksums

openpfn priors generate --help tells the options of generate."""

# (what, key of the profile, format, the same on small real tables); no key: a rule
PROFILE_LINES = (
    ("random forest: gain over the majority class", "forest_gain", ".3f", "0.27"),
    ("random forest: gain below .05", "forest_flat", ".0%", "22%"),
    ("random forest: accuracy above .95", "forest_above_95", ".0%", ""),
    ("logistic regression: gain", "logistic_gain", ".3f", ""),
    ("logistic regression: gain below .05", "logistic_flat", ".0%", ""),
    ("logistic regression ≥ random forest", "logistic_at_least_forest", ".0%", ""),
    ("accuracy of the majority class", "majority_accuracy", ".3f", ""),
    ("", "", "", ""),
    ("tasks of numbers", "regression_share", ".0%", ""),
    ("random forest: explained variance", "forest_r2", ".3f", ""),
    ("random forest: explains less than .05", "forest_r2_flat", ".0%", ""),
    ("ridge regression: explained variance", "ridge_r2", ".3f", ""),
    ("ridge regression: explains less than .05", "ridge_r2_flat", ".0%", ""),
    ("", "", "", ""),
    ("rows", "rows", ".0f", ""),
    ("rows that are context", "context_share", ".0%", ""),
    ("columns", "columns", ".1f", ""),
    ("columns that are categorical", "categorical_columns", ".0%", ""),
    ("columns of whole numbers", "whole_number_columns", ".0%", ""),
    ("constant columns", "constant_columns", ".0%", ""),
    ("columns with missing values", "columns_with_missing", ".0%", ""),
    ("missing cells", "missing_cells", ".1%", ""),
    ("", "", "", ""),
    ("hidden width behind a task", "hidden_width", ".1f", ""),
    ("layers behind a task", "depth", ".1f", ""),
    ("classes", "classes", ".2f", ""),
)


@dataclass(frozen=True)
class Verify:
    """Read every file of a dump in shards and compare it with its checksum in the manifest."""

    dump: Annotated[Path, tyro.conf.Positional]
    """The folder of shards."""


@dataclass(frozen=True)
class Show:
    """Draw a figure of a few tasks of a prior, or of a file of tasks."""

    dump: Annotated[Path | None, tyro.conf.Positional] = None
    """A file of tasks, in place of a prior."""
    out: Path = Path("prior.png")
    """The figure; its ending tells the format (png, pdf, svg)."""
    n_tasks: int = 5
    """How many tasks."""
    prior: str = "mixture"
    """Name of a prior, or module:Class."""
    seed: int = 0
    """Seed of the tasks."""
    config: tyro.conf.OmitArgPrefixes[PriorConfig] = field(
        default_factory=lambda: PriorConfig(max_features=12, max_seq_len=300)
    )
    """What the tasks look like."""
    table: RealTableConfig = field(default_factory=RealTableConfig)
    """For --prior real_tables."""


@dataclass(frozen=True)
class Info:
    """Profile a prior, or a file of tasks: how predictable the tasks are, how large, and which
    columns they have."""

    dump: Annotated[Path | None, tyro.conf.Positional] = None
    """A file of tasks, in place of a prior."""
    n_tasks: int = 256
    """How many tasks are looked at."""
    prior: str = "mixture"
    """Name of a prior, or module:Class."""
    seed: int = 0
    """Seed of the tasks."""
    config: tyro.conf.OmitArgPrefixes[PriorConfig] = field(
        default_factory=lambda: PriorConfig(max_features=12, max_seq_len=150)
    )
    """What the tasks look like."""
    table: RealTableConfig = field(default_factory=RealTableConfig)
    """For --prior real_tables."""


def main(argv: list[str]) -> int:
    """Run `generate`, `show`, `info` or `verify`; options without one of these words mean
    `generate`."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    word, rest = ("generate", argv) if argv[0].startswith("-") else (argv[0], argv[1:])
    actions: dict[str, tuple[type, Any]] = {
        "generate": (Generate, generate),
        "show": (Show, show),
        "info": (Info, info),
        "verify": (Verify, verify),
    }
    if word not in actions:
        raise ValueError(
            f"unknown word {word!r} after `openpfn priors`. Choose one of {', '.join(actions)}."
        )
    options, action = actions[word]
    action(tyro.cli(options, args=rest, prog=f"openpfn priors {word}"))
    return 0


def verify(options: Verify) -> None:
    """Read all files and say whether they are as they were written."""
    from openpfn.data.manifest import read_manifest

    manifest = read_manifest(options.dump)
    manifest.check_sums()
    n_done = sum(record is not None for record in manifest.shards)
    words = "is complete" if manifest.is_complete else "is not complete: continue it with --resume"
    print(f"{n_done} of {manifest.n_shards} shards have their checksums; the dump {words}.")


def show(options: Show) -> None:
    """Draw the figure and write it to `options.out`."""
    from openpfn.data.stream import task_generator
    from openpfn.plots.prior import tasks_figure

    if not options.out.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {options.out.parent} to write {options.out.name} into. Create it"
            " first."
        )
    source = (
        _Replay(options.dump, options.seed)
        if options.dump
        else build(options.prior, options.config, options.table)
    )
    tasks = [
        _drawn(source.sample(1, task_generator(options.seed, i))) for i in range(options.n_tasks)
    ]
    origin = options.dump.name if options.dump else f"prior {options.prior}"
    tasks_figure(tasks, f"{options.n_tasks} tasks from {origin}").savefig(options.out, dpi=140)
    print(f"wrote {options.out}")


def info(options: Info) -> None:
    """Print the profile."""
    from rich.console import Console

    from openpfn.scm.learnability.profile import profile_prior

    source = (
        _Replay(options.dump, options.seed)
        if options.dump
        else build(options.prior, options.config, options.table)
    )
    n_tasks = (
        min(options.n_tasks, source.n_tasks) if isinstance(source, _Replay) else options.n_tasks
    )
    console = Console()
    with console.status(f"fitting a random forest and a linear model to {n_tasks} tasks"):
        profile = profile_prior(source, n_tasks, options.seed)
    if isinstance(source, _Replay):
        console.print(source.describe(), highlight=False)
    console.print(_profile_table(profile, str(options.dump or f"prior {options.prior}")))


class _Replay:
    """The tasks of a file as a prior to draw from, each once before any comes again."""

    def __init__(self, path: Path, seed: int) -> None:
        from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents

        self.contents = read_contents(path)
        self.n_tasks = self.contents.n_tasks
        self.batches = {
            n: iter(PriorDumpDataLoader(path, None, n, seed=seed))
            for n in (1, self.contents.original_batch_size)
        }

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        """At most `n_tasks` tasks; the order is the file's own random order, not `generator`'s."""
        size = max(n for n in self.batches if n <= max(n_tasks, 1))
        return next(self.batches[size])

    def describe(self) -> str:
        contents = self.contents
        lines = [
            f"{contents.path}: {contents.n_tasks} {contents.problem_type} tasks in batches of"
            f" {contents.original_batch_size}"
        ]
        if "header" in contents.attributes:
            header = contents.attributes["header"]
            lines.append(
                f"drawn from {header['prior']} with seed {header['seed']} by OpenPFN"
                f" {contents.attributes['openpfn_version']}"
            )
            usual = RealTableConfig() if "total_rows" in header["prior_config"] else PriorConfig()
            changed = {
                k: v
                for k, v in header["prior_config"].items()
                if _json_value(getattr(usual, k, None)) != v
            }
            lines += [f"{k} = {v}" for k, v in changed.items()]
        return "\n  ".join(lines)


def _json_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _drawn(batch: TaskBatch) -> DrawnTask:
    """Return the first task of the batch as arrays, without padding."""
    import numpy as np

    from openpfn.plots.prior import DrawnTask

    if batch.x is None:
        raise ValueError(
            "this prior draws tasks without columns (x is None): there is nothing to draw."
        )
    width = batch.n_columns if batch.n_features is None else int(batch.n_features[0])
    categorical = (
        np.zeros(width, bool) if batch.categorical is None else batch.categorical[0, :width].numpy()
    )
    n_classes = None if batch.n_classes is None else int(batch.n_classes[0])
    return DrawnTask(
        batch.x[0, :, :width].double().numpy(),
        batch.y[0].double().numpy(),
        batch.n_train,
        n_classes,
        categorical,
    )


def _profile_table(profile: dict[str, Any], title: str) -> Table:
    """One line per figure; beside the figures of learnability those of small real tables, which a
    prior should resemble."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        box=SIMPLE_HEAD,
        title=f"{profile['tasks']} tasks of {title}",
        title_justify="left",
        title_style="bold",
    )
    table.add_column("")
    table.add_column("here", justify="right")
    table.add_column("real tables", justify="right", style="dim")
    for label, key, style, real in PROFILE_LINES:
        if key in profile:
            table.add_row(label, format(profile[key], style), real)
        elif not key:
            table.add_section()
    table.add_section()
    for k, share in profile.get("class_counts", {}).items():
        table.add_row(f"tasks of {k} classes", f"{share:.0%}", "")
    return table
