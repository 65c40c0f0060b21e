"""Measure quality on real tables beside peers, compare mechanisms of attention, time everything,
hold networks against exact posteriors, probe them for blind spots.

tables measures methods on real tables, text on those with free text, report shows results of tables
as a page again, attention trains networks that differ in their attention alone, speed times
everything, bayes trains sequence networks whose exact answer is known, beliefs measures predictive
resampling, edge measures C libraries, probes measures methods on tables of known structure, scale
measures several cores against one, cost predicts what training on many GPUs takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from openpfn.cli import run_subcommand

USAGE = (
    "usage: openpfn benchmark {names} [OPTIONS]; openpfn benchmark NAME --help tells its options."
)


def main(argv: list[str]) -> int | None:
    """Run the subcommand that `argv` begins with."""
    return run_subcommand(
        argv, SUBCOMMANDS, f"{__doc__}\n{USAGE.format(names='{' + ','.join(SUBCOMMANDS) + '}')}"
    )


def tables(argv: list[str]) -> int:
    """Measure methods on real tables; OUT/results.csv gets a row per cell, OUT/report.html says
    what they mean."""
    import tyro

    from openpfn.benchmark.tables.config import TablesConfig

    config = tyro.cli(
        TablesConfig, args=argv, prog="openpfn benchmark tables", description=tables.__doc__
    )
    from rich.console import Console

    from openpfn.benchmark.tables import results
    from openpfn.benchmark.tables.report.page import write_report
    from openpfn.benchmark.tables.report.summary import summary_tables
    from openpfn.benchmark.tables.run import run

    baseline = (
        None if config.baseline is None else results.read(config.baseline)
    )  # a wrong path is told before hours of work
    rows = run(config)
    Console(width=None if sys.stdout.isatty() else 120).print(*summary_tables(rows), sep="\n")
    page = write_report(results.read(config.out), config.out / "report.html", baseline=baseline)
    print(f"results: {config.out / results.NAME}\nreport:  {page}")
    return 0


def text(argv: list[str]) -> int:
    """Measure methods on tables with free text, beside peers that read it; OUT/report.md says
    whether ours are ahead."""
    import tyro

    from openpfn.benchmark.text.config import TextConfig

    config = tyro.cli(
        TextConfig, args=argv, prog="openpfn benchmark text", description=text.__doc__
    )
    from openpfn.benchmark.tables import results
    from openpfn.benchmark.tables.report.page import write_report as write_page
    from openpfn.benchmark.tables.run import run
    from openpfn.benchmark.text.report import report_lines, write_report

    baseline = None if config.baseline is None else results.read(config.baseline)
    rows = run(config)
    print("\n".join(report_lines(rows)))
    write_page(results.read(config.out), config.out / "report.html", baseline=baseline)
    page = write_report(rows, config.out / "report.md")
    print(f"results: {config.out / results.NAME}\nreport:  {page}")
    return 0


def report(argv: list[str]) -> int:
    """Write the report of results once more, perhaps against a baseline."""
    import tyro

    from openpfn.benchmark.tables.config import ReportConfig

    config = tyro.cli(
        ReportConfig, args=argv, prog="openpfn benchmark report", description=report.__doc__
    )
    from openpfn.benchmark.tables import results
    from openpfn.benchmark.tables.report.page import write_report

    rows = results.read(config.results)
    baseline = None if config.baseline is None else results.read(config.baseline)
    folder = config.results if config.results.is_dir() else config.results.parent
    print(
        write_report(
            rows, config.out or folder / "report.html", baseline=baseline, context=config.context
        )
    )
    return 0


def attention(argv: list[str]) -> int:
    """Train one network per mechanism of attention and seed on the same tasks; OUT/report.html says
    what each is worth and costs."""
    import tyro

    from openpfn.benchmark.attention.config import AttentionConfig

    config = tyro.cli(
        AttentionConfig,
        args=argv,
        prog="openpfn benchmark attention",
        description=attention.__doc__,
    )
    config = replace(
        config,
        mechanisms=tuple(name for word in config.mechanisms for name in word.split(",") if name),
    )
    from openpfn.benchmark.attention.run import compare

    failed = compare(config)
    for name, reason in failed.items():
        print(f"{name} failed: {reason}", file=sys.stderr)
    print(
        f"results: {config.out / 'results.csv'}, {config.out / 'summary.csv'}\nreport: "
        f" {config.out / 'report.html'}"
    )
    return 1 if failed else 0


def speed(argv: list[str]) -> int:
    """Time priors, training steps, fitting and predicting, beside peers."""
    import tyro

    from openpfn.benchmark.speed.config import SpeedConfig

    config = tyro.cli(
        SpeedConfig, args=argv, prog="openpfn benchmark speed", description=speed.__doc__
    )
    from openpfn.benchmark.speed.run import run

    run(config)
    return 0


def bayes(argv: list[str]) -> int:
    """Train sequence networks within a budget of processor time and tell their gap to the exact
    posterior; time drawing and generation."""
    import tyro

    from openpfn.benchmark.bayes.config import BayesConfig

    config = tyro.cli(
        BayesConfig, args=argv, prog="openpfn benchmark bayes", description=bayes.__doc__
    )
    from openpfn.benchmark.bayes.run import run

    run(config)
    return 0


def beliefs(argv: list[str]) -> int:
    """Time predictive resampling, hold it against closed forms, and measure how often its
    intervals are right."""
    import tyro

    from openpfn.benchmark.beliefs.config import BeliefsConfig

    config = tyro.cli(
        BeliefsConfig, args=argv, prog="openpfn benchmark beliefs", description=beliefs.__doc__
    )
    from openpfn.benchmark.beliefs.run import run

    run(config)
    return 0


def edge(argv: list[str]) -> int:
    """Measure networks' C libraries on real tables, beside methods that fit on a device and methods
    of equal bytes that are trained on a computer; tell their flash, memory and instructions."""
    import tyro

    from openpfn.benchmark.edge.config import RENAMED, EdgeConfig

    name = "openpfn benchmark edge"
    words = [
        RENAMED.get(word, word)
        for arg in argv
        for word in (arg.split("=", 1) if arg.startswith("--") else [arg])
    ]
    config = tyro.cli(EdgeConfig, args=words, prog=name, description=edge.__doc__)
    from openpfn.benchmark.edge.run import run

    run(config)
    return 0


def probes(argv: list[str]) -> int:
    """Measure methods on a grid of tables of known structure; OUT/report.md and a map say what a
    network is blind to."""
    import tyro

    from openpfn.benchmark.probes.config import ProbesConfig

    config = tyro.cli(
        ProbesConfig, args=argv, prog="openpfn benchmark probes", description=probes.__doc__
    )
    from openpfn.benchmark.probes.report import write_reports
    from openpfn.benchmark.probes.run import run

    write_reports(run(config), config)
    print(f"results: {config.out / 'results.csv'}\nreport:  {config.out / 'report.md'}")
    return 0


def scale(argv: list[str]) -> int:
    """Measure how generation, training, reading and fitting scale on the cores of this machine, and
    what is lost when processes are killed."""
    import tyro

    from openpfn.benchmark.scale.config import ScaleConfig

    config = tyro.cli(
        ScaleConfig, args=argv, prog="openpfn benchmark scale", description=scale.__doc__
    )
    from openpfn.benchmark.scale.run import run

    run(config)
    return 0


def cost(argv: list[str]) -> int:
    """Predict speed, memory and cost of training a network on many GPUs, by arithmetic from what is
    counted here and the options, which are its assumptions."""
    import tyro

    from openpfn.benchmark.scale.config import CostConfig

    config = tyro.cli(
        CostConfig, args=argv, prog="openpfn benchmark cost", description=cost.__doc__
    )
    from openpfn.benchmark.scale.cost import count, lines, predicted

    counted = count(config)
    print("\n".join(lines(config, counted, predicted(config, counted))))
    return 0


SUBCOMMANDS: dict[str, Callable[[list[str]], int | None]] = {
    "tables": tables,
    "text": text,
    "report": report,
    "attention": attention,
    "speed": speed,
    "bayes": bayes,
    "beliefs": beliefs,
    "edge": edge,
    "probes": probes,
    "scale": scale,
    "cost": cost,
}
"""Name of each subcommand and the function that runs it."""
