"""Predict a column of one table from the rows of another: probabilities per class, or means and
quantiles of a number, into a CSV file."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openpfn.files import replacing

if TYPE_CHECKING:
    import pandas as pd

    from openpfn.tables.target import Target


COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
"""How a file of predictions is compressed, by the end of its name."""
OTHER_FORMATS = frozenset(
    ".parquet .feather .arrow .json .jsonl .xls .xlsx .ods .h5 .hdf5 .pkl .npy .npz .zst .lz4 .7z"
    " .rar .tar .tgz".split()
)
"""Ends of names that promise what is not written."""


@dataclass(frozen=True)
class PredictOptions:
    """Predict a column of one table from the rows of another: probabilities per class, or mean and
    quantiles of a number, into a CSV file.

    Prints whether the target holds classes or numbers, and how each column is read. If TEST holds
    the target too, it is not used to predict: the predictions are scored with it.
    """

    train: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRAIN")]
    """The table (CSV, TSV or parquet) whose rows are the context."""
    test: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TEST")]
    """The table to predict: the same columns, with or without the target."""
    target: str
    """The column to predict."""
    out: Path
    """Where to write the predictions: prediction, then one column of probabilities per class; or
    mean, then one column per quantile. A CSV file, compressed where the name ends in .gz, .bz2, .xz
    or .zip; .tsv has tabs."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a number. auto: numbers are regression, unless they are
    whole, at most 10 different ones, and come twice or more on average."""
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    """Levels of the quantiles that are written in regression."""
    force: bool = False
    """Overwrite the file at --out if there is one."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_estimators: int = 4
    """Views of the table whose answers are averaged."""
    softmax_temperature: float = 1.0
    """Divides the averaged logits in classification; below 1 sharpens the probabilities."""
    text: Literal["auto", "string", "encoder", "drop"] = "auto"
    """How columns of many different words are read: by their letters and words, by these and a
    sentence encoder, or not at all. auto is encoder where one is on disk and the texts are not too
    many for it, else string."""
    fine_tune: bool = False
    """Train the network for a few steps on folds of TRAIN, and take that up where held-out rows say
    so: minutes in place of seconds."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides the views, and the steps of fine-tuning."""

    def __post_init__(self) -> None:
        if not all(0 < level < 1 for level in self.quantiles):
            raise ValueError(
                f"quantiles is {self.quantiles}, must be levels between 0 and 1, such as 0.05 0.95."
            )


def main(argv: list[str]) -> int:
    """Read both tables, predict, write the file."""
    options = tyro.cli(PredictOptions, args=argv, prog="openpfn predict")
    check_output(options)
    from openpfn.device import pick_device
    from openpfn.tables.target import read_target

    pick_device(options.device)
    # `print_beyond` says it among the other lines
    warnings.filterwarnings("ignore", r"X has \d+ (rows|columns).* sees? ")

    X, y, test = read_tables(options)
    found = read_target(y)
    task = found.task if options.task == "auto" else options.task
    other = "classification" if task == "regression" else "regression"
    how = "as asked" if options.task != "auto" else f"--task {other} reads it otherwise"
    print(f"{task}: column {options.target!r} holds {found.reason} ({how})")
    if task == "regression":
        predict_numbers(options, found, X, y, test)
    else:
        predict_classes(options, X, y, test)
    return 0


def predict_classes(
    options: PredictOptions, X: pd.DataFrame, y: pd.Series, test: pd.DataFrame
) -> None:
    """Write probabilities per class, and print how good they are where `test` has the target."""
    from openpfn.estimators import PFNClassifier

    classifier = PFNClassifier(
        options.checkpoint,
        n_estimators=options.n_estimators,
        softmax_temperature=options.softmax_temperature,
        device=options.device,
        random_state=options.seed,
        text=options.text,
        fine_tune=fine_tuning(options),
    ).fit(X, y.to_numpy())
    print(
        f"{len(X)} context rows, {len(classifier.classes_)} classes:"
        f" {shortened(map(str, classifier.classes_))}"
    )
    print_beyond(classifier)
    print("\n".join(f"  {line}" for line in classifier.encoder_.describe()))
    probabilities = classifier.predict_proba(test[X.columns])
    write(options.out, predictions(classifier.classes_, probabilities, test.index), "%.6f")
    print(f"{len(test)} predictions in {options.out}")
    tell_fine_tuning(classifier)
    if options.target in test.columns:
        print(score(test.loc[:, options.target], probabilities, classifier.classes_))


def predict_numbers(
    options: PredictOptions, found: Target, X: pd.DataFrame, y: pd.Series, test: pd.DataFrame
) -> None:
    """Write means and quantiles, and print how good they are where `test` has the target."""
    import numpy as np
    import pandas as pd

    from openpfn.estimators import PFNRegressor

    if options.softmax_temperature != 1:
        raise ValueError(
            f"softmax_temperature is {options.softmax_temperature}, but {options.target!r} is"
            " predicted as a number. Leave it out, or use --task classification."
        )
    numbers = found.numbers(y)
    read = ~np.isnan(numbers)
    if not read.any():
        raise ValueError(
            f"column {options.target!r} of {options.train} holds {found.reason}, and no numbers."
            " Use --task classification."
        )
    if not read.all():
        print(f"left out {int((~read).sum())} rows whose {options.target} is no number")
    regressor = PFNRegressor(
        options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
        text=options.text,
        fine_tune=fine_tuning(options),
    ).fit(X.loc[read], numbers[read])
    low, high = numbers[read].min(), numbers[read].max()
    print(f"{int(read.sum())} context rows, {options.target} from {low:.6g} to {high:.6g}")
    print_beyond(regressor)
    print("\n".join(f"  {line}" for line in regressor.encoder_.describe()))
    believed = regressor.predict(test[X.columns], output="distribution")
    columns = {"mean": believed.mean.numpy()} | {
        f"quantile {level:g}": believed.quantile(level).numpy() for level in options.quantiles
    }
    write(options.out, pd.DataFrame(columns, index=test.index))
    print(f"{len(test)} predictions in {options.out}")
    tell_fine_tuning(regressor)
    if options.target in test.columns:
        print(score_numbers(found.numbers(test.loc[:, options.target]), believed, options.target))


def print_beyond(estimator: Any) -> None:
    """Print what was done because the table is larger than those that the network was trained
    on."""
    for done in estimator.beyond_:
        print(f"beyond what was trained: {done}")


def fine_tuning(options: PredictOptions) -> Any:
    """Return how to fine-tune: with a progress bar where somebody looks."""
    from openpfn.configs.fine_tuning import FineTuneOptions

    return options.fine_tune and FineTuneOptions(progress=sys.stderr.isatty())


def tell_fine_tuning(fitted: Any) -> None:
    """Print how fine-tuning went, if there was any."""
    if fitted.fine_tuning_ is not None:
        print(fitted.fine_tuning_)


def check_output(options: PredictOptions) -> None:
    """Raise ValueError rather than overwrite an input, or any file without --force."""
    for source in (options.train, options.test):
        if options.out.resolve() == source.resolve() or (
            options.out.exists() and source.exists() and options.out.samefile(source)
        ):
            raise ValueError(
                f"--out {options.out} is an input file, which is never overwritten. Choose another."
            )
    if options.out.suffix.lower() in OTHER_FORMATS:
        raise ValueError(
            f"--out {options.out} names a format that is not written. Choose a name that ends in"
            f" .csv, .tsv, or .csv with one of {', '.join(COMPRESSIONS)}."
        )
    if options.out.is_dir():
        raise ValueError(f"--out {options.out} is a folder. Name a file in it.")
    if options.out.exists() and not options.force:
        raise ValueError(
            f"{options.out} exists. Choose another --out, or overwrite it with --force."
        )


def read_tables(options: PredictOptions) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    """Return columns and targets of the context rows, and the rows to predict.

    Raises ValueError where they do not fit together.
    """
    from openpfn.tables.load import read_table, require_columns

    train, test = read_table(options.train), read_table(options.test)
    require_columns(train, [options.target], options.train)
    labelled = train[options.target].notna().to_numpy()
    if not labelled.all():
        print(f"left out {int((~labelled).sum())} rows of {options.train} without {options.target}")
    train = train.loc[labelled]
    y = train[options.target]
    if y.nunique() < (1 if options.task == "regression" else 2):
        found = f"only the value {y.iloc[0]!r}" if len(y) else "no values"
        raise ValueError(
            f"column {options.target!r} of {options.train} holds {found}: at least two classes are"
            " needed to tell apart."
        )
    X = train.drop(columns=options.target)
    if X.shape[1] == 0:
        raise ValueError(
            f"{options.train} has no column besides {options.target!r}: there is nothing to predict"
            " from."
        )
    require_columns(test, [str(c) for c in X.columns], options.test)
    unused = [c for c in test.columns if c not in X.columns and c != options.target]
    if unused:
        print(
            f"columns of {options.test} that {options.train} does not have are not used:"
            f" {shortened(unused)}"
        )
    return X, y, test


def predictions(classes: Any, probabilities: Any, index: Any) -> pd.DataFrame:
    """Return a row per predicted row: the predicted class, and the probability of each class.

    Classes are named as in the headings.
    """
    import numpy as np
    import pandas as pd

    names = np.array([str(c) for c in classes], dtype=object)
    table = pd.DataFrame(
        probabilities, columns=[f"probability of {name}" for name in names], index=index
    )
    table.insert(0, "prediction", names[probabilities.argmax(axis=1)])
    return table


def write(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Write `table` as CSV, atomically: no half-written file is ever at `path`.

    Numbers are written with all their digits, or as `float_format` says.

    Raises OSError, naming `path`, where there is no room.
    """
    method = COMPRESSIONS.get(path.suffix.lower())
    compression: Any = method and {"method": method}
    if method == "zip":
        compression["archive_name"] = path.stem if "." in path.stem else f"{path.stem}.csv"
    if method == "gzip":
        compression["mtime"] = 0  # the same predictions are the same bytes
    is_tsv = any(suffix.lower() == ".tsv" for suffix in path.suffixes[-2:])
    try:
        with replacing(path) as unfinished:
            table.to_csv(
                unfinished,
                index=False,
                float_format=float_format,
                sep="\t" if is_tsv else ",",
                compression=compression,
            )
    except IsADirectoryError:
        raise
    except OSError as error:
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. Make room, or choose another --out."
        ) from error


def score(y: pd.Series, probabilities: Any, classes: Any) -> str:
    """Return how good the predictions are, over the rows whose class was among the context's.

    Classes compare by what they say: the word 1 is the number 1.0.
    """
    import numpy as np
    from sklearn.metrics import log_loss

    from openpfn.benchmark.metrics import one_vs_rest_auc
    from openpfn.tables.values import plain_values, same_name

    place: dict[str, int] = {}
    for i, word in enumerate(_words(classes)):
        place.setdefault(same_name(word), i)
    truth = np.array(
        [-1 if word is None else place.get(same_name(word), -1) for word in plain_values(y).words()]
    )
    known = truth >= 0
    n_known = int(known.sum())
    if n_known == 0:
        return f"no scores: column {y.name!r} holds none of the classes of the context"
    truth, probabilities = truth[known], probabilities[known]
    numbers = np.arange(len(classes))
    accuracy = np.mean(probabilities.argmax(axis=1) == truth)
    auc = one_vs_rest_auc(truth, probabilities, numbers)
    loss = log_loss(truth, probabilities, labels=list(numbers))
    left_out = (
        f", {len(known) - n_known} rows left out: class missing or not in the context"
        if n_known < len(known)
        else ""
    )
    return f"accuracy {accuracy:.4f}, AUC {auc:.4f}, log-loss {loss:.4f} ({n_known} rows{left_out})"


def score_numbers(y: Any, believed: Any, name: str) -> str:
    """Return how good the distributions `believed` are, over the rows whose number is known."""
    import numpy as np

    from openpfn.benchmark.metrics import regression_metrics

    known = ~np.isnan(y)
    n_known = int(known.sum())
    if n_known == 0:
        return f"no scores: column {name!r} holds no numbers"
    truth = y[known]
    found = regression_metrics(truth, believed.mean.numpy()[known])
    low, high = (end.numpy()[known] for end in believed.interval(0.9))
    r2 = "" if np.isnan(found["r2"]) else f"R² {found['r2']:.4f}, "
    crps = believed.crps(np.where(known, y, 0.0)).numpy()[known].mean()
    inside = np.mean((low <= truth) & (truth <= high))
    left_out = f", {len(y) - n_known} rows left out: no number" if n_known < len(y) else ""
    return (
        f"RMSE {found['rmse']:.6g}, MAE {found['mae']:.6g}, {r2}CRPS"
        f" {crps:.6g}, {inside:.0%} within the 90% interval ({n_known} rows{left_out})"
    )


def _words(classes: Any) -> list[str]:
    """Return what the classes are called."""
    import pandas as pd

    from openpfn.tables.values import plain_values

    return [word or "" for word in plain_values(pd.Series(classes)).words()]


def shortened(names: Any, most: int = 12) -> str:
    """Return the names with commas, and the number of those beyond `most`."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
