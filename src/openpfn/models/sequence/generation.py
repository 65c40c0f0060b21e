"""Rollouts: sequences that a network draws from its own predictions, one row after another, with
cached keys and values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.models.inputs import (
    check_classes,
    check_columns,
    check_finite,
    check_temperature,
    check_tensors,
)
from openpfn.models.modes import in_evaluation
from openpfn.models.sequence.backbone import SequenceNetwork
from openpfn.models.sequence.transformer import Block, KeysAndValues
from openpfn.randomness import draw_inputs, seeded

XDistribution = (
    torch.distributions.Distribution | Callable[[int, int, torch.Generator | None], Tensor]
)
"""A distribution of x, or a function (n_sequences, n_rows, generator) -> (n_sequences, n_rows,
columns)."""


Choose = Callable[[Float[Tensor, "S V"]], Float[Tensor, " S"]]
"""Picks each sequence's next target from its logits."""


class Generated(NamedTuple):
    """Sequences with their prompts in front. R rollouts, P rows of prompt, T generated; a batch of
    prompts puts its axis in front."""

    x: Float[Tensor, "... N D"] | None
    """Inputs; None where there are none."""
    y: Float[Tensor, "... N"]
    """Targets."""
    logits: Float[Tensor, "... T V"]
    """Logits that each generated target was drawn from, before the temperature."""


@torch.no_grad()
def roll_out(
    model: SequenceNetwork,
    x_distribution: XDistribution | None,
    num_generate: int,
    prompt_x: Tensor | None,
    prompt_y: Tensor | None,
    sample: bool,
    temperature: float,
    num_rollouts: int,
    generator: torch.Generator | None,
) -> Generated:
    """Return what `generate` of the sequence networks gives; see there."""
    if x_distribution is None and hasattr(model, "embedded"):
        raise TypeError(
            "x_distribution is None: give the distribution of the rows' x, such as"
            " torch.distributions.Normal(0.0, 1.0)."
        )
    if num_generate < 0 or num_rollouts < 1:
        raise ValueError(
            f"num_generate is {num_generate}, must be at least 0, and num_rollouts {num_rollouts},"
            " must be at least 1."
        )
    if x_distribution is not None and (prompt_x is None) != (prompt_y is None):
        raise ValueError(
            "prompt_x and prompt_y belong together: give both, or neither for an empty prompt."
        )
    if sample:
        check_temperature(temperature)
    _check_prompt(model, prompt_x, prompt_y)
    device = model.unembed.weight.device
    given = torch.zeros(0) if prompt_y is None else prompt_y
    many = given.dim() == 2
    y = (
        (given if many else given.unsqueeze(0))
        .to(device, torch.float32)
        .repeat_interleave(num_rollouts, dim=0)
    )  # (S, P)
    x = None
    if x_distribution is not None:
        new = draw_x(x_distribution, len(y), num_generate, model.config.input_dim, generator).to(
            device, torch.float32
        )
        x = (
            new
            if prompt_x is None
            else torch.cat([_prompt_rows(prompt_x, y, num_rollouts, device), new], dim=1)
        )  # (S, P + T, D)

    def choose(logits: Float[Tensor, "S V"]) -> Float[Tensor, " S"]:
        if not sample or model.config.prediction_type == "point":
            return model.predictive_of(logits).mode.float()
        return model.predictive_of(logits, temperature).sample(generator).float()

    if num_generate:
        y, logits = continued(model, x, y, num_generate, choose)
    else:  # the prompt alone
        logits = y.new_zeros(len(y), 0, model.head.n_outputs)
    shape = (len(given), num_rollouts) if many else (num_rollouts,)
    return Generated(
        None if x is None else x.view(*shape, *x.shape[1:]),
        y.view(*shape, -1),
        logits.view(*shape, *logits.shape[1:]),
    )


@torch.no_grad()
def continued(
    model: SequenceNetwork,
    x: Float[Tensor, "S N D"] | None,
    y: Float[Tensor, "S P"],
    n_new: int,
    choose: Choose,
    *,
    cached: bool = True,
) -> tuple[Float[Tensor, "S N"], Float[Tensor, "S T V"]]:
    """S sequences of P rows with `n_new` targets more, each picked by `choose`, and the logits that
    these were picked from.

    `x` holds the inputs of all P + T rows. `choose` is called once for each new row, in their
    order. Without `cached` each row takes a pass of the whole sequence: the same, to rounding.
    """
    with in_evaluation(model):
        return (_ways(model) if cached else _anew)(model, x, y, n_new, choose)


def _check_prompt(model: SequenceNetwork, x: Any, y: Any) -> None:
    """Raise TypeError or ValueError unless the network can read the prompt."""
    given = {name: value for name, value in (("prompt_x", x), ("prompt_y", y)) if value is not None}
    check_tensors(**given)
    check_finite(**given)
    if x is not None:
        check_columns("prompt_x", x, model.config.input_dim)
    if y is not None and model.n_classes_read is not None:
        check_classes(y, model.n_classes_read)


def draw_x(
    distribution: XDistribution,
    n_sequences: int,
    n_rows: int,
    n_columns: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "S T D"]:
    """Rows of x; all randomness comes from `generator`, or from torch's own if that is None."""
    if not isinstance(distribution, torch.distributions.Distribution) and not callable(
        distribution
    ):
        raise TypeError(
            f"x_distribution is a {type(distribution).__name__}; expected a"
            " torch.distributions.Distribution or a function."
        )
    if not isinstance(distribution, torch.distributions.Distribution):
        x = distribution(n_sequences, n_rows, generator)
        if x.shape != (n_sequences, n_rows, n_columns):
            raise ValueError(
                f"x_distribution gave x of shape {tuple(x.shape)}, expected"
                f" {(n_sequences, n_rows, n_columns)}."
            )
        return x
    # distributions draw from torch's global state
    with nullcontext(torch.device("cpu")) if generator is None else seeded(generator) as device:
        return draw_inputs(distribution, n_sequences, n_rows, n_columns, device)


def _prompt_rows(
    prompt: Tensor, y: Float[Tensor, "S P"], num_rollouts: int, device: torch.device
) -> Float[Tensor, "S P D"]:
    rows = prompt.to(device, torch.float32)
    rows = (rows if rows.dim() == 3 else rows.unsqueeze(0)).repeat_interleave(num_rollouts, dim=0)
    if rows.shape[:2] != y.shape:
        raise ValueError(
            f"prompt_x has shape {tuple(prompt.shape)}; with this prompt_y it needs {y.shape[1]}"
            " rows for each sequence."
        )
    return rows


def _ways(model: SequenceNetwork) -> Callable[..., tuple[Tensor, Tensor]]:
    mask = model.config.mask_type
    if mask == "set" or model.is_hooked:
        return _anew
    if not hasattr(model, "embedded"):
        return _elements
    return _pairs


def _anew(
    model: Any, x: Tensor | None, y: Tensor, num_generate: int, choose: Choose
) -> tuple[Tensor, Tensor]:
    """The whole sequence anew for each row: where a new row changes what the others stand for, and
    where hooks look on."""
    logits = []
    for _ in range(num_generate):
        n = y.shape[1]
        if x is None:
            logits.append(model(torch.cat([y, y.new_zeros(len(y), 1)], dim=1))[:, -1])
        else:
            logits.append(model(x[:, :n], y, x[:, n : n + 1])[:, -1])
        y = torch.cat([y, choose(logits[-1]).unsqueeze(1)], dim=1)
    return y, torch.stack(logits, dim=1)


def _pairs(
    model: Any, x: Tensor, y: Tensor, num_generate: int, choose: Choose
) -> tuple[Tensor, Tensor]:
    """Each step sends (x, y) of the row before and x of the next through the layers together: both
    read only cached rows and each other.

    The first step takes the prompt. With the mask "autoregressive-pfn" only (x, y) tokens are kept.
    """
    both = model.config.mask_type == "gpt2"
    n_prompt, n = y.shape[1], y.shape[1] + num_generate
    caches = _caches(model, len(y), 2 * n if both else n + 1)
    at_x = model.embedded(x)  # (S, P + T, E)
    y, logits = torch.cat([y, y.new_zeros(len(y), num_generate)], dim=1), []
    seen = done = 0  # cached tokens, rows whose y has gone in
    for i in range(n_prompt, n):
        new = model.placed(*_tokens(model, at_x, y, done, i, both, is_first=seen == 0))
        logits.append(_through(model, new, caches, seen))
        seen, done = (
            seen + new.shape[1] - (0 if both else 1),
            i,
        )  # the next step overwrites an x token that nobody reads
        y[:, i] = choose(logits[-1])
    return y, torch.stack(logits, dim=1)


def _tokens(
    model: Any, at_x: Tensor, y: Tensor, done: int, i: int, both: bool, is_first: bool
) -> tuple[Float[Tensor, "S m E"], Int[Tensor, " m"]]:
    """Tokens of rows `done` … i − 1 with their y, then the x token of row i; and their places among
    all tokens.

    With `both` the x tokens stand between them; that of row `done` went in with the step before,
    unless this `is_first`.
    """
    pairs = at_x[:, done:i] + model.embedded_y(y[:, done:i])
    if not both:
        places = torch.arange(2 * done + 1, 2 * i + 2, 2, device=y.device)
        places[-1] = 2 * i
        return torch.cat([pairs, at_x[:, i : i + 1]], dim=1), places
    tokens = torch.stack([pairs, at_x[:, done + 1 : i + 1]], dim=2).flatten(1, 2)
    if is_first:
        tokens = torch.cat([at_x[:, :1], tokens], dim=1)
    return tokens, torch.arange(2 * i + 1 - tokens.shape[1], 2 * i + 1, device=y.device)


def _elements(
    model: Any, x: None, y: Tensor, num_generate: int, choose: Choose
) -> tuple[Tensor, Tensor]:
    """One token a step: the element before; the first step takes the start token and the prompt."""
    n_prompt, n = y.shape[1], y.shape[1] + num_generate
    caches = _caches(model, len(y), n)
    y, logits, seen = torch.cat([y, y.new_zeros(len(y), num_generate)], dim=1), [], 0
    for i in range(n_prompt, n):
        tokens = model.tokens(y[:, seen - 1 : i])[:, 1:] if seen else model.tokens(y[:, :i])
        new = model.placed(tokens, torch.arange(seen, i + 1, device=y.device))
        logits.append(_through(model, new, caches, seen))
        seen = i + 1
        y[:, i] = choose(logits[-1])
    return y, torch.stack(logits, dim=1)


def _through(
    model: SequenceNetwork, new: Float[Tensor, "S m E"], caches: list[KeysAndValues], seen: int
) -> Float[Tensor, "S V"]:
    """Logits of the last of the new tokens."""
    blocks = cast(list[Block], list(model.blocks))
    for i, (block, cache) in enumerate(zip(blocks, caches, strict=True)):
        new = block.step(new, cache, seen, last=i == len(caches) - 1)
    return model.unembed(model.ln_final(new[:, -1]))


def _caches(model: SequenceNetwork, n_sequences: int, n_tokens: int) -> list[KeysAndValues]:
    config, like = model.config, model.unembed.weight
    assert config.d_head is not None
    shape = (n_sequences, config.n_heads, n_tokens, config.d_head)
    return [KeysAndValues(like.new_empty(shape), like.new_empty(shape)) for _ in model.blocks]
