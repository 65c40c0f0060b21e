"""Find a mechanism, head or prior by name: a name is the class in the file of that name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

MOVED = {
    "openpfn.priors.bayesian": "openpfn.generators.bayesian",
    "openpfn.priors.dataset": "openpfn.generators.dataset",
    "openpfn.priors.function": "openpfn.generators.deterministic",
    "openpfn.priors.mixture_of_generators": "openpfn.generators.mixture",
    "openpfn.priors.program": "openpfn.generators.program",
    "openpfn.priors.unsupervised": "openpfn.generators.unsupervised",
    "openpfn.priors_io.distributions": "openpfn.generators.distributions",
    "openpfn.priors_io.dump": "openpfn.data.dump_reader",
    "openpfn.priors_io.tasks": "openpfn.scm.tasks",
}
"""Modules recorded as "module:Class" in dumps, checkpoints and run folders, and where they are."""


def names(folder: str) -> list[str]:
    """Return the names that `find` knows in the package `folder` ("attention", "heads",
    "priors")."""
    package = importlib.import_module(f"openpfn.{folder}")
    return sorted(
        m.name
        for m in pkgutil.iter_modules(package.__path__)
        if m.name != "base" and not m.name.startswith("_")
    )


def find(folder: str, name: Any, base: type) -> Any:
    """Return the subclass of `base` that `name` stands for.

    `name` is the name of a file in `folder` or one of the `aliases` of the class in it (in any
    case), a "module:Class" or "module:object" of the user's own, or already a class or an instance
    of `base`, which is returned as it is. Raises ValueError for an unknown name, listing the
    choices.
    """
    if isinstance(name, base) or (isinstance(name, type) and issubclass(name, base)):
        return name
    if not isinstance(name, str):
        raise TypeError(
            f"got {name!r}, a {type(name).__name__}; expected a name, 'module:Class' or a"
            f" {base.__name__}."
        )
    if ":" in name:
        return _from_path(name, base)
    known = names(folder)
    wanted = name.lower().replace("-", "_")
    if wanted in known:
        return class_in(folder, wanted, base)
    for candidate in known:
        found = class_in(folder, candidate, base)
        if wanted in getattr(found, "aliases", ()):
            return found
    raise ValueError(
        f"unknown {folder} name {name!r}. Choose one of {', '.join(known)}, or give 'module:Class'."
    )


def settled_name(folder: str, name: str, base: type) -> str:
    """The one name of what `name` stands for: its file in `folder`, also for an alias, another case
    or the "module:Class" of a class in there; a class of the user's own keeps its name."""
    found = find(folder, name, base)
    kind = found if isinstance(found, type) else type(found)
    package, _, file = kind.__module__.rpartition(".")
    ours = package == f"openpfn.{folder}" and file in names(folder)
    return file if ours and class_in(folder, file, base) is found else name


def check_options(
    owner: type, known: Mapping[str, int | float | str], options: Mapping[str, int | float | str]
) -> None:
    """Check `options` of the class `owner` against the `known` ones with their defaults.

    Raises ValueError, listing the options that there are, for one that is not known or a value of
    another type.
    """
    for name, value in options.items():
        if name not in known:
            choices = (
                ", ".join(f"{option} (default {default!r})" for option, default in known.items())
                or "none"
            )
            raise ValueError(f"{owner.__name__} has no option {name!r}. Its options: {choices}.")
        kind = type(known[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(
                f"option {name} of {owner.__name__} is {value!r}, a {type(value).__name__};"
                f" expected {kind.__name__}."
            )


def class_in(folder: str, name: str, base: type) -> Any:
    """Return the one public subclass of `base` that the file `folder/name.py` defines."""
    module = importlib.import_module(f"openpfn.{folder}.{name}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    found = [
        value for value in own if issubclass(value, base) and not value.__name__.startswith("_")
    ]
    assert len(found) == 1, (
        f"{module.__name__} must define exactly one {base.__name__}, has {len(found)}"
    )
    return found[0]


def current_path(path: str) -> str:
    """Return "module:Class" with the name that its module has today.

    >>> current_path("openpfn.priors.function:DeterministicGenerator")
    'openpfn.generators.deterministic:DeterministicGenerator'
    """
    module, colon, name = path.partition(":")
    return MOVED.get(module, module) + colon + name


def _from_path(path: str, base: type) -> Any:
    module_name, _, class_name = current_path(path).partition(":")
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not (isinstance(found, base) or (isinstance(found, type) and issubclass(found, base))):
        raise ValueError(
            f"{path!r} is not a {base.__name__}. Give 'module:Class' where Class derives from it,"
            " or an instance of one."
        )
    return found
