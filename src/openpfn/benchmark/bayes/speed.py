"""Speed of drawing and generating sequences, and the effect of the order of a set's context."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.benchmark.bayes.gap import PROBLEMS, Watched, network, training
from openpfn.configs.sequence import RegressionConfig
from openpfn.generators.base import sample_batch
from openpfn.generators.deterministic import DeterministicGenerator
from openpfn.models import PFN
from openpfn.training import train

SEQUENCES, ROWS, COLUMNS = 256, 32, 8
"""Numbers of sequences, rows and columns that are drawn."""
STEPS = 30
"""Training steps over which the share of drawing is taken."""
WIDTH, LAYERS, HEADS, D = 128, 2, 2, 16
"""Sizes of the network that generates: those of the task diversity experiments."""
PERMUTATIONS = 20


def measured(name: str, config: BayesConfig) -> dict[str, Any]:
    """The row called `name`."""
    if name.startswith("generation_"):
        return {"name": name, **generation(int(name.removeprefix("generation_")), config)}
    return {
        "name": name,
        **{"sampling": sampling, "share": share, "permutation": permutation}[name](config),
    }


def sampling(config: BayesConfig) -> dict[str, Any]:
    """`sample_batch` against loops over sequences: of the same draws, of `randn` without
    distributions, and of `generate`."""
    weights, values = Normal(torch.zeros(COLUMNS), 1.0), Normal(0.0, 1.0)
    prior = DeterministicGenerator(weights, torch.mv, input_dim=COLUMNS, noise_std=0.5)

    def stacked(draw: Callable[[], tuple[Tensor, Tensor]]) -> Callable[[], Any]:
        def loop() -> tuple[Tensor, Tensor]:
            made = [draw() for _ in range(SEQUENCES)]
            return torch.stack([x for x, _ in made]), torch.stack([y for _, y in made])

        return loop

    def same_draws() -> tuple[Tensor, Tensor]:
        w, x = weights.sample(), values.sample(torch.Size((ROWS, COLUMNS)))
        y = torch.mv(x, w)
        return x, y + 0.5 * torch.randn_like(y)

    def bare() -> tuple[Tensor, Tensor]:
        x = torch.randn(ROWS, COLUMNS)
        return x, x @ torch.randn(COLUMNS) + 0.5 * torch.randn(ROWS)

    loops = [stacked(same_draws), stacked(bare), stacked(lambda: prior.generate(ROWS))]
    ours, loop, barest, generate = in_turns(
        [lambda: sample_batch(prior, SEQUENCES, ROWS), *loops], config.repeats, least_seconds=0.05
    )
    times = {
        "sample_batch": ours,
        "distributions in a loop": loop,
        "bare randn in a loop": barest,
        "generate in a loop": generate,
    }
    return {
        "kind": "speed",
        "what": (
            f"drawing {SEQUENCES} sequences of {ROWS} rows, {COLUMNS} columns, against the same"
            " draws in a loop over sequences"
        ),
        **ratio_row(loop, ours, bar=20),
        "milliseconds": medians({name: 1e3 * each for name, each in times.items()}),
    }


def share(config: BayesConfig) -> dict[str, Any]:
    """The share of a training's processor time that its tasks take."""
    problem = PROBLEMS["linear_4"]
    prior, spent = Watched(problem.prior().of_length(problem.seq_len)), []

    class Clock:
        def on_step(self, event: Any) -> None:
            spent.append((time.process_time(), prior.seconds))

    train(prior, network(problem, config), training(problem, config, STEPS), callbacks=[Clock()])
    (began, drawn_before), (ended, drawn) = spent[len(spent) // 5], spent[-1]
    value = (drawn - drawn_before) / (ended - began)
    return {
        "kind": "speed",
        "what": f"share of a training's processor time that drawing takes: {problem.title}",
        "value": value,
        "unit": "share",
        "bar": 0.05,
        "better": "lower",
        "reached": value < 0.05,
    }


def generation(n_rows: int, config: BayesConfig) -> dict[str, Any]:
    """`generate` against the whole sequence through the network anew for each row, as
    pfn_transformers does it, and as we could at best."""
    model = random_network("autoregressive-pfn", n_rows, config.seed)
    x_distribution, many = Normal(0.0, 1.0), config.rollouts
    made = model.generate(
        x_distribution,
        n_rows,
        num_rollouts=many,
        generator=torch.Generator().manual_seed(config.seed),
    )

    @torch.no_grad()
    def two_streams() -> None:
        drawn_anew(model, made.x, lambda x, y: model(x, y)[:, -1])

    with torch.no_grad():
        apart = float((model(made.x, made.y) - made.logits).abs().max())
    cached, slow, fast = in_turns(
        [
            lambda: model.generate(x_distribution, n_rows, num_rollouts=many),
            lambda: every_token_anew(model, made.x),
            two_streams,
        ],
        config.repeats,
    )
    row = ratio_row(slow, cached, bar=20 if n_rows <= 64 else 40)
    return {
        "kind": "speed",
        "what": (
            f"generating {many} sequences of {n_rows} rows with cached keys and values, against all"
            " tokens anew for each row"
        ),
        **row,
        "reached": row["reached"] and apart <= 1e-5,
        "logits_apart": apart,
        "against_two_streams": float(np.median(np.divide(fast, cached))),
        "seconds": medians({"cached": cached, "every token anew": slow, "two streams anew": fast}),
    }


def drawn_anew(
    model: Any, x: Float[Tensor, "S N D"], logits_of_last: Callable[[Tensor, Tensor], Tensor]
) -> Float[Tensor, "S N"]:
    """Targets of rows `x`, each drawn after a pass of everything before it."""
    y = x.new_zeros(len(x), 0)
    for i in range(x.shape[1]):
        logits = logits_of_last(x[:, : i + 1], torch.nn.functional.pad(y, (0, 1)))
        y = torch.cat([y, model.predictive_of(logits).sample().unsqueeze(1)], dim=1)
    return y


@torch.no_grad()
def every_token_anew(model: Any, x: Float[Tensor, "S N D"]) -> Float[Tensor, "S N"]:
    """The same as pfn_transformers draws them: all 2 N tokens go through the mask for each row."""
    return drawn_anew(model, x, lambda x, y: model.unembed(model.interleave(x, y))[:, -2])


@torch.no_grad()
def permutation(config: BayesConfig) -> dict[str, Any]:
    """The largest total variation between predictions from a context and from a permutation of it;
    in a set, and in a sequence."""
    draw = torch.Generator().manual_seed(config.seed)
    x, y, x_query = (torch.randn(8, *size, generator=draw) for size in ((40, D), (40,), (10, D)))
    found = {}
    for mask in ("set", "autoregressive-pfn"):
        model = random_network(mask, 100, config.seed)
        before, largest = model(x, y, x_query).double().softmax(-1), 0.0
        for _ in range(PERMUTATIONS):
            order = torch.randperm(40, generator=draw)
            after = model(x[:, order], y[:, order], x_query).double().softmax(-1)
            largest = max(largest, float((before - after).abs().sum(-1).max()) / 2)
        found[mask] = largest
    return {
        "kind": "order",
        "what": (
            f"permuting a context of 40 rows, set mode: largest total variation, {PERMUTATIONS}"
            " permutations"
        ),
        "value": found["set"],
        "unit": "total variation",
        "bar": 1e-5,
        "better": "lower",
        "reached": found["set"] <= 1e-5,
        "autoregressive": found["autoregressive-pfn"],
    }


def random_network(mask: Any, n_rows: int, seed: int) -> Any:
    """A network whose every part matters: a fresh one begins as if it had no layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        values: dict[str, Any] = {
            "bucket_type": "uniform",
            "d_vocab": 128,
            "y_min": -7.0,
            "y_max": 7.0,
        }
        config = RegressionConfig(
            d_model=WIDTH,
            n_layers=LAYERS,
            n_heads=HEADS,
            d_mlp=2 * WIDTH,
            input_dim=D,
            n_ctx=2 * n_rows,
            **values,
        )
        model: Any = PFN(replace(config, mask_type=mask)).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    return model


def in_turns(
    operations: list[Callable[[], Any]], repeats: int, least_seconds: float = 0.0
) -> list[Float[np.ndarray, " R"]]:
    """Processor seconds of each operation, `repeats` times; they take turns, after a first round
    that warms up."""
    seconds: list[list[float]] = [[] for _ in operations]
    for turn in range(repeats + 1):
        for operation, kept in zip(operations, seconds, strict=True):
            n_calls, began = 0, time.process_time()
            while n_calls == 0 or time.process_time() - began < least_seconds:
                operation()
                n_calls += 1
            if turn:
                kept.append((time.process_time() - began) / n_calls)
    return [np.array(kept) for kept in seconds]


def medians(values: dict[str, Any]) -> dict[str, float]:
    return {name: float(np.median(each)) for name, each in values.items()}


def ratio_row(
    slow: Float[np.ndarray, " R"], fast: Float[np.ndarray, " R"], bar: float
) -> dict[str, Any]:
    """Return how many times faster `fast` is than `slow`, repeat by repeat."""
    ratios = slow / fast
    value = float(np.median(ratios))
    return {
        "value": value,
        "low": float(ratios.min()),
        "high": float(ratios.max()),
        "unit": "times faster",
        "bar": bar,
        "better": "higher",
        "reached": value >= bar,
    }
