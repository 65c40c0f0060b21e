"""`openpfn train --corpus FOLDER`: pretraining of a network that reads text, on a corpus of real
tables."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from openpfn.configs import TrainingConfig
from openpfn.configs.text import TEXT_PRESETS, TextConfig, TextTrainingConfig, text_preset

RATES = {"text-small": 1e-3, "tabstar": 5e-5}
"""Peak learning rates of the presets."""


@dataclass(frozen=True)
class TextTrainOptions:
    """Pretrain a network that reads text on a corpus of tables. The run's folder gets
    latest.safetensors, best.safetensors, history.csv and history.png.

    Ctrl-C saves; --resume continues as if the run had never stopped, with its recorded options
    except those given anew.
    """

    corpus: Path | None = None
    """Folder of the corpus, as `openpfn corpus build` makes it, or an HDF5 file of raw strings."""
    out: Path | None = None
    """Folder of the run; runs/PRESET by default."""
    preset: str = "text-small"
    """Size of the network: text-small or tabstar. Options --model.… change single fields."""
    resume: bool = False
    """Continue the run in the folder."""
    training: Annotated[TrainingConfig, tyro.conf.arg(name="")] = field(
        default_factory=TrainingConfig
    )
    text: Annotated[TextTrainingConfig, tyro.conf.arg(name="")] = field(
        default_factory=TextTrainingConfig
    )
    model: TextConfig = field(default_factory=TextConfig)


def is_text_training(argv: list[str]) -> bool:
    """Return whether the options of `openpfn train` ask for a network that reads text."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--preset")
    early.add_argument("--corpus")
    known, _ = early.parse_known_args(argv)
    return known.corpus is not None or known.preset in TEXT_PRESETS


def main(argv: list[str]) -> int:
    """Parse the options, pretrain, and say where the weights are."""
    options = parse(argv)
    from openpfn.training import TrainingStopped
    from openpfn.training.ranks import n_ranks

    if n_ranks() > 1:
        raise ValueError(
            f"{n_ranks()} ranks were started, but networks that read text are pretrained by one"
            " process. Call openpfn train without torchrun, or with one rank."
        )
    try:
        network = run(options)
    except TrainingStopped as stopped:
        print(stopped, file=sys.stderr)
        return 130
    except FloatingPointError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    evaluated = network.history.dropna(subset="eval_loss")
    best = 1 - evaluated["eval_loss"].min() if len(evaluated) else float("nan")
    print(
        f"trained {int(network.history['step'].iloc[-1])} steps; best mean of AUC and R²"
        f" {best:.3f}; weights in {network.run_folder}/best.safetensors"
    )
    return 0


def parse(argv: list[str]) -> TextTrainOptions:
    """Return the options of `argv`: what is given, else the run's recorded ones (--resume), else
    the preset's and the defaults."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--out")
    early.add_argument("--preset", default="text-small")
    early.add_argument("--resume", action="store_true")
    known, _ = early.parse_known_args(argv)
    folder = Path(known.out or f"runs/{known.preset}")
    default = recorded(folder) if known.resume else fresh(known.preset)
    options = tyro.cli(TextTrainOptions, args=argv, default=default, prog="openpfn train")
    if options.corpus is None:
        raise ValueError(
            f"the preset {options.preset} is pretrained on a corpus of tables. Give --corpus"
            " FOLDER; `openpfn corpus build` makes one."
        )
    return replace(options, training=replace(options.training, checkpoint_dir=str(folder)))


def fresh(name: str) -> TextTrainOptions:
    """Return the options of a new run with the preset `name`."""
    training = TrainingConfig(
        batch_size=32,
        accumulation=4,
        learning_rate=RATES.get(name, TrainingConfig.learning_rate),
        weight_decay=1e-3,
    )
    return TextTrainOptions(preset=name, model=text_preset(name), training=training)


def recorded(folder: Path) -> TextTrainOptions:
    """Return the options that the run in `folder` was started with."""
    from openpfn import checkpoint

    header = checkpoint.read_header(folder)
    record = header.provenance
    text = checkpoint.from_json(TextTrainingConfig, record.get("text_training", {}), header.path)
    training = checkpoint.training_config_of(header) or TrainingConfig()
    corpus = (record.get("data") or {}).get("corpus")
    return TextTrainOptions(
        corpus=None if corpus is None else Path(corpus),
        resume=True,
        training=training,
        text=text,
        model=header.config,
    )


def run(options: TextTrainOptions) -> Any:
    """Pretrain as the options say; gives the network."""
    from openpfn.text.encoders import load_encoder
    from openpfn.text.pretrain import pretrain
    from openpfn.text.tasks import encoder_cache, read_tasks

    assert options.corpus is not None
    encoder = load_encoder(options.model.encoder)
    tables, described = read_tasks(
        options.corpus, options.model.version, options.text, options.training.seed
    )
    network = pretrain(
        tables,
        encoder if options.model.unfrozen_layers else encoder_cache(encoder),
        options.model,
        options.training,
        options.text,
        resume=options.resume,
        data_config={"corpus": str(options.corpus)} | described,
    )
    draw(network)
    return network


def draw(network: Any) -> None:
    """Write the picture of the run's history beside it."""
    from openpfn.plots.history import history_figure

    if network.run_folder is None or network.history.empty:
        return
    columns = {name: network.history[name].to_numpy(float) for name in network.history}
    history_figure({network.run_folder.name: columns}).savefig(network.run_folder / "history.png")
