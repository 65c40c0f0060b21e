"""Measurements of a context that is kept: the first answers, one more answer, bytes, very long
contexts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from openpfn.benchmark.speed import peers as speed_peers
from openpfn.benchmark.speed.ours import (
    TABLE,
    fitting,
    fitting_and_predicting,
    predicting,
    random_table,
    table_shape,
)
from openpfn.benchmark.speed.timers import Figure, Measurement, Milliseconds, Paths, Timed

MECHANISMS = ("softmax", "linear", "ridge", "induced", "hybrid")
"""Row attentions that are compared, by name."""
FIRST_SHAPES = ((1000, 100, 5), (5000, 100, 5))
ONE_ROW_SHAPE = (1000, 1, 5)
STATE_SHAPES = ((1000, 1, 5), (10_000, 1, 5))
LONG_SHAPES = ((1000, 1, 10), (100_000, 1, 10))
"""A query row must cost the same at both."""
LONG_MECHANISMS = ("linear", "ridge")


def network(mechanism: str) -> Any:
    """nanoTabPFN's size with another attention between rows."""
    return replace(TABLE, attention_type=mechanism)


def shown(mechanism: str, shape: tuple[int, int, int]) -> tuple[Any, Any, Any]:
    """A network, the state of the context that it was shown, and query rows."""
    import torch

    from openpfn.batch import TaskBatch
    from openpfn.models import PFN

    x, y, queries = random_table(*shape)
    model = PFN(network(mechanism)).eval()
    with torch.inference_mode():
        state = model.summarize(
            TaskBatch(torch.from_numpy(x)[None], torch.from_numpy(y)[None].float(), n_train=len(y))
        )
    return model, state, torch.from_numpy(queries)[None]


def state_size(mechanism: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """Megabytes that the network keeps of a context."""
    from openpfn.estimators.network import nested_bytes

    _, state, _ = shown(mechanism, shape)
    return Figure(nested_bytes(state.layers) / 1e6)


def one_row(mechanism: str, shape: tuple[int, int, int], paths: Paths) -> Timed:
    """`read` of the network for one more query row."""
    import torch

    model, state, row = shown(mechanism, shape)

    def operation() -> None:
        with torch.inference_mode():
            model.read(row, state)

    return Milliseconds(operation)


def measurements() -> list[Measurement]:
    """The rows of all that a kept context is good for."""
    return [*_first(), *_one_row(), *_states(), *_long()]


def _first() -> list[Measurement]:
    rows = []
    for shape in FIRST_SHAPES:
        peer = f"first-nanotabpfn-{shape[0]}"
        rows += [
            Measurement(
                f"first-{name}-{shape[0]}",
                "first",
                f"openpfn {name}",
                table_shape(*shape),
                "ms",
                partial(fitting_and_predicting, network(name), shape),
                baseline=peer,
            )
            for name in MECHANISMS
        ]
        rows.append(
            Measurement(
                peer,
                "first",
                "nanoTabPFN",
                table_shape(*shape),
                "ms",
                partial(speed_peers.fitting_and_predicting, "nanotabpfn", shape),
                needs="nanotabpfn",
            )
        )
    return rows


def _one_row() -> list[Measurement]:
    shape, peer = ONE_ROW_SHAPE, "one-row-nanotabpfn"
    rows = [
        Measurement(
            f"one-row-{name}{suffix}",
            "one_row",
            f"openpfn {name}, {what}",
            table_shape(*shape),
            "ms",
            run(name),
            baseline=peer,
        )
        for suffix, what, run in (
            ("", "the network", lambda name: partial(one_row, name, shape)),
            (
                "-classifier",
                "PFNClassifier",
                lambda name: partial(predicting, network(name), shape),
            ),
        )
        for name in MECHANISMS
    ]
    theirs = partial(speed_peers.predicting, "nanotabpfn", shape)
    return [
        *rows,
        Measurement(
            peer, "one_row", "nanoTabPFN", table_shape(*shape), "ms", theirs, needs="nanotabpfn"
        ),
    ]


def _states() -> list[Measurement]:
    return [
        Measurement(
            f"state-{name}-{shape[0]}",
            "state",
            f"openpfn {name}",
            f"{shape[0]} rows × {shape[2]} columns",
            "MB",
            partial(state_size, name, shape),
            baseline=f"state-softmax-{shape[0]}",
        )
        for shape in STATE_SHAPES
        for name in MECHANISMS
    ]


def _long() -> list[Measurement]:
    return [
        Measurement(
            f"long-{what}-{name}-{shape[0]}",
            "long",
            f"openpfn {name}, {title}",
            f"{shape[0]:,} rows × {shape[2]} columns",
            "ms",
            run,
        )
        for shape in LONG_SHAPES
        for name in LONG_MECHANISMS
        for what, title, run in (
            ("fit", "fit", partial(fitting, network(name), shape)),
            ("row", "one query row", partial(one_row, name, shape)),
        )
    ]
