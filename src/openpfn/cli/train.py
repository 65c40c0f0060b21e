"""Train a network on tasks from a prior or a dump, and continue a run that stopped."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from openpfn.configs import PriorConfig, RealTableConfig, TabularConfig, TrainingConfig, preset

if TYPE_CHECKING:
    from openpfn.training.ranks import Ranks


@dataclass(frozen=True)
class TrainOptions:
    """Train a table network. The run's folder gets latest.safetensors, best.safetensors and
    history.csv.

    Ctrl-C saves; --resume continues as if the run had never stopped, with its recorded options
    except those given anew. Under torchrun (torchrun --nproc-per-node 2 -m openpfn train …) several
    processes share the batches of each step; their number does not change the run.
    """

    out: Path | None = None
    """Folder of the run; runs/PRESET by default."""
    preset: str = "nano"
    """Size of the network: micro, tiny, nano or small. Options --model.… change single fields.
    text-small and tabstar read text and are trained on a corpus: --preset text-small --help tells
    their options."""
    corpus: Path | None = None
    """Folder of tables that a network which reads text is pretrained on."""
    prior: str = "mixture"
    """Where tasks come from: a file name in `openpfn.priors`, an alias, "module:Class", or
    "module:object" for a prior made in Python."""
    dump: Path | None = None
    """Read the tasks from this HDF5 prior dump instead."""
    resume: bool = False
    """Continue the run in the folder."""
    attention_type: str | None = None
    """Attention between rows: softmax, linear, …; short for --model.attention-type."""
    plan: Path | None = None
    """Train in the stages that this TOML file describes (see docs/training.md); goes with --out and
    --resume alone."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")] = field(
        default_factory=TrainingConfig
    )
    model: TabularConfig = field(default_factory=TabularConfig)
    tasks: PriorConfig = field(default_factory=PriorConfig)
    table: RealTableConfig = field(default_factory=RealTableConfig)
    """For --prior real_tables."""


@dataclass(frozen=True)
class PlanOptions:
    """Train a table network in stages; each has its folder in the run's folder.

    Ctrl-C saves; --resume goes on with the first stage that is not finished.
    """

    plan: Path
    """TOML file with the network and the stages of its training."""
    out: Path | None = None
    """Folder of the run; runs/NAME for a plan in NAME.toml."""
    resume: bool = False
    """Continue the stages in the folder."""


def main(argv: list[str]) -> int:
    """Parse the options, train, and say where the weights are."""
    from openpfn.cli import _text_training

    if _text_training.is_text_training(argv):
        return _text_training.main(argv)
    in_stages = any(word == "--plan" or word.startswith("--plan=") for word in argv)
    options = tyro.cli(PlanOptions, args=argv, prog="openpfn train") if in_stages else parse(argv)
    from openpfn.data.stream import WorkerError
    from openpfn.training import TrainingStopped
    from openpfn.training.ranks import RankLost, joined

    try:
        with joined(device_of(options)) as ranks:
            try:
                model = (
                    run_plan(options, ranks)
                    if isinstance(options, PlanOptions)
                    else run(options, ranks)
                )
            except TrainingStopped as stopped:
                if ranks.is_first:
                    print(stopped, file=sys.stderr)
                return 130
    except (FloatingPointError, WorkerError, RankLost) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not ranks.is_first:
        return 0
    if not hasattr(model, "history"):
        print("every stage of the plan is finished already")
        return 0
    last = model.history.iloc[-1]
    weights = (
        "nothing was saved"
        if model.run_folder is None
        else f"weights in {model.run_folder}/latest.safetensors"
    )
    print(f"trained {last['step']:.0f} steps on {last['tasks']:.0f} tasks; {weights}")
    return 0


def parse(argv: list[str]) -> TrainOptions:
    """Return the options of `argv`: what is given, else the run's recorded ones (--resume), else
    the preset's and the defaults."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--out", "--checkpoint-dir", "--checkpoint_dir", dest="out")
    early.add_argument("--preset", default="nano")
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(argv)
    folder = Path(known.out or f"runs/{known.preset}")
    default = recorded(folder) if known.resume else fresh(known.preset)
    options = tyro.cli(TrainOptions, args=argv, default=default, prog="openpfn train")
    if options.attention_type is not None:
        options = replace(
            options, model=replace(options.model, attention_type=options.attention_type)
        )
    is_synthetic = options.dump is None and config_class_of(options.prior) is not RealTableConfig
    if is_synthetic and options.tasks.max_classes > options.model.max_classes:
        raise ValueError(
            f"the tasks have up to {options.tasks.max_classes} classes, but the network tells"
            f" {options.model.max_classes} apart. Lower --tasks.max-classes or raise"
            " --model.max-classes."
        )
    return replace(options, training=replace(options.training, checkpoint_dir=str(folder)))


def fresh(name: str) -> TrainOptions:
    """Return the options of a new run with the preset `name`, on tasks of no more classes than it
    can tell apart."""
    model = preset(name)
    return TrainOptions(
        preset=name,
        model=model,
        tasks=PriorConfig(max_classes=min(PriorConfig().max_classes, model.max_classes)),
    )


def recorded(folder: Path) -> TrainOptions:
    """Return the options that the run in `folder` was started with."""
    from openpfn import checkpoint

    header = checkpoint.read_header(folder)
    data = header.provenance.get("data") or {}
    training = checkpoint.training_config_of(header) or TrainingConfig()
    options = TrainOptions(training=training, model=header.config, resume=True)
    if "dump" in data:
        return replace(options, dump=Path(data["dump"]))
    prior = data.get("prior", options.prior)
    name = "table" if config_class_of(prior) is RealTableConfig else "tasks"
    config = checkpoint.from_json(type(getattr(options, name)), data.get("config", {}), header.path)
    return replace(options, prior=prior, **{name: config})


def device_of(options: TrainOptions | PlanOptions) -> str:
    """Return the device that the ranks of a run compute on; a plan's is that of its first stage."""
    if isinstance(options, TrainOptions):
        return options.training.device
    from openpfn.configs.plan import read_plan

    return read_plan(options.plan).stages[0].training.device


def run_plan(options: PlanOptions, ranks: Ranks) -> Any:
    """Train the stages of a plan that are not finished; gives the network."""
    from openpfn.configs.plan import read_plan
    from openpfn.training.plan import train_plan

    folder = options.out or Path("runs") / options.plan.stem
    return train_plan(read_plan(options.plan), folder, resume=options.resume, ranks=ranks)


def config_class_of(prior: str) -> type | None:
    """Return the class of the configuration that the prior called `prior` is made with; None for
    one that is made in Python."""
    from openpfn import registry
    from openpfn.priors import TaskPrior

    return registry.find("priors", prior, TaskPrior).config_class


def run(options: TrainOptions, ranks: Ranks, callbacks: Sequence[Any] = ()) -> Any:
    """Train as the options say, together with the other ranks if there are any; gives the
    network."""
    from openpfn.data.dump_reader import PriorDumpDataLoader
    from openpfn.generators.base import SequencePrior
    from openpfn.priors.base import made
    from openpfn.training import train

    config = options.training
    if options.dump is not None:
        tasks: Any = PriorDumpDataLoader(
            options.dump, None, config.batch_size, shuffle=True, seed=config.seed
        )
        data: dict[str, Any] = {"dump": str(options.dump)}
    else:
        chosen: Any = (
            options.table if config_class_of(options.prior) is RealTableConfig else options.tasks
        )
        prior = tasks = made(options.prior, chosen)
        if isinstance(prior, SequencePrior) and prior.n_train == 0:
            raise ValueError(
                f"the sequences of {options.prior} have no context rows, which a table network"
                " reads. Make the prior with n_train=…, or train a sequence network in Python:"
                " train(prior, RegressionConfig(…))."
            )
        data = {"prior": options.prior, "config": asdict(chosen)}
        if getattr(tasks, "n_classes", 0) > options.model.max_classes:
            raise ValueError(
                f"the table has {tasks.n_classes} classes, but the network tells"
                f" {options.model.max_classes} apart. Raise --model.max-classes."
            )
    return train(
        tasks,
        options.model,
        config,
        resume_from=config.checkpoint_dir if options.resume else None,
        data_config=data,
        callbacks=callbacks,
        ranks=ranks,
    )
