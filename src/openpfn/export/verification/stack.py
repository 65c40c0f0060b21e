"""The deepest chain of calls of an exported library, from what the compiler says about each
function's stack (GCC's -fstack-usage and -fcallgraph-info)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from openpfn.export.c_code import write_library
from openpfn.export.options import Backend, CodeOptions
from openpfn.export.record import recorded_prefix
from openpfn.export.verification.measure import copy_library, run_tool
from openpfn.export.verification.targets import PICOLIBC, STRICT, find_target

INDIRECT = "__indirect_call"
"""What GCC calls a function that is called through a pointer."""


@dataclass(frozen=True)
class Chain:
    """Calls within each other that take more stack than any others."""

    frames: tuple[tuple[str, int], ...]
    """Functions, the caller first, with the bytes that each keeps on the stack."""
    outside: tuple[str, ...]
    """Functions of the compiler's own library that they may call, whose stack is not known."""

    @property
    def n_bytes(self) -> int:
        """The stack of the whole chain."""
        return sum(n_bytes for _, n_bytes in self.frames)

    def __str__(self) -> str:
        return " > ".join(f"{name} {n_bytes}" for name, n_bytes in self.frames)


@dataclass(frozen=True)
class CallGraph:
    """Functions of one source file, who calls whom, and the stack of each."""

    frames: Mapping[str, int]
    """Bytes by function; functions of other files are not there."""
    calls: Mapping[str, tuple[str, ...]]

    def deepest(self, start: str) -> Chain:
        """Return the chain of calls from the function `start` that takes the most stack."""
        below: dict[str, tuple[tuple[str, int], ...]] = {}
        outside: set[str] = set()

        def from_here(name: str) -> tuple[tuple[str, int], ...]:
            if name not in below:
                called = [from_here(other) for other in self.callees(name, outside)]
                rest = max(called, key=lambda frames: sum(n for _, n in frames), default=())
                below[name] = ((name, self.frames[name]), *rest)
            return below[name]

        return Chain(from_here(start), tuple(sorted(outside)))

    def callees(self, name: str, outside: set[str]) -> Iterable[str]:
        """Return what the function `name` calls; names of functions elsewhere go to `outside`. A
        pointer may point at any function that is not called by its name, nor from elsewhere."""
        named = {other for others in self.calls.values() for other in others}
        for other in self.calls.get(name, ()):
            if other == INDIRECT:
                yield from (one for one in self.frames if one not in named and ":" in one)
            elif other in self.frames:
                yield other
            else:
                outside.add(other)


def call_graph(text: str) -> CallGraph:
    """Return the call graph that GCC wrote with -fcallgraph-info=su."""
    nodes = re.findall(
        r'^node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes', text, re.MULTILINE
    )
    edges = re.findall(r'^edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text, re.MULTILINE)
    callers = dict.fromkeys(caller for caller, _ in edges)
    calls = {
        caller: tuple(dict.fromkeys(callee for one, callee in edges if one == caller))
        for caller in callers
    }
    return CallGraph({name: int(n_bytes) for name, n_bytes in nodes}, calls)


def stack_usage(
    folder: str | Path, target: str, flags: tuple[str, ...] = ("-O2",)
) -> dict[str, Chain]:
    """Return the deepest chains of "fit" and "predict" of the library in `folder`, compiled for
    `target` with `flags`.

    What calls these functions, interrupts, and the compiler's own library come on top. Raises
    FileNotFoundError where the toolchain is not installed, ToolError with the compiler's words.
    """
    core, prefix = find_target(target), recorded_prefix(folder)
    with tempfile.TemporaryDirectory() as place:
        copy_library(Path(folder), prefix, Path(place))
        libc = PICOLIBC[:1] if core.emulator else []
        options = [*STRICT, *flags, *core.flags, *libc, "-fcallgraph-info=su", "-c"]
        run_tool([core.compiler, *options, f"{prefix}.c", "-o", "library.o"], Path(place))
        graph = call_graph((Path(place) / "library.ci").read_text(encoding="utf-8"))
    entries = {"fit": f"{prefix}_fit", "predict": f"{prefix}_predict_proba"}
    return {what: without_files(graph.deepest(entry)) for what, entry in entries.items()}


def without_files(chain: Chain) -> Chain:
    """Return `chain` with functions by the names that they have in the source."""
    short = [(name.rpartition(":")[2].partition(".")[0], n_bytes) for name, n_bytes in chain.frames]
    return replace(chain, frames=tuple(short))


def stack_report(
    model: Any, backends: Iterable[Backend], options: CodeOptions, target: str
) -> list[str]:
    """Return, as lines of text, the deepest chains of the network `model`, exported with `options`
    for each backend and compiled for `target`."""
    lines, outside = [f"  stack on {target} as the compiler tells it, -O2"], set()
    for backend in backends:
        with tempfile.TemporaryDirectory() as place:
            write_library(model, place, replace(options, backend=backend))
            usage = stack_usage(place, target)
        for number, (what, chain) in enumerate(usage.items()):
            name = backend if number == 0 else ""
            lines.append(f"  {name:<5} {what:<8} {chain.n_bytes:,} bytes: {chain}")
            outside |= set(chain.outside)
    return [*lines, f"        on top, what {', '.join(sorted(outside))} take"] if outside else lines
