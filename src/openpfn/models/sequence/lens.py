"""`LensModel`: a sequence network as tools for language models expect one, tokens in and logits of
every token out."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.models.hooks import HookedModule, HookPoint, transformer_lens_cache
from openpfn.models.sequence.network import SequencePFN


class LensModel(HookedModule):
    """A `SequencePFN` that takes one tensor of tokens, for TransformerLens' patching functions and
    the like.

    Tokens are (B, D + 1, T): for each of T = 2 N tokens its x and, for (x, y) tokens, its y;
    `to_tokens` makes them. The hook points are those of the network. Not for sets, whose tokens
    have no order.

    >>> from openpfn import PFN, RegressionConfig
    >>> lens = LensModel(
    ...     PFN(
    ...         RegressionConfig(
    ...             d_model=16, n_layers=1, n_heads=2, input_dim=3, prediction_type="point"
    ...         )
    ...     )
    ... )
    >>> tokens = lens.to_tokens(torch.randn(2, 5, 3), torch.randn(2, 5))
    >>> lens(tokens).shape
    torch.Size([2, 10, 1])
    """

    def __init__(self, model: SequencePFN) -> None:
        super().__init__()
        if model.config.mask_type == "set":
            raise ValueError(
                "mask_type is 'set': the tokens of a set have no order. Use run_with_cache(x, y,"
                " x_query) of the network."
            )
        self.model = model
        self.train(model.training)

    def forward(self, tokens: Float[Tensor, "B D1 T"]) -> Float[Tensor, "B T V"]:
        """Logits of every token; those of x tokens are the network's predictions."""
        x, y = tokens[:, :-1, 0::2].transpose(1, 2), tokens[:, -1, 1::2]
        self.model.check(x, y)
        return self.model.unembed(self.model.interleave(x, y))

    def to_tokens(
        self, x: Float[Tensor, "B N D"], y: Float[Tensor, "B N"]
    ) -> Float[Tensor, "B D1 T"]:
        """The tokens of rows x with targets y."""
        pairs = torch.cat([x, y.unsqueeze(-1)], dim=-1)  # (B, N, D + 1)
        asking = torch.cat([x, torch.zeros_like(y).unsqueeze(-1)], dim=-1)
        return torch.stack([asking, pairs], dim=2).flatten(1, 2).transpose(1, 2)

    def make_cache(self, activations: dict[str, Tensor], has_batch_dim: bool) -> Any:
        return transformer_lens_cache(activations, self, has_batch_dim)

    @property
    def hook_dict(self) -> dict[str, HookPoint]:
        return self.model.hook_dict

    @property
    def cfg(self) -> Any:
        return self.model.cfg

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.blocks

    @property
    def ln_final(self) -> nn.Module:
        return self.model.ln_final

    @property
    def unembed(self) -> nn.Module:
        return self.model.unembed

    @property
    def W_U(self) -> Float[Tensor, "E V"]:
        return self.model.W_U

    @property
    def b_U(self) -> Float[Tensor, " V"]:
        return self.model.b_U
