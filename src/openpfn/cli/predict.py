"""Predict a column of one table from the rows of another: probabilities per class into a CSV
file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from openpfn.files import replacing

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class PredictOptions:
    """Predict a column of one table from the rows of another: probabilities per class into a CSV
    file.

    Prints how each column is read. If TEST holds the target too, it is not used to predict: the
    predictions are scored with it.
    """

    train: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRAIN")]
    """The table (CSV, TSV or parquet) whose rows are the context."""
    test: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TEST")]
    """The table to predict: the same columns, with or without the target."""
    target: str
    """The column to predict."""
    out: Path
    """Where to write the predictions (CSV): prediction, then one column of probabilities per
    class."""
    force: bool = False
    """Overwrite the file at --out if there is one."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_estimators: int = 4
    """Views of the table whose answers are averaged."""
    softmax_temperature: float = 1.0
    """Divides the averaged logits; below 1 sharpens the probabilities."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides the views."""


def main(argv: list[str]) -> int:
    """Read both tables, predict, write the file."""
    options = tyro.cli(PredictOptions, args=argv, prog="openpfn predict")
    check_output(options)
    from openpfn.estimators import PFNClassifier

    X, y, test = read_tables(options)
    classifier = PFNClassifier(
        options.checkpoint,
        n_estimators=options.n_estimators,
        softmax_temperature=options.softmax_temperature,
        device=options.device,
        random_state=options.seed,
    ).fit(X, y)
    print(
        f"{len(X)} context rows, {len(classifier.classes_)} classes:"
        f" {shortened(map(str, classifier.classes_))}"
    )
    print("\n".join(f"  {line}" for line in classifier.encoder_.describe()))
    probabilities = classifier.predict_proba(test[X.columns])
    write(options.out, predictions(classifier.classes_, probabilities, test.index))
    print(f"{len(test)} predictions in {options.out}")
    if options.target in test.columns:
        print(score(test.loc[:, options.target], probabilities, classifier.classes_))
    return 0


def check_output(options: PredictOptions) -> None:
    """Raise ValueError rather than overwrite an input, or any file without --force."""
    for source in (options.train, options.test):
        if options.out.resolve() == source.resolve() or (
            options.out.exists() and source.exists() and options.out.samefile(source)
        ):
            raise ValueError(
                f"--out {options.out} is an input file, which is never overwritten. Choose another."
            )
    if options.out.is_dir():
        raise ValueError(f"--out {options.out} is a folder. Name a file in it.")
    if options.out.exists() and not options.force:
        raise ValueError(
            f"{options.out} exists. Choose another --out, or overwrite it with --force."
        )


def read_tables(options: PredictOptions) -> tuple[pd.DataFrame, Any, pd.DataFrame]:
    """Columns and labels of the context rows, and the rows to predict. Raises ValueError where they
    do not fit together."""
    from openpfn.tables.load import read_table, require_columns

    train, test = read_table(options.train), read_table(options.test)
    require_columns(train, [options.target], options.train)
    labelled = train[options.target].notna().to_numpy()
    if not labelled.all():
        print(f"left out {int((~labelled).sum())} rows of {options.train} without {options.target}")
    train = train.loc[labelled]
    y = train[options.target]
    if y.nunique() < 2:
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
    return X, y.to_numpy(), test


def predictions(classes: Any, probabilities: Any, index: Any) -> pd.DataFrame:
    """One row per predicted row: the predicted class, and the probability of each class."""
    import pandas as pd

    table = pd.DataFrame(
        probabilities, columns=[f"probability of {c}" for c in classes], index=index
    )
    table.insert(0, "prediction", classes[probabilities.argmax(axis=1)])
    return table


def write(path: Path, table: pd.DataFrame) -> None:
    """Write `table` as CSV, atomically: no half-written file is ever at `path`."""
    with replacing(path) as unfinished:
        table.to_csv(unfinished, index=False, float_format="%.6f")


def score(y: pd.Series, probabilities: Any, classes: Any) -> str:
    """How good the predictions are, over the rows whose true class is known and was among the
    context's."""
    import numpy as np
    from sklearn.metrics import log_loss

    from openpfn.benchmark.metrics import one_vs_rest_auc

    known = y.isin(classes).to_numpy()
    n_known = int(known.sum())
    if n_known == 0:
        return f"no scores: column {y.name!r} holds none of the classes of the context"
    y, probabilities = y.loc[known], probabilities[known]
    accuracy = np.mean(classes[probabilities.argmax(axis=1)] == y.to_numpy())
    auc = one_vs_rest_auc(y, probabilities, classes)
    loss = log_loss(y, probabilities, labels=list(classes))
    left_out = (
        f", {len(known) - n_known} rows left out: class missing or not in the context"
        if n_known < len(known)
        else ""
    )
    return f"accuracy {accuracy:.4f}, AUC {auc:.4f}, log-loss {loss:.4f} ({n_known} rows{left_out})"


def shortened(names: Any, most: int = 12) -> str:
    """The names with commas; the number of those beyond `most`."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
