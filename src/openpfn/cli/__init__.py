"""The command line: one file in this folder is one command, found by its name and loaded only when
it is called."""

from __future__ import annotations

import ast
import contextlib
import difflib
import importlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from openpfn import __version__

DISTRIBUTIONS = {"yaml": "pyyaml", "sklearn": "scikit-learn"}
"""Packages that are not called as the module that they bring."""
USAGE = "usage: openpfn COMMAND [OPTIONS]"


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 wrong input, 130 interrupted.

    Wrong input (ValueError, or an OSError such as a missing file) is told in one line on stderr,
    and so is a package that is not installed, with the extra that brings it; the environment
    variable OPENPFN_TRACEBACK=1 shows the whole traceback instead.
    """
    arguments = sys.argv[1:] if argv is None else argv
    if isinstance(sys.stdout, io.TextIOWrapper):  # names that a console lacks the letters for
        sys.stdout.reconfigure(errors="replace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        print(f"openpfn {__version__}")
        return 0
    name = arguments[0].replace("-", "_")
    if name not in _files():
        return _complain(_unknown(arguments[0]))
    return _run(name, arguments[1:])


def run_subcommand(
    argv: list[str], subcommands: Mapping[str, Callable[[list[str]], int | None]], usage: str
) -> int | None:
    """Run the subcommand that `argv` begins with, or print `usage`. Raises ValueError for an
    unknown one, listing the choices."""
    name = argv[0] if argv else ""
    if name in ("-h", "--help", ""):
        print(usage)
        return 0
    if name not in subcommands:
        raise ValueError(f"unknown subcommand {name!r}. Choose one of {', '.join(subcommands)}.")
    return subcommands[name](argv[1:])


def commands() -> dict[str, str]:
    """The commands, each with the first line of its file's docstring, read without importing the
    file."""
    return {name.replace("_", "-"): _first_docstring_line(path) for name, path in _files().items()}


def help_text() -> str:
    """What `openpfn --help` prints."""
    lines = commands()
    width = max(map(len, lines), default=0)
    listing = "\n".join(f"  {name:<{width}}  {line}" for name, line in lines.items())
    return (
        f"{USAGE}\n\n"
        "Prior-fitted networks: write a prior, train a network on it, predict on real tables.\n\n"
        f"commands:\n{listing}\n\n"
        "openpfn COMMAND --help tells a command's options; openpfn --version tells the version."
    )


def _files() -> dict[str, Path]:
    return {
        path.stem: path
        for path in sorted(Path(__file__).parent.glob("*.py"))
        if not path.stem.startswith("_")
    }


def _first_docstring_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def _unknown(name: str) -> str:
    if name.startswith("-"):
        return (
            f"unknown option {name!r} before a command. {USAGE}; openpfn --help lists the commands."
        )
    close = difflib.get_close_matches(name, commands(), n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Choose one of {', '.join(commands())}."
    return f"unknown command {name!r}. {hint}"


def _run(name: str, arguments: list[str]) -> int:
    if "" not in sys.path:
        sys.path.append(
            ""
        )  # so that "module:Class" finds a file in the folder where the command is called
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            command = importlib.import_module(f"openpfn.cli.{name}")
            return command.main(arguments) or 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "openpfn":
            raise  # our own mistake
        if os.environ.get("OPENPFN_TRACEBACK") == "1":
            raise
        return _complain(_one_line(error))


def _one_line(error: Exception) -> str:
    says_how = "pip install" in str(error)
    if isinstance(error, ModuleNotFoundError) and error.name and not says_how:
        return _how_to_install(error.name.partition(".")[0])
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return " ".join(str(error).split()) or type(error).__name__


def _how_to_install(module: str) -> str:
    """Return one line that says which package is missing, and the extra of openpfn that has it."""
    package = DISTRIBUTIONS.get(module, module.replace("_", "-"))
    extras = []
    with contextlib.suppress(PackageNotFoundError):  # run from a folder, not installed
        for line in requires("openpfn") or []:
            name = re.match(r"[\w.-]+", line)
            extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
            if name and extra and name[0].replace("_", "-").lower() == package.lower():
                extras.append(extra[1])
    chosen = next((extra for extra in extras if extra != "dev"), None)
    what = f"'openpfn[{chosen}]'" if chosen else package
    return f"this needs the package {package}, which is not installed: pip install {what}"


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, *_where: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
