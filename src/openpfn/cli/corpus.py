"""Build, describe, import or export a corpus of real tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from openpfn.cli import run_subcommand

USAGE = """usage: openpfn corpus {build,info,import,export} [OPTIONS]

  build   make a corpus out of a specification: files, or data sets of OpenML
  info    say what a corpus holds: rows, tasks, licences, families
  import  add the tables of an HDF5 file of raw strings to a corpus
  export  write a corpus as an HDF5 file of raw strings

openpfn corpus build --help tells the options of build."""


@dataclass(frozen=True)
class Build:
    """Make the tables that a specification lists, those that are not there yet."""

    specification: Annotated[Path | None, tyro.conf.Positional] = None
    """YAML or JSON file with `tables`, or the index.json of a folder of tables; without one, the
    list of OpenML's data sets that comes along."""
    out: Path = Path("corpus")
    """Folder of the corpus."""
    licence_class: tuple[str, ...] = ()
    """Make only tables with one of these classes of licences."""
    exclude_family: tuple[str, ...] = ()
    """Leave tables of these families out."""


@dataclass(frozen=True)
class Info:
    """Say what a corpus holds."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the corpus."""


@dataclass(frozen=True)
class Import:
    """Add the tables of an HDF5 file of raw strings to a corpus."""

    file: Annotated[Path, tyro.conf.Positional]
    """HDF5 file."""
    out: Path = Path("corpus")
    """Folder of the corpus, which is made where there is none."""
    licence: str = "not stated"
    """Licence of tables that state none."""


@dataclass(frozen=True)
class Export:
    """Write the tables of a corpus as an HDF5 file of raw strings."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder of the corpus."""
    out: Path = Path("corpus.h5")
    """HDF5 file, which is replaced where it exists."""
    template: Literal["v1", "v1.1"] = "v1"
    """Sentences of the cells."""
    tables: tuple[str, ...] = ()
    """Tables to write; all by default."""


def main(argv: list[str]) -> int | None:
    """Run `build`, `info`, `import` or `export`."""
    actions = {"build": (Build, build), "info": (Info, info), "import": (Import, import_)}
    actions |= {"export": (Export, export)}
    return run_subcommand(
        argv, {name: _command(name, *action) for name, action in actions.items()}, USAGE
    )


def _command(name: str, options: type, action: Any) -> Any:
    return lambda argv: action(tyro.cli(options, args=argv, prog=f"openpfn corpus {name}"))


def build(options: Build) -> None:
    """Make the corpus, and say what it holds."""
    from openpfn.text.corpus.build import build_corpus

    corpus = build_corpus(
        options.specification,
        options.out,
        licence_classes=options.licence_class,
        exclude_families=options.exclude_family,
    )
    print(f"{options.out}: {len(corpus)} tables")


def info(options: Info) -> None:
    """Print a line for each table, and the sums."""
    from openpfn.text.corpus import Corpus

    corpus = Corpus(options.folder)
    for one in corpus:
        print(
            f"{one.name}: {one.task} of {one.target}, {one.n_rows} rows, {one.n_columns} columns,"
            f" family {one.family}, {one.split}, licence: {one.licence}"
        )
    tasks = Counter(one.task for one in corpus)
    print(
        f"{len(corpus)} tables ({', '.join(f'{n} of {task}' for task, n in sorted(tasks.items()))})"
        f" of {len(corpus.families)} families, {sum(one.n_rows for one in corpus)} rows"
    )


def import_(options: Import) -> None:
    """Add the tables."""
    from openpfn.text.corpus.hdf5 import import_hdf5

    import_hdf5(options.file, options.out, licence=options.licence)


def export(options: Export) -> None:
    """Write the file."""
    from openpfn.text.corpus import Corpus
    from openpfn.text.corpus.hdf5 import export_hdf5

    export_hdf5(
        Corpus(options.folder), options.out, template=options.template, names=options.tables
    )
