"""`TextTableNetwork`: a row's cells as text and number, attention between them and the target
tokens, and an answer per target token (TabSTAR, Arazi et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openpfn.configs.text import TextConfig
from openpfn.heads.bars import BarDistribution
from openpfn.models.text.layers import (
    AdditiveFusion,
    AttentiveFusion,
    Matching,
    NumberEncoder,
    TokenHead,
    TransformerLayer,
    set_apart,
)

Task = Literal["classification", "regression"]
REACH = 10.0
"""Standard deviations from the mean of the target to which the buckets reach."""
ENCODED_AT_ONCE = 256
"""Strings that pass through the text encoder together, sorted by length."""


@dataclass(frozen=True)
class CellBatch:
    """Rows of one table: each cell is the place of its text among the distinct ones, and its
    numbers."""

    cells: Int[Tensor, "B M"]
    """Place of each cell's text in the embeddings."""
    numbers: Float[Tensor, "B M F"]
    """Numbers of each cell: one, or six in version v1.1; zeros where it holds none."""
    targets: Int[Tensor, " C"]
    """Place of each target token's text in the embeddings: one for each class, or a single one."""
    task: Task
    y: Tensor | None = None
    """Class (B,) or standardised number (B,) of each row, where known."""


class TextTableNetwork(nn.Module):
    """Answers for rows of any table from the words in it.

    Each row is a set of tokens: one for each cell, and one for each class, or a single one for a
    number. No row sees another. The text `encoder` is a module from (ids, mask), both (n, L), to
    embeddings (n, d_text); without one, `answer` takes the embeddings of a frozen encoder. Its
    frozen weights are no part of `state_dict`.
    """

    borders: Tensor

    def __init__(self, config: TextConfig, encoder: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        wide = config.d_text != config.d_model
        self.text_projection = nn.Linear(config.d_text, config.d_model) if wide else nn.Identity()
        self.number_encoder = NumberEncoder(config.n_numbers, config.d_model, config.dropout)
        self.fusion: Any = (
            AttentiveFusion(config.d_model, config.d_mlp, config.dropout)
            if config.version == "v1"
            else AdditiveFusion(config.d_model)
        )
        sizes = config.d_model, config.n_heads, config.d_mlp, config.dropout
        self.layers = nn.ModuleList(TransformerLayer(*sizes) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.class_head = TokenHead(config.d_model, config.d_mlp, 1)
        self.matching = Matching(config.d_model) if config.matching else None
        self.number_head = TokenHead(config.d_model, config.d_mlp, config.n_regression_outputs)
        borders = torch.linspace(-REACH, REACH, config.n_buckets + 1)
        self.register_buffer("borders", borders, persistent=False)
        self.gradient_checkpointing = False
        self.set_trained()
        self.register_state_dict_post_hook(_without_frozen_encoder)
        self.register_load_state_dict_post_hook(_allow_frozen_encoder)

    def set_trained(self) -> None:
        """Have all parameters trained but the text encoder's, of which only the last
        `unfrozen_layers` are."""
        self.requires_grad_(True)
        if self.encoder is not None:
            unfreeze_last_layers(self.encoder, self.config.unfrozen_layers)

    def forward(
        self,
        feature_input_ids: Int[Tensor, "B M L"],
        feature_attention_mask: Int[Tensor, "B M L"],
        feature_num_values: Float[Tensor, "B M"] | Float[Tensor, "B M F"],
        target_token_ids: Int[Tensor, "C Lt"],
        target_attention_mask: Int[Tensor, "C Lt"],
        task_type: Task = "classification",
    ) -> Float[Tensor, "B outputs"]:
        """Return a logit per class, or the outputs for a number, from token ids.

        Strings that repeat, in whichever cells, pass through the text encoder once.
        """
        n_cells = feature_input_ids.shape[0] * feature_input_ids.shape[1]
        ids, mask = (
            _stacked(features.flatten(0, 1), targets)  # (B M + C, L)
            for features, targets in (
                (feature_input_ids, target_token_ids),
                (feature_attention_mask, target_attention_mask),
            )
        )
        distinct, places = torch.unique(
            torch.cat([ids * mask, mask], dim=1), dim=0, return_inverse=True
        )
        texts = self.encode(*distinct.chunk(2, dim=1))
        numbers = feature_num_values
        if numbers.dim() == 2:
            numbers = numbers.unsqueeze(-1)
        cells = places[:n_cells].view(feature_input_ids.shape[:2])
        return self.answer(CellBatch(cells, numbers, places[n_cells:], task_type), texts)

    def encode(self, ids: Int[Tensor, "U L"], mask: Int[Tensor, "U L"]) -> Float[Tensor, "U W"]:
        """Return the embeddings of tokenized strings, encoded in batches of similar length."""
        if self.encoder is None:
            raise ValueError(
                "this network holds no text encoder and reads embeddings: call answer(batch,"
                " texts), or build it with encoder=… (openpfn.text.model.TabSTARModel does)."
            )
        lengths = mask.sum(dim=1)
        order = lengths.argsort()
        parts = []
        for rows in order.split(ENCODED_AT_ONCE):
            longest = int(lengths[rows].max())
            parts.append(self.encoder(ids[rows, :longest], mask[rows, :longest]))
        return torch.cat(parts)[order.argsort()]

    def answer(self, batch: CellBatch, texts: Float[Tensor, "U W"]) -> Float[Tensor, "B outputs"]:
        """Return a logit per class (B, C), or the outputs for a number: its mean and, in version
        1.1, the logits of its buckets. `texts` are the embeddings that the batch points into."""
        config = self.config
        if texts.shape[1] != config.d_text or batch.numbers.shape[-1] != config.n_numbers:
            raise ValueError(
                f"got embeddings {texts.shape[1]} wide and {batch.numbers.shape[-1]} numbers per"
                f" cell; this network of version {config.version} reads {config.d_text} and"
                f" {config.n_numbers}. Use the text encoder and the version it was made for."
            )
        # encoders differ in how long their vectors are
        texts = F.layer_norm(texts, texts.shape[-1:])
        projected = self.text_projection(texts)  # (U, E)
        numbers = self.number_encoder(batch.numbers)  # (B, M, E)
        features = self.fusion(projected[batch.cells], numbers)
        targets = self._target_tokens(texts[batch.targets], projected[batch.targets])
        tokens = torch.cat([targets.expand(len(features), -1, -1), features], dim=1)
        for layer in self.layers:
            tokens = self._passed(layer, tokens)
        tokens = self.norm(tokens)
        answers, cells = tokens.tensor_split([len(targets)], dim=1)  # (B, C, E), (B, M, E)
        if batch.task == "regression":
            return self.number_head(answers[:, 0])
        logits = self.class_head(answers).squeeze(-1)
        return logits if self.matching is None else logits + self.matching(answers, cells)

    def loss(self, outputs: Float[Tensor, "B outputs"], batch: CellBatch) -> Float[Tensor, ""]:
        """Return the mean loss over the rows.

        Cross-entropy of classes; of numbers the squared error z² in version v1, and in version v1.1
        half of it plus a quarter of the buckets' cross-entropy and of their CRPS.
        """
        y = batch.y
        assert y is not None
        if batch.task == "classification":
            return F.cross_entropy(outputs, y)
        error = (outputs[:, 0] - y).square().mean()
        if self.config.version == "v1":
            return error
        bars = self.distribution(outputs)
        inside = y.clamp(-REACH, REACH)
        entropy = F.cross_entropy(bars.logits, bars.bucket(inside))
        return 0.5 * error + 0.25 * (entropy + bars.crps(inside).mean())

    def distribution(self, outputs: Float[Tensor, "B outputs"]) -> BarDistribution:
        """Return the predicted distribution of the standardised number, in version v1.1."""
        if self.config.version == "v1":
            raise ValueError(
                "a network of version v1 predicts the mean of a number alone. Use version 'v1.1'"
                " for its distribution."
            )
        return BarDistribution(outputs[:, 1:], self.borders.to(outputs.device), "bounded")

    def estimate(self, outputs: Float[Tensor, "B outputs"]) -> Float[Tensor, " B"]:
        """Return the standardised number of each row: the mean, averaged in version v1.1 with that
        of the buckets."""
        if self.config.version == "v1":
            return outputs[:, 0]
        return (outputs[:, 0] + self.distribution(outputs).mean) / 2

    def _target_tokens(
        self, texts: Float[Tensor, "C W"], projected: Float[Tensor, "C E"]
    ) -> Float[Tensor, "C E"]:
        """Return the tokens of the classes, or of the number, which are the same for every row."""
        config = self.config
        sets_apart = self.matching is not None and len(texts) > 1
        if sets_apart and config.set_apart == "texts":
            projected = self.text_projection(set_apart(texts))
        none = self.number_encoder(texts.new_zeros(len(texts), config.n_numbers))
        tokens = self.fusion(projected, none)
        return set_apart(tokens) if sets_apart and config.set_apart == "tokens" else tokens

    def _passed(self, layer: nn.Module, tokens: Tensor) -> Tensor:
        if self.gradient_checkpointing and self.training:
            return checkpoint(layer, tokens, use_reentrant=False)
        return layer(tokens)


def build(config: TextConfig) -> TextTableNetwork:
    """Return the network of `config` with fresh weights, which reads embeddings."""
    return TextTableNetwork(config)


def unfreeze_last_layers(encoder: nn.Module, n: int) -> None:
    """Freeze a text encoder but for its last `n` layers: those of its longest list of modules.

    Raises ValueError where it has fewer.
    """
    lists = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=len) if lists else nn.ModuleList()
    if n > len(layers):
        raise ValueError(
            f"unfrozen_layers is {n}, but the text encoder has {len(layers)} layers. Lower it."
        )
    encoder.requires_grad_(False)
    for layer in list(layers)[len(layers) - n :]:
        layer.requires_grad_(True)


def _stacked(first: Int[Tensor, "n L1"], second: Int[Tensor, "m L2"]) -> Int[Tensor, "N L"]:
    """Return the rows of both, filled up with zeros to the length of the longer ones."""
    longest = max(first.shape[1], second.shape[1])
    return torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in (first, second)])


def _frozen_encoder(module: Any) -> set[str]:
    """Return the names of the encoder's tensors that training does not change."""
    if module.encoder is None:
        return set()
    trained = {name for name, p in module.encoder.named_parameters() if p.requires_grad}
    return {f"encoder.{name}" for name in module.encoder.state_dict() if name not in trained}


def _without_frozen_encoder(module: Any, state: Any, prefix: str, _metadata: Any) -> None:
    for name in _frozen_encoder(module):
        state.pop(prefix + name, None)


def _allow_frozen_encoder(module: Any, incompatible: Any) -> None:
    frozen = _frozen_encoder(module)
    incompatible.missing_keys[:] = [n for n in incompatible.missing_keys if n not in frozen]
