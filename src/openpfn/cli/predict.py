"""Predict a column of one table from the rows of another: probabilities per class, or means and
quantiles of a number, into a file or as JSON."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openpfn.cli._tables import Report, check_table_output, records, require_out

if TYPE_CHECKING:
    import pandas as pd

    from openpfn.tables.target import Target


STACKING: dict[str, bool | str] = {"auto": "auto", "on": True, "off": False}
"""What the estimators call the choices of --stacking."""


@dataclass(frozen=True)
class PredictOptions:
    """Predict a column of one table from the rows of another: probabilities per class, or mean and
    quantiles of a number, into a file or as JSON.

    Prints whether the target holds classes or numbers, and how each column is read. If TEST holds
    the target too, it is not used to predict: the predictions are scored with it.
    """

    train: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRAIN")]
    """The table whose rows are the context: CSV or TSV (as they are, or .gz, .bz2, .xz, .zip),
    parquet, Excel (.xlsx) or ARFF."""
    test: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TEST")]
    """The table to predict: the same columns, with or without the target."""
    target: str
    """The column to predict."""
    out: Path | None = None
    """Where to write the predictions: prediction, then one column of probabilities per class; or
    mean, then one column per quantile. A CSV file, compressed where the name ends in .gz, .bz2, .xz
    or .zip; .tsv has tabs; .parquet and .xlsx are these. Needed unless --json is given."""
    json: bool = False
    """Print one JSON object and nothing else: the task, how columns are read, scores, and the
    predictions themselves where there is no --out."""
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
    stacking: Literal["auto", "on", "off"] = "auto"
    """Show the network what simple models say of each row's target; auto does so where it was
    trained with such columns."""
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
    require_out(options.out, options.json)
    if options.out is not None:
        check_table_output(options.out, (options.train, options.test), options.force)
    from openpfn.device import pick_device
    from openpfn.tables.target import read_target

    pick_device(options.device)
    # `tell_beyond` says it among the other lines
    warnings.filterwarnings("ignore", r"X has \d+ (rows|columns).* sees? ")

    report = Report(options.json)
    X, y, test = read_tables(options, report)
    found = read_target(y)
    task = found.task if options.task == "auto" else options.task
    other = "classification" if task == "regression" else "regression"
    how = "as asked" if options.task != "auto" else f"--task {other} reads it otherwise"
    report.tell(
        f"{task}: column {options.target!r} holds {found.reason} ({how})",
        task=task,
        target=options.target,
        reason=found.reason,
    )
    if task == "regression":
        predict_numbers(options, found, X, y, test, report)
    else:
        predict_classes(options, X, y, test, report)
    report.finish()
    return 0


def predict_classes(
    options: PredictOptions, X: pd.DataFrame, y: pd.Series, test: pd.DataFrame, report: Report
) -> None:
    """Write probabilities per class, and tell how good they are where `test` has the target."""
    from openpfn.estimators import PFNClassifier

    classifier = PFNClassifier(
        options.checkpoint,
        n_estimators=options.n_estimators,
        softmax_temperature=options.softmax_temperature,
        device=options.device,
        random_state=options.seed,
        text=options.text,
        stacking=STACKING[options.stacking],
        fine_tune=fine_tuning(options),
    ).fit(X, y.to_numpy())
    report.tell(
        f"{len(X)} context rows, {len(classifier.classes_)} classes:"
        f" {shortened(map(str, classifier.classes_))}",
        n_context=len(X),
        classes=[str(c) for c in classifier.classes_],
    )
    tell_beyond(classifier, report)
    tell_columns(classifier, report)
    probabilities = classifier.predict_proba(test[X.columns])
    hand_over(options, predictions(classifier.classes_, probabilities, test.index), report, "%.6f")
    tell_fine_tuning(classifier, report)
    if options.target in test.columns:
        line, scores = score(test.loc[:, options.target], probabilities, classifier.classes_)
        report.tell(line, scores=scores)


def predict_numbers(
    options: PredictOptions,
    found: Target,
    X: pd.DataFrame,
    y: pd.Series,
    test: pd.DataFrame,
    report: Report,
) -> None:
    """Write means and quantiles, and tell how good they are where `test` has the target."""
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
        n_left_out = int((~read).sum())
        report.tell(f"left out {n_left_out} rows whose {options.target} is no number")
    regressor = PFNRegressor(
        options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
        text=options.text,
        stacking=STACKING[options.stacking],
        fine_tune=fine_tuning(options),
    ).fit(X.loc[read], numbers[read])
    low, high = numbers[read].min(), numbers[read].max()
    n_context = int(read.sum())
    report.tell(
        f"{n_context} context rows, {options.target} from {low:.6g} to {high:.6g}",
        n_context=n_context,
        range=[low, high],
    )
    tell_beyond(regressor, report)
    tell_columns(regressor, report)
    believed = regressor.predict(test[X.columns], output="distribution")
    columns = {"mean": believed.mean.numpy()} | {
        f"quantile {level:g}": believed.quantile(level).numpy() for level in options.quantiles
    }
    hand_over(options, pd.DataFrame(columns, index=test.index), report)
    tell_fine_tuning(regressor, report)
    if options.target in test.columns:
        truth = found.numbers(test.loc[:, options.target])
        line, scores = score_numbers(truth, believed, options.target)
        report.tell(line, scores=scores)


def fine_tuning(options: PredictOptions) -> Any:
    """Return how to fine-tune: with a progress bar where somebody looks."""
    from openpfn.configs.fine_tuning import FineTuneOptions

    return options.fine_tune and FineTuneOptions(progress=sys.stderr.isatty())


def tell_fine_tuning(fitted: Any, report: Report) -> None:
    """Tell how fine-tuning went, if there was any."""
    if fitted.fine_tuning_ is not None:
        report.tell(str(fitted.fine_tuning_), fine_tuning=fitted.fine_tuning_.record())


def tell_beyond(estimator: Any, report: Report) -> None:
    """Tell what was done because the table is larger than those that the network was trained on."""
    for done in estimator.beyond_:
        report.tell(f"beyond what was trained: {done}")
    report.facts["beyond"] = list(estimator.beyond_)


def tell_columns(estimator: Any, report: Report) -> None:
    """Tell how each column is read."""
    lines = estimator.encoder_.describe()
    report.tell("\n".join(f"  {line}" for line in lines), columns=lines)


def hand_over(
    options: PredictOptions, table: pd.DataFrame, report: Report, float_format: str | None = None
) -> None:
    """Write the predictions to the file, or put them into the report."""
    from openpfn.tables.write_file import write_table

    report.facts["n_predictions"] = len(table)
    if options.out is None:
        report.facts["predictions"] = records(table)
        return
    write_table(options.out, table, float_format)
    report.tell(f"{len(table)} predictions in {options.out}", out=str(options.out))


def read_tables(options: Any, report: Report) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    """Return columns and targets of the context rows, and the rows to predict, of the `train`,
    `test`, `target` and `task` of any options.

    Raises ValueError where they do not fit together.
    """
    from openpfn.tables.load import read_table, require_columns

    train, test = read_table(options.train), read_table(options.test)
    require_columns(train, [options.target], options.train)
    labelled = train[options.target].notna().to_numpy()
    if not labelled.all():
        n_left_out = int((~labelled).sum())
        report.tell(f"left out {n_left_out} rows of {options.train} without {options.target}")
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
        report.tell(
            f"columns of {options.test} that {options.train} does not have are not used:"
            f" {shortened(unused)}",
            unused=unused,
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


def score(
    y: pd.Series, probabilities: Any, classes: Any
) -> tuple[str, dict[str, float | int] | None]:
    """Return how good the predictions are, over the rows whose class was among the context's: as
    a line, and as numbers by name; None where no row can be scored.

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
        return f"no scores: column {y.name!r} holds none of the classes of the context", None
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
    line = f"accuracy {accuracy:.4f}, AUC {auc:.4f}, log-loss {loss:.4f} ({n_known} rows{left_out})"
    return line, {"accuracy": accuracy, "auc": auc, "log_loss": loss, "n_rows": n_known}


def score_numbers(y: Any, believed: Any, name: str) -> tuple[str, dict[str, float | int] | None]:
    """Return how good the distributions `believed` are, over the rows whose number is known: as a
    line, and as numbers by name; None where no row can be scored."""
    import numpy as np

    from openpfn.benchmark.metrics import regression_metrics

    known = ~np.isnan(y)
    n_known = int(known.sum())
    if n_known == 0:
        return f"no scores: column {name!r} holds no numbers", None
    truth = y[known]
    found = regression_metrics(truth, believed.mean.numpy()[known])
    low, high = (end.numpy()[known] for end in believed.interval(0.9))
    r2 = "" if np.isnan(found["r2"]) else f"R² {found['r2']:.4f}, "
    crps = believed.crps(np.where(known, y, 0.0)).numpy()[known].mean()
    inside = np.mean((low <= truth) & (truth <= high))
    left_out = f", {len(y) - n_known} rows left out: no number" if n_known < len(y) else ""
    line = (
        f"RMSE {found['rmse']:.6g}, MAE {found['mae']:.6g}, {r2}CRPS"
        f" {crps:.6g}, {inside:.0%} within the 90% interval ({n_known} rows{left_out})"
    )
    return line, found | {"crps": crps, "coverage_90": inside, "n_rows": n_known}


def _words(classes: Any) -> list[str]:
    """Return what the classes are called."""
    import pandas as pd

    from openpfn.tables.values import plain_values

    return [word or "" for word in plain_values(pd.Series(classes)).words()]


def shortened(names: Any, most: int = 12) -> str:
    """Return the names with commas, and the number of those beyond `most`."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
