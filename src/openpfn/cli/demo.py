"""See how our networks predict real tables, beside logistic regression, a random forest and nearest
neighbours; and a number, where they predict numbers, too."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class DemoOptions:
    """See how our networks predict real tables, beside logistic regression, a random forest and
    nearest neighbours.

    The tables come with scikit-learn; half of the rows, but at most 150, are context. Networks that
    predict numbers, too, are shown on another one, in a second picture.
    """

    out: Path = Path("openpfn-demo.png")
    """The picture (PNG, SVG or PDF); that of numbers has -numbers at the end of its name."""
    splits: int = 5
    """How many times each table is split into context and query rows."""
    checkpoint: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A checkpoint's path or shipped name; may be given several times. All shipped ones by
    default."""

    def __post_init__(self) -> None:
        if self.splits < 1:
            raise ValueError(f"splits is {self.splits}, must be at least 1.")
        if self.out.suffix.lower() not in (".png", ".svg", ".pdf"):
            raise ValueError(f"out is {self.out}, must end in .png, .svg or .pdf.")


def main(argv: list[str]) -> int:
    """Evaluate, print the table, draw the picture."""
    options = tyro.cli(DemoOptions, args=argv, prog="openpfn demo")
    from rich.console import Console

    from openpfn.benchmark import demo, demo_numbers

    ours = demo.our_methods(options.checkpoint)
    methods = ours | demo.other_methods()
    console = Console()
    warnings.filterwarnings(
        "ignore", "X has .* trained on at most"
    )  # each split would say it again: a footnote says it once
    options.out.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    results = demo.compare(methods, options.splits)
    console.print(demo.result_table(results, list(methods), options.splits))
    for name, classifier in ours.items():
        console.print(demo.footnote(name, classifier), end="", highlight=False, soft_wrap=True)
    demo.draw(results, methods, set(ours)).savefig(options.out)
    regressors = demo_numbers.our_regressors(ours)
    if regressors:
        compared = regressors | demo_numbers.other_regressors()
        found = demo_numbers.evaluate(compared, options.splits)
        console.print(demo_numbers.result_table(found, list(compared), options.splits))
        name = next(iter(regressors))
        of_numbers = options.out.with_stem(f"{options.out.stem}-numbers")
        demo_numbers.draw(regressors[name], name).savefig(of_numbers)
        console.print(f"picture of numbers in {of_numbers}", highlight=False)
    console.print(
        f"picture in {options.out}; all in {time.perf_counter() - started:.0f} s", highlight=False
    )
    console.print("your own table, in a browser tab: openpfn playground", highlight=False)
    return 0
