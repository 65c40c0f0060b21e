"""Checks that configurations share: `check_fields`, their values against the types of their fields,
and `check_least`."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PLAIN: dict[Any, tuple[Any, Any, str]] = {
    bool: (bool, bool, "True or False"),
    int: (Integral, int, "a whole number"),
    float: (Real, float, "a number"),
    str: (str | os.PathLike, os.fspath, "text"),
}
"""For each type of a field: the types of values it takes, the type it makes of them, and its name
in errors."""


def check_fields(config: Any) -> None:
    """Check the fields of a dataclass that hold numbers, truths, text or one of several words;
    fields of other types are left alone.

    Numbers of NumPy's become Python's, paths text. Raises ValueError for a word that is none of the
    field's, TypeError for a value of another type; either names the field, the value and what it
    must be.
    """
    for field in fields(config):
        types, words = _allowed(type(config), field.name)
        value = getattr(config, field.name)
        if types is None or any(
            value is word or (isinstance(value, str) and value == word) for word in words
        ):
            continue
        kind = next((kind for kind in types if _is_a(kind, value)), None)
        if kind is None:
            wanted = [*(PLAIN[kind][2] for kind in types), *map(repr, words)]
            last = wanted.pop()
            told = f"{', '.join(wanted)} or {last}" if wanted else last
            error = (
                ValueError
                if isinstance(value, str) and any(isinstance(word, str) for word in words)
                else TypeError
            )
            raise error(f"{field.name} is {value!r}, must be {told}.")
        if not isinstance(value, int | float | str):
            object.__setattr__(config, field.name, PLAIN[kind][1](value))


def check_least(config: Any, **least: float) -> None:
    """Raise ValueError, naming the field, where one of `config` is below its `least` value."""
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise ValueError(f"{name} is {getattr(config, name)}, must be at least {bound}.")


def _is_a(kind: Any, value: Any) -> bool:
    truth = isinstance(value, bool) or type(value).__name__ in (
        "bool",
        "bool_",
    )  # NumPy's is no bool
    return truth if kind is bool else isinstance(value, PLAIN[kind][0]) and not truth


@cache
def _hints(owner: type) -> dict[str, Any]:
    """The types of a class's fields, which take a while to evaluate."""
    return get_type_hints(owner)


@cache
def _allowed(owner: type, name: str) -> tuple[tuple[Any, ...] | None, tuple[Any, ...]]:
    """The plain types and the words that a field takes; None in place of the types where it takes
    anything else, too."""
    hint = _hints(owner)[name]
    types, words = [], []
    for part in get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,):
        if get_origin(part) is Literal:
            words += get_args(part)
        elif part is NoneType:
            words.append(None)
        elif part in PLAIN:
            types.append(part)
        else:
            return None, ()
    return tuple(types), tuple(sorted(words, key=lambda word: word is None))
