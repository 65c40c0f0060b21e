"""Which token of a sequence reads which: the masks of the sequence networks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def interleaved(
    mask_type: str, n_rows: int, device: torch.device | str = "cpu"
) -> Bool[Tensor, "T T"]:
    """Whether token i (axis 0) reads token j (axis 1), where the T = 2 · `n_rows` tokens are x₀,
    (x₀, y₀), x₁, (x₁, y₁), …

    "autoregressive-pfn": itself and the earlier (x, y) tokens. "gpt2": itself and all earlier
    tokens.

    >>> interleaved("autoregressive-pfn", 2).int().tolist()
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0, 1]]
    """
    token = torch.arange(2 * n_rows, device=device)
    earlier = token[None, :] < token[:, None]
    itself = torch.eye(2 * n_rows, dtype=torch.bool, device=device)
    if mask_type == "gpt2":
        return earlier | itself
    if mask_type == "autoregressive-pfn":
        return itself | (earlier & (token % 2 == 1)[None, :])
    raise ValueError(
        f"mask_type is {mask_type!r}; tokens interleave in 'autoregressive-pfn' and 'gpt2' only."
    )


def causal(n_tokens: int, device: torch.device | str = "cpu") -> Bool[Tensor, "T T"]:
    """Each token reads itself and all earlier tokens."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=device).tril()


def context_and_queries(
    mask_type: str, n_context: int, n_queries: int, device: torch.device | str = "cpu"
) -> Bool[Tensor, "T T"]:
    """The same where rows without y are asked after a context: its tokens come first, then one
    token x per query row.

    The context is (x₀, y₀), (x₁, y₁), …, and with "gpt2" x₀, (x₀, y₀), x₁, …. Its tokens read each
    other causally, or, with "set", all of them. A query token reads the context and itself, never
    another query.
    """
    n = 2 * n_context if mask_type == "gpt2" else n_context
    allowed = torch.eye(n + n_queries, dtype=torch.bool, device=device)
    allowed[:, :n] = True
    if mask_type != "set":
        allowed[:n, :n] = causal(n, device)
    return allowed


def positions(
    mask_type: str, n_context: int, n_queries: int, device: torch.device | str = "cpu"
) -> Int[Tensor, " T"]:
    """Places of the tokens of `context_and_queries` among interleaved ones: each query stands where
    the next row's x would."""
    places = torch.arange(2 * n_context, device=device)
    context = places if mask_type == "gpt2" else places[1::2]
    return torch.cat([context, torch.full((n_queries,), 2 * n_context, device=device)])
