"""Tell what is in a checkpoint: the network, how it was trained, and on what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro


@dataclass(frozen=True)
class InfoOptions:
    """Tell what is in a checkpoint: the network, how it was trained, and on what."""

    checkpoint: Annotated[str, tyro.conf.Positional]
    """A file, a run's folder, or a shipped name such as tiny or nano."""


def main(argv: list[str]) -> int:
    """Print the record of one checkpoint."""
    options = tyro.cli(InfoOptions, args=argv, prog="openpfn info")
    from openpfn import checkpoint

    print("\n".join(describe(checkpoint.read_header(options.checkpoint))))
    return 0


def describe(header: Any) -> Iterable[str]:
    """The lines that tell a checkpoint's header."""
    n_parameters = sum(map(math.prod, header.shapes.values()))
    kind = (
        "weights only"
        if header.training is None
        else "weights and the state of a run, which --resume continues"
    )
    yield f"{header.path} ({header.path.stat().st_size / 1e6:.2f} MB): {kind}"
    yield f"model {header.model}: {n_parameters:,} parameters in {len(header.shapes)} tensors"
    yield from section(header.model_config)
    yield "provenance"
    yield from section(header.provenance)
    if header.training_config is not None:
        yield "training"
        yield from section(header.training_config)


def section(values: Mapping[str, Any], indent: str = "  ") -> Iterable[str]:
    """Names and values in two columns, nested mappings indented further."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}"
            yield from section(value, indent + "  ")
        else:
            yield f"{indent}{name:<{width}}  {shown(value)}"


def shown(value: Any) -> str:
    """Return a value as a person writes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return "(" + ", ".join(map(shown, value)) + ")" if isinstance(value, list) else str(value)
