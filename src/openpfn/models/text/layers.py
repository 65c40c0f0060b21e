"""Layers of the networks that read text: attention between the tokens of a row, and how a number
is fused into the text of its cell."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer without positions: the order of the tokens does not matter.

    Query, key, value and output are modules of their own, so that adapters can name each.
    """

    def __init__(self, d_model: int, n_heads: int, d_mlp: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.attention_norm = nn.LayerNorm(d_model)
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)
        self.mlp_norm = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, d_mlp)
        self.down = nn.Linear(d_mlp, d_model)

    def forward(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        x = x + self._dropped(self.attend(self.attention_norm(x)))
        hidden = self._dropped(F.relu(self.up(self.mlp_norm(x))))
        return x + self._dropped(self.down(hidden))

    def attend(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        q, k, v = (
            project(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, H, T, K)
            for project in (self.query, self.key, self.value)
        )
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class NumberEncoder(nn.Module):
    """Vector of the numbers that come with a cell."""

    def __init__(self, n_numbers: int, d_model: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.Linear(n_numbers, 2 * d_model)
        self.down = nn.Linear(2 * d_model, d_model)
        self.dropout = dropout

    def forward(self, numbers: Float[Tensor, "... F"]) -> Float[Tensor, "... E"]:
        return self.down(F.dropout(F.relu(self.up(numbers)), self.dropout, self.training))


class AttentiveFusion(nn.Module):
    """Fusion of version v1: a transformer layer over the two tokens text and number, whose outputs
    are averaged."""

    def __init__(self, d_model: int, d_mlp: int, dropout: float) -> None:
        super().__init__()
        self.layer = TransformerLayer(d_model, 2, d_mlp, dropout)

    def forward(
        self, text: Float[Tensor, "... E"], number: Float[Tensor, "... E"]
    ) -> Float[Tensor, "... E"]:
        pairs = torch.stack([text, number], dim=-2)  # (..., 2, E)
        mixed = self.layer(pairs.flatten(0, -3))  # (cells, 2, E)
        return mixed.mean(dim=1).view(text.shape)


class AdditiveFusion(nn.Module):
    """Fusion of version v1.1: the normalised text, weighted, plus the normalised number."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.text_norm = nn.LayerNorm(d_model)
        self.number_norm = nn.LayerNorm(d_model)
        self.text_weight = nn.Parameter(torch.ones(()))

    def forward(
        self, text: Float[Tensor, "... E"], number: Float[Tensor, "... E"]
    ) -> Float[Tensor, "... E"]:
        return self.text_norm(text) * self.text_weight + self.number_norm(number)


class TokenHead(nn.Module):
    """MLP from a target token to its outputs."""

    def __init__(self, d_model: int, d_hidden: int, n_outputs: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_hidden)
        self.down = nn.Linear(d_hidden, n_outputs)

    def forward(self, tokens: Float[Tensor, "... E"]) -> Float[Tensor, "... outputs"]:
        return self.down(F.relu(self.up(tokens)))


class Matching(nn.Module):
    """Match of each class with a row: the product of the class's token and the row's mean cell."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.of_class = nn.Linear(d_model, d_model)
        self.of_row = nn.Linear(d_model, d_model)

    def forward(
        self, classes: Float[Tensor, "B C E"], cells: Float[Tensor, "B M E"]
    ) -> Float[Tensor, "B C"]:
        row = self.of_row(cells.mean(dim=1))  # (B, E)
        products = self.of_class(classes) @ row.unsqueeze(-1)  # (B, C, 1)
        return products.squeeze(-1) / row.shape[-1] ** 0.5


def set_apart(tokens: Float[Tensor, "C E"]) -> Float[Tensor, "C E"]:
    """Return the tokens with differences of unit size about their mean: sentences of classes share
    most of their words, so that their embeddings hardly differ."""
    middle = tokens.mean(dim=0)
    apart = tokens - middle
    return middle + apart / (apart.square().mean().sqrt() + 1e-6)
