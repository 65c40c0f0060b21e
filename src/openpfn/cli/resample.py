"""Tell the martingale posterior of any statistic of a table: what it would be, were the table
complete."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from openpfn.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SETTINGS, SUMMARY, DRAWS, PICTURE = "settings.json", "posterior.csv", "draws.csv", "posterior.png"


@dataclass(frozen=True)
class ResampleOptions:
    """Tell the martingale posterior of a statistic of a table: its rows are completed many times by
    what the network predicts, and the statistic is taken of all.

    The folder OUT gets posterior.csv (mean and interval), draws.csv and posterior.png. A call that
    was interrupted goes on where it stood when it is given again.
    """

    data: str
    """The table: a CSV, TSV or parquet file, a bundled table such as iris, or openml:data/ID."""
    target: str
    """The column that is predicted for new rows."""
    functional: str = "mean"
    """mean, median, quantile:LEVEL or ols of the target (ols: on the other columns, which must be
    numbers), or "module:Class" of a scikit-learn estimator or "module:function" of (x, y)."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """Whether the target is a class or a number; auto decides as `openpfn predict` does."""
    positive: str | None = None
    """The class that counts as 1, all others as 0: mean is then its share."""
    checkpoint: str = "auto"
    """A checkpoint's path or shipped name; auto is nano."""
    n_samples: int = 400
    """Times that the table is completed."""
    horizon: int | None = None
    """Rows that are drawn each time; as many as four times the table's by default."""
    method: Literal["rollout", "copula"] = "copula"
    """copula asks the network once and goes on with updates by a Gaussian copula, in seconds;
    rollout asks it about every row."""
    refit: Literal["each", "frozen"] = "frozen"
    """Of rollouts: read all rows anew for each new one (exact, slow), or keep what was read
    (approximate; the error is told)."""
    x_sampler: Literal["bootstrap", "empirical"] = "bootstrap"
    """Where the other columns of new rows come from: the rows so far, or the given ones alone."""
    correlation: float = 0.5
    """Of the copula: how closely updates follow single rows."""
    level: float = 0.9
    """Share of the draws within the interval that is told."""
    n_estimators: int = 1
    """Views of the table whose answers are averaged."""
    device: str = "auto"
    """auto (cuda, then mps, then cpu) or a torch device."""
    seed: int = 0
    """Decides all draws."""
    out: Path = Path("resampled")
    """Folder of the results."""
    overwrite: bool = False
    """Replace what another call with other options left in the folder."""


def main(argv: list[str]) -> int:
    """Read the table, resample block by block, write the results."""
    options = tyro.cli(ResampleOptions, args=argv, prog="openpfn resample")
    if not 0 < options.level < 1:
        raise ValueError(f"--level is {options.level}, must lie between 0 and 1, such as 0.9.")
    X, y, kind = read(options)
    work = prepare(options, X, y, kind)
    claim(options)
    blocks = run(options, work)
    posterior = work.posterior(blocks)
    write(options, posterior)
    print(posterior_lines(options, posterior))
    return 0


def read(options: ResampleOptions) -> tuple[pd.DataFrame, np.ndarray, str]:
    """Return the columns, the target, and whether it is for classification or regression. Raises
    ValueError for a table that has nothing to predict from, or too little to learn."""
    import numpy as np

    from openpfn.bayes.functionals import BUILT_IN
    from openpfn.tables.load import load
    from openpfn.tables.target import read_target

    table = load(options.data, options.target)
    X, y = table.X, table.y
    if len(X) < 2 or X.shape[1] == 0:
        raise ValueError(
            f"{options.data} has {len(X)} rows with a {options.target!r} and {X.shape[1]} other"
            " columns; resampling needs 2 rows and 1 column at least."
        )
    if options.positive is not None:
        words = y.astype(str)
        if options.positive not in set(words):
            values = ", ".join(sorted(set(words))[:8])
            raise ValueError(
                f"--positive is {options.positive!r}, but {options.target!r} holds: {values}."
            )
        return X, (words == options.positive).to_numpy().astype(int), "classification"
    target = read_target(y)
    task = target.task if options.task == "auto" else options.task
    numbers = target.numbers(y)
    if task == "regression" and bool(np.isnan(numbers).any()):
        raise ValueError(
            f"column {options.target!r} holds {target.reason}: not all are numbers. Use --task"
            " classification, and --positive CLASS for the share of one."
        )
    holds_words = bool(np.isnan(numbers).any())
    if holds_words and options.functional.partition(":")[0] in BUILT_IN:
        values = ", ".join(sorted(set(y.astype(str)))[:8])
        raise ValueError(
            f"column {options.target!r} holds words ({values}), which have no {options.functional}."
            " Ask for the share of one with --positive CLASS."
        )
    print(f"{task}: column {options.target!r} holds {target.reason}; {len(X)} rows")
    return X, y.to_numpy() if holds_words else numbers, task


def prepare(options: ResampleOptions, X: pd.DataFrame, y: np.ndarray, kind: str) -> Any:
    """Return the checked work, which is done block by block."""
    import torch

    from openpfn.bayes.resampling import prepared
    from openpfn.estimators import PFNClassifier, PFNRegressor

    estimator = PFNClassifier if kind == "classification" else PFNRegressor
    model = estimator(
        options.checkpoint,
        n_estimators=options.n_estimators,
        device=options.device,
        random_state=options.seed,
    )
    return prepared(
        model,
        X,
        y,
        functional_named(options.functional),
        n_samples=options.n_samples,
        horizon=4 * len(X) if options.horizon is None else options.horizon,
        x_sampler=options.x_sampler,
        method=options.method,
        refit=options.refit,
        correlation=options.correlation,
        generator=torch.Generator().manual_seed(options.seed),
    )


def functional_named(name: str) -> Any:
    """Return what the command line means: a built-in name stays, "module:Class" becomes an
    estimator and "module:function" the function."""
    if ":" not in name or name.startswith("quantile:"):
        return name
    import importlib

    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"--functional {name} cannot be imported: {error}.") from None
    return found() if isinstance(found, type) else found


def claim(options: ResampleOptions) -> None:
    """Make the folder this call's. Raises ValueError where another call with other options left
    something in it."""
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(options).items()
        if name not in ("out", "overwrite", "level", "device")
    }
    if Path(options.data).is_file():
        status = Path(options.data).stat()
        settings |= {"data_bytes": status.st_size, "data_changed": status.st_mtime_ns}
    path = options.out / SETTINGS
    if path.is_file() and not options.overwrite:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(k for k in settings | before if settings.get(k) != before.get(k))
        if changed:
            raise ValueError(
                f"{options.out} holds draws made with other options ({', '.join(changed)}). Choose"
                " another --out, or replace them with --overwrite."
            )
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for old in options.out.glob("block-*.npy"):
        old.unlink()
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(settings, indent=1), encoding="utf-8")


def run(options: ResampleOptions, work: Any) -> list[Any]:
    """Do the blocks that are not done, each into a file of its own; a bar shows how far it is."""
    import numpy as np
    from rich.progress import Progress

    from openpfn.bayes.rollouts import Block

    blocks = []
    with Progress(transient=True) as bar:
        rows = bar.add_task("rows drawn", total=work.n_rollouts * work.horizon)
        for index in range(work.n_blocks):
            path = options.out / f"block-{index:04d}.npy"
            if path.is_file():
                blocks.append(Block(np.load(path)))
                continue
            block = work.block(index, lambda done, _: bar.update(rows, completed=done))
            with replacing(path) as unfinished, unfinished.open("wb") as file:
                np.save(file, block.trace)
            blocks.append(block)
    return blocks


def write(options: ResampleOptions, posterior: Any) -> None:
    """Write the summary, the draws and the picture."""
    import pandas as pd

    low, high = posterior.interval(options.level)
    summary = pd.DataFrame(
        {
            "name": posterior.names,
            "mean": posterior.mean,
            "std": posterior.std,
            "low": low,
            "high": high,
            "level": options.level,
            "still_moving": posterior.still_moving(),
        }
    )
    for name, table in (
        (SUMMARY, summary),
        (DRAWS, pd.DataFrame(posterior.samples, columns=posterior.names)),
    ):
        with replacing(options.out / name) as unfinished:
            table.to_csv(unfinished, index=False, float_format="%.8g")
    with replacing(options.out / PICTURE) as unfinished:
        posterior.plot(options.level).savefig(unfinished, format="png")


def posterior_lines(options: ResampleOptions, posterior: Any) -> str:
    """What is told in the end: a line for each number, and what to know about the draws."""
    low, high = posterior.interval(options.level)
    share = f"{100 * options.level:g}%"
    lines = [
        f"{name}: {mean:.4g}, {share} from {a:.4g} to {b:.4g}"
        for name, mean, a, b in zip(posterior.names, posterior.mean, low, high, strict=True)
    ]
    if posterior.approximation:
        error = posterior.approximation_error
        lines.append(
            f"approximate: {posterior.approximation}"
            + ("" if error is None else f"; probabilities off by {error:.3f} on average")
        )
    if float(abs(posterior.still_moving()).max()) > 0.1:
        lines.append("the spread still moves: raise --horizon (see the trace in the picture)")
    lines.append(f"results: {options.out / SUMMARY}, {options.out / PICTURE}")
    return "\n".join(lines)
