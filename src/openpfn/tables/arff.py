"""Read a file in Weka's ARFF, dense or sparse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

_QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_ATTRIBUTE = re.compile(rf"@attribute\s+({_QUOTED}|[^\s{{]+)\s*(.*)", re.I)
_FIELD = re.compile(rf"\s*({_QUOTED}|[^,]*?)\s*(?:,|$)")
_SPARSE = re.compile(rf"\s*(\d+)\s+({_QUOTED}|[^,]*?)\s*(?:,|$)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_NUMERIC = ("numeric", "real", "integer")


def read_arff(path: Path) -> pd.DataFrame:
    """Return the rows: numbers, categories in the order of the header, and words; ? is missing.

    Raises ValueError, naming the file and the line, for what is no ARFF.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            return _table(enumerate(file, start=1))
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not an ARFF file: {error}") from None


def _table(lines: Iterator[tuple[int, str]]) -> pd.DataFrame:
    attributes = _header(lines)
    columns: list[list[str | None]] = [[] for _ in attributes]
    for number, line in lines:
        line = line.strip()
        if not line or line.startswith("%"):
            continue
        for column, value in zip(columns, _row(line, attributes, number), strict=True):
            column.append(value)
    listed = zip(attributes.items(), columns, strict=True)
    return pd.DataFrame({name: _typed(kind, values, name) for (name, kind), values in listed})


def _header(lines: Iterator[tuple[int, str]]) -> dict[str, str | list[str]]:
    """Return each attribute's type, or its categories."""
    attributes: dict[str, str | list[str]] = {}
    for number, line in lines:
        line = line.strip()
        if line.lower().startswith("@data"):
            if not attributes:
                raise ValueError(f"line {number}: no attribute stands before @data.")
            return attributes
        if not line.lower().startswith("@attribute"):
            continue
        match = _ATTRIBUTE.fullmatch(line)
        if match is None:
            raise ValueError(f"line {number} is no attribute: {line[:80]!r}.")
        name, kind = _unquoted(match[1]), match[2].strip()
        if name in attributes:
            raise ValueError(f"line {number}: more than one attribute is called {name!r}.")
        if kind.startswith("{"):
            attributes[name] = [_unquoted(word) for word in _fields(kind.strip("{} \t"))]
        elif kind.lower().split()[:1] and kind.lower().split()[0] in (*_NUMERIC, "string", "date"):
            attributes[name] = kind.lower().split()[0]
        else:
            raise ValueError(f"line {number}: attribute {name!r} has the type {kind[:40]!r}.")
    raise ValueError("it has no line @data.")


def _row(line: str, attributes: dict[str, str | list[str]], number: int) -> list[str | None]:
    if line.startswith("{") and line.endswith("}"):
        return _sparse_row(line, attributes, number)
    words = [None if word == "?" else _unquoted(word) for word in _fields(line)]
    if len(words) != len(attributes):
        raise ValueError(
            f"line {number} has {len(words)} values, but there are {len(attributes)} attributes."
        )
    return words


def _sparse_row(line: str, attributes: dict[str, str | list[str]], number: int) -> list[str | None]:
    """Return a row of which only values that are not zero (the first category) are written."""
    row: list[str | None] = [
        kind[0] if isinstance(kind, list) else "0" for kind in attributes.values()
    ]
    inside, position = line[1:-1].strip(), 0
    while position < len(inside):
        match = _SPARSE.match(inside, position)
        if match is None or int(match[1]) >= len(row):
            raise ValueError(f"line {number} is no sparse row: {line[:80]!r}.")
        row[int(match[1])] = None if match[2] == "?" else _unquoted(match[2])
        position = match.end()
    return row


def _fields(line: str) -> list[str]:
    fields, position = [], 0
    while True:
        match = _FIELD.match(line, position)
        if match is None or _is_open(match[1]):
            raise ValueError(f"a quote is not closed in {line[:80]!r}.")
        fields.append(match[1])
        position = match.end()
        if position >= len(line):
            return [*fields, ""] if line[position - 1 : position] == "," else fields


def _is_open(word: str) -> bool:
    """Return whether a word begins with a quote that is not closed."""
    return word[:1] in ("'", '"') and re.fullmatch(_QUOTED, word) is None


def _unquoted(word: str) -> str:
    if len(word) < 2 or word[0] not in "'\"" or word[0] != word[-1]:
        return word
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), word[1:-1])


def _typed(kind: str | list[str], values: list[str | None], name: str) -> object:
    if isinstance(kind, list):
        unknown = set(values) - set(kind) - {None}
        if unknown:
            example = min(map(str, unknown))
            raise ValueError(
                f"attribute {name!r} has the value {example!r}, which it does not declare."
            )
        return pd.Categorical(values, categories=list(dict.fromkeys(kind)))
    if kind not in _NUMERIC:
        return pd.Series(values, dtype=object)
    try:
        return np.array([np.nan if word is None else float(word) for word in values])
    except ValueError as error:
        raise ValueError(f"attribute {name!r} holds no number: {error}.") from None
