"""Tell which columns move predictions, by the Shapley values of each cell of a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from openpfn.cli._tables import Report, check_output, check_table_output, records, require_out

if TYPE_CHECKING:
    import pandas as pd

PICTURES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class ExplainOptions:
    """Tell which columns move predictions: the Shapley value of each cell of TEST. TRAIN's rows are
    the context, and a column that is left out is missing.

    The values of a row and its base value add up to what is predicted: a number, or the probability
    of the row's class.
    """

    train: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TRAIN")]
    """The table whose rows are the context."""
    test: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="TEST")]
    """The table whose rows are explained: the same columns, with or without the target."""
    target: str
    """The column to predict."""
    out: Path | None = None
    """Where to write the values: a row per row of TEST, with prediction, explained (the number or
    probability), base value, and a column per column. Needed unless --json is given."""
    figure: Path | None = None
    """Where to draw the mean size per column: a .png, .svg or .pdf file."""
    rows: int | None = 100
    """Explain the first rows of TEST alone; None for all."""
    label: str | None = None
    """The class whose probability is explained; by default the one that is predicted for a row."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a number; auto decides as `openpfn predict` does."""
    n_coalitions: int = 256
    """Sets of columns that are asked per row: up to 8 columns the values are then exact."""
    force: bool = False
    """Overwrite the files at --out and --figure if there are any."""
    json: bool = False
    """Print one JSON object and nothing else; it holds the values where there is no --out."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_estimators: int = 4
    """Views of the table whose answers are averaged."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides the views, and which sets are drawn."""


def main(argv: list[str]) -> int:
    """Read both tables, explain, write the files."""
    options = tyro.cli(ExplainOptions, args=argv, prog="openpfn explain")
    require_out(options.out, options.json)
    if options.rows is not None and options.rows < 1:
        raise ValueError(f"--rows is {options.rows}, must be at least 1, or None for all.")
    inputs = (options.train, options.test)
    if options.out is not None:
        check_table_output(options.out, inputs, options.force)
    if options.figure is not None:
        check_output(options.figure, inputs, options.force, "--figure")
        if options.figure.suffix.lower() not in PICTURES:
            raise ValueError(f"--figure {options.figure} is none of {', '.join(PICTURES)}.")
    from openpfn.device import pick_device
    from openpfn.estimators.inspection.explainer import PFNExplainer
    from openpfn.tables.write_file import write_table

    pick_device(options.device)
    report = Report(options.json)
    model, rows = fitted(options, report)
    explainer = PFNExplainer(model, n_coalitions=options.n_coalitions, random_state=options.seed)
    table = explained(options, model, explainer, rows)
    sizes = table[list(rows.columns)].abs().mean().sort_values(ascending=False, kind="stable")
    unit = "" if hasattr(model, "classes_") else f", in units of {options.target}"
    report.tell(
        f"{len(table)} rows explained. Mean size of the Shapley values{unit}:",
        n_rows=len(table),
        importance=sizes.to_dict(),
    )
    width = max(len(str(name)) for name in sizes.index)
    for name, size in sizes.items():
        report.tell(f"  {name!s:<{width}}  {size:.4g}")
    if options.figure is not None:
        draw(options.figure, sizes)
        report.tell(f"the picture is in {options.figure}", figure=str(options.figure))
    if options.out is None:
        report.facts["rows"] = records(table)
    else:
        write_table(options.out, table)
        report.tell(f"{len(table)} rows of values in {options.out}", out=str(options.out))
    report.finish()
    return 0


def fitted(options: ExplainOptions, report: Report) -> tuple[Any, pd.DataFrame]:
    """Return the estimator that has read TRAIN, and the rows to explain."""
    import numpy as np

    from openpfn.cli.predict import read_tables
    from openpfn.estimators import PFNClassifier, PFNRegressor
    from openpfn.tables.target import read_target

    X, y, test = read_tables(options, report)
    found = read_target(y)
    task = found.task if options.task == "auto" else options.task
    report.facts |= {"task": task, "target": options.target}
    kind = PFNClassifier if task == "classification" else PFNRegressor
    estimator = kind(
        options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
    )
    targets = y.to_numpy() if task == "classification" else found.numbers(y)
    read = np.ones(len(X), bool) if task == "classification" else ~np.isnan(targets)
    if not read.any():
        raise ValueError(
            f"column {options.target!r} of {options.train} holds {found.reason}, and no numbers."
            " Use --task classification."
        )
    report.tell(f"{task} of {options.target!r}, {int(read.sum())} context rows", n_context=len(X))
    rows = test[X.columns].iloc[: options.rows].reset_index(drop=True)
    return estimator.fit(X.loc[read], targets[read]), rows


def explained(
    options: ExplainOptions, model: Any, explainer: Any, rows: pd.DataFrame
) -> pd.DataFrame:
    """Return prediction, base value and Shapley values of each row."""
    import numpy as np
    import pandas as pd

    values, base = explainer.values_and_base(rows)
    answer = base + values.sum(axis=1)
    named: dict[str, Any] = {"prediction": answer}
    if hasattr(model, "classes_"):
        names = [str(c) for c in model.classes_]
        if options.label is not None and options.label not in names:
            raise ValueError(
                f"--label is {options.label!r}, but the classes are {', '.join(names)}."
            )
        best = answer.argmax(axis=1)
        which = best if options.label is None else np.full(len(rows), names.index(options.label))
        each = np.arange(len(rows))
        values, base, answer = values[each, :, which], base[each, which], answer[each, which]
        named = {"prediction": [names[i] for i in best], "class": [names[i] for i in which]}
    head = pd.DataFrame(named | {"explained": answer, "base value": base})
    taken = [str(name) for name in head.columns if name in rows.columns]
    head = head.rename(columns={name: f"{name} (of the row)" for name in taken})
    return pd.concat([head, pd.DataFrame(values, columns=rows.columns)], axis=1)


def draw(path: Path, sizes: pd.Series) -> None:
    """Draw the mean sizes, whole or not at all."""
    from openpfn.files import replacing
    from openpfn.plots.importance import importance

    label = "mean size of Shapley values"
    axes = importance(sizes.to_numpy(), list(sizes.index), x_label=label)
    with replacing(path) as unfinished:
        kind = path.suffix.lower().removeprefix(".")
        figure: Any = axes.get_figure()
        figure.savefig(unfinished, format=kind, dpi=130)
