"""Measure quality on real tables beside peers, and speed.

`openpfn benchmark tables` measures, `openpfn benchmark report` shows results again.
"""

from __future__ import annotations

import sys

USAGE = "usage: openpfn benchmark {tables,report} [OPTIONS]; openpfn benchmark SUBCOMMAND --help tells its options."


def main(argv: list[str]) -> int | None:
    """Run the subcommand that `argv` begins with."""
    name = argv[0] if argv else ""
    if name in ("-h", "--help", ""):
        print(f"{__doc__}\n{USAGE}")
        return 0
    if name not in SUBCOMMANDS:
        raise ValueError(f"unknown subcommand {name!r}. Choose one of {', '.join(SUBCOMMANDS)}.")
    return SUBCOMMANDS[name](argv[1:])


def tables(argv: list[str]) -> int:
    """Measure methods on real tables."""
    import tyro

    from openpfn.benchmark.config import TablesConfig

    config = tyro.cli(TablesConfig, args=argv, prog="openpfn benchmark tables", description=tables.__doc__)
    from openpfn.benchmark.run import run
    from openpfn.benchmark.summary import summary_tables

    if "" not in sys.path:
        sys.path.insert(0, "")    # module:Class of the user's own folder
    rows = run(config)
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(*summary_tables(rows), sep="\n")
    return 0


SUBCOMMANDS = {"tables": tables}
"""Name of each subcommand and the function that runs it."""
