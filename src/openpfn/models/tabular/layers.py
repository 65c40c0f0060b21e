"""One layer of the two-way table network: columns attend, rows attend, an MLP."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openpfn import registry
from openpfn.attention.base import RowAttention, State
from openpfn.configs.tabular import TabularConfig
from openpfn.models.hooks import HookPoint

BYTES_PER_TILE = 2**22
"""Cells handled at once where a long context goes a few rows at a time: more fall out of a CPU's
caches, and memory grows with them."""


class TwoWayLayer(nn.Module):
    """Pre-norm residual layer on cells (B, C, N, E): tasks, columns with the target last, rows,
    width."""

    def __init__(self, config: TabularConfig, is_last: bool = False, layer: int = 0) -> None:
        super().__init__()
        attention: type[RowAttention] = registry.find(
            "attention", config.attention_type, RowAttention
        )
        self.column_norm = make_norm(config)
        self.column_attention = make_column_attention(config, layer)
        self.row_norm = make_norm(config)
        # in the last layer only query rows ask: weights for context rows would never be used
        separate = config.separate_query_weights and not is_last
        self.row_attention = attention.build(
            config.d_model,
            config.n_heads,
            config.attention_options,
            separate_query_weights=separate,
            layer=layer,
            qassmax=config.qassmax,
        )
        self.mlp_norm = make_norm(config)
        self.mlp = MLP(config.d_model, config.d_mlp)
        self.hook_resid_pre = HookPoint()
        self.hook_columns_out = HookPoint()
        self.hook_rows_out = HookPoint()
        self.hook_mlp_out = HookPoint()
        self.hook_resid_post = HookPoint()
        if self.row_attention.shows_pattern:
            self.hook_row_pattern = HookPoint()

    def forward(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> tuple[Float[Tensor, "B C N E"], State]:
        """Context (the first `n_context` rows) and query rows together; also the state that the
        context leaves."""
        cells = cells + self.column_attention(self.column_norm(cells), columns)
        mixed, state = self.row_attention(
            self.row_norm(cells).flatten(0, 1), n_context
        )  # (B·C, N, E)
        cells = cells + mixed.view_as(cells)
        return cells + self.mlp(self.mlp_norm(cells)), state

    def hooked(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> Float[Tensor, "B C N E"]:
        """`forward` through the hook points."""
        cells = self.hook_resid_pre(cells)
        cells = cells + self.hook_columns_out(
            self.column_attention(self.column_norm(cells), columns)
        )
        mixed = self.mix_hooked(self.row_norm(cells).flatten(0, 1), n_context)  # (B·C, N, E)
        cells = cells + self.hook_rows_out(mixed.view_as(cells))
        return self.hook_resid_post(cells + self.hook_mlp_out(self.mlp(self.mlp_norm(cells))))

    def mix_hooked(self, rows: Float[Tensor, "G N E"], n_context: int) -> Float[Tensor, "G N E"]:
        """Attention between rows, by way of its pattern (G, H, N, n_context) where that is asked
        for."""
        attention = self.row_attention
        if attention.shows_pattern and self.hook_row_pattern.has_hooks:
            return attention.with_pattern(rows, n_context, self.hook_row_pattern)
        return attention(rows, n_context)[0]

    def tiled(
        self, cells: Float[Tensor, "B C n E"], columns: Bool[Tensor, "B C"] | None
    ) -> tuple[Float[Tensor, "B C n E"], State]:
        """`forward` for context rows alone. Without gradients it goes a few rows at a time and
        overwrites `cells`.

        Beside `cells` it then needs the state and about 64 MB. A mechanism whose rows read each
        other beyond the state (`mixes_rows_alone` is False), or whose states do not merge, sees the
        rows in one piece and needs that much more.
        """
        if torch.is_grad_enabled():
            return self(cells, columns, cells.shape[2])
        attention, partial = self.row_attention, []
        tiles = cells.split(rows_per_tile(cells), dim=2)
        for tile in tiles:
            tile += self.column_attention(self.column_norm(tile), columns)
            if attention.can_merge:
                partial.append(attention.summarize(self.row_norm(tile).flatten(0, 1)))
        state = self.finalized(partial or [attention.summarize(self.row_norm(cells).flatten(0, 1))])
        for part in tiles if attention.mixes_rows_alone else [cells]:
            part += attention.mix(self.row_norm(part).flatten(0, 1), state).view(
                part.shape
            )  # (B, C, tile, E)
        for tile in tiles:
            tile += self.mlp(self.mlp_norm(tile))
        return cells, state

    def read(
        self, cells: Float[Tensor, "B C Q E"], columns: Bool[Tensor, "B C"] | None, state: State
    ) -> Float[Tensor, "B C Q E"]:
        """Query rows alone, given the state of the context."""
        cells = cells + self.column_attention(self.column_norm(cells), columns)
        read = self.row_attention.read(self.row_norm(cells).flatten(0, 1), state)  # (B·C, Q, E)
        cells = cells + read.view_as(cells)
        return cells + self.mlp(self.mlp_norm(cells))

    def last(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None, n_context: int
    ) -> tuple[Float[Tensor, "B Q E"], State]:
        """What `forward` gives for the query rows' targets, without computing the cells that nobody
        reads."""
        targets = self.targets(cells, columns)  # (B, N, E)
        normed = self.row_norm(targets)
        state = self.row_attention.finalize(self.row_attention.summarize(normed[:, :n_context]))
        return self.finish(targets[:, n_context:], normed[:, n_context:], state), state

    def last_tiled(
        self, cells: Float[Tensor, "B C n E"], columns: Bool[Tensor, "B C"] | None
    ) -> State:
        """The state that `last` gives for context rows alone; without gradients a few rows at a
        time."""
        size = cells.shape[2] if torch.is_grad_enabled() else rows_per_tile(cells)
        normed = (
            self.row_norm(self.targets(tile, columns)) for tile in cells.split(size, dim=2)
        )  # each (B, tile, E)
        if self.row_attention.can_merge:
            return self.finalized([self.row_attention.summarize(rows) for rows in normed])
        return self.finalized([self.row_attention.summarize(torch.cat(list(normed), dim=1))])

    def finalized(self, states: list[State]) -> State:
        """The state of all rows from the states of consecutive parts of them, merged in pairs: sums
        of equals lose least."""
        while len(states) > 1:
            pairs = zip(states[::2], states[1::2], strict=False)
            states = [self.row_attention.merge(a, b) for a, b in pairs] + (
                states[-1:] if len(states) % 2 else []
            )
        return self.row_attention.finalize(states[0])

    def last_read(
        self, cells: Float[Tensor, "B C Q E"], columns: Bool[Tensor, "B C"] | None, state: State
    ) -> Float[Tensor, "B Q E"]:
        """`read`, for the targets only."""
        targets = self.targets(cells, columns)  # (B, Q, E)
        return self.finish(targets, self.row_norm(targets), state)

    def targets(
        self, cells: Float[Tensor, "B C N E"], columns: Bool[Tensor, "B C"] | None
    ) -> Float[Tensor, "B N E"]:
        attended = self.column_attention(self.column_norm(cells), columns, last_column_only=True)
        return cells[:, -1] + attended.squeeze(1)

    def finish(
        self, targets: Float[Tensor, "B Q E"], normed: Float[Tensor, "B Q E"], state: State
    ) -> Float[Tensor, "B Q E"]:
        targets = targets + self.row_attention.read(normed, state)
        return targets + self.mlp(self.mlp_norm(targets))


def rows_per_tile(cells: Float[Tensor, "B C n E"]) -> int:
    """Rows whose cells take `BYTES_PER_TILE`."""
    return max(1, cells.shape[2] * BYTES_PER_TILE // (cells.numel() * cells.element_size()))


class ColumnAttention(nn.Module):
    """Softmax attention between the columns of each row; padded columns are never read."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads, self.d_head = n_heads, d_model // n_heads
        self.to_query = nn.Linear(d_model, d_model, bias=False)
        self.to_key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.to_out = nn.Linear(d_model, d_model, bias=False)
        nn.init.zeros_(self.to_out.weight)
        self.hook_pattern = HookPoint()

    def forward(
        self,
        cells: Float[Tensor, "B C N E"],
        columns: Bool[Tensor, "B C"] | None,
        last_column_only: bool = False,
    ) -> Float[Tensor, "B A N E"]:
        asking = cells[:, -1:] if last_column_only else cells  # (B, A, N, E)
        q = self.split_heads(self.to_query(asking)) * self.d_head**-0.5  # (B, N, H, A, K)
        key, value = self.to_key_value(cells).chunk(2, dim=-1)
        with torch.autocast(
            q.device.type, enabled=False
        ):  # autocast would widen the softmax to float32
            scores = q @ self.split_heads(key).transpose(-1, -2)  # (B, N, H, A, C)
            if columns is not None:
                scores = scores.masked_fill(~columns[:, None, None, None, :], -torch.inf)
            pattern = scores.softmax(dim=-1)
            if self.hook_pattern.has_hooks:
                pattern = self.hook_pattern(pattern)
            heads = pattern @ self.split_heads(value)  # (B, N, H, A, K)
        return self.to_out(heads.permute(0, 3, 1, 2, 4).flatten(3))  # (B, A, N, E)

    def split_heads(self, cells: Float[Tensor, "B C N E"]) -> Float[Tensor, "B N H C K"]:
        return cells.unflatten(-1, (self.n_heads, self.d_head)).permute(0, 2, 3, 1, 4)


class SwappedColumnAttention(nn.Module):
    """A mechanism of `openpfn.attention` between the columns of each row; padded columns are never
    read."""

    def __init__(self, mechanism: RowAttention) -> None:
        super().__init__()
        self.mechanism = mechanism

    def forward(
        self,
        cells: Float[Tensor, "B C N E"],
        columns: Bool[Tensor, "B C"] | None,
        last_column_only: bool = False,
    ) -> Float[Tensor, "B A N E"]:
        if columns is None:
            return self.attend(cells, last_column_only)
        widths = columns.sum(dim=1)
        out = None
        for (
            width
        ) in widths.unique().tolist():  # tasks of one width go together, without their padding
            tasks = (widths == width).nonzero()  # (b, 1)
            present = columns[tasks.squeeze(1)].nonzero()[:, 1].view(-1, width)  # (b, C')
            taken = self.attend(cells[tasks, present], last_column_only)  # (b, A', N, E)
            if out is None:
                out = taken.new_zeros(
                    len(cells), 1 if last_column_only else cells.shape[1], *taken.shape[2:]
                )
            out[tasks, torch.zeros_like(tasks) if last_column_only else present] = taken
        assert out is not None
        return out

    def attend(
        self, cells: Float[Tensor, "B C N E"], last_column_only: bool
    ) -> Float[Tensor, "B A N E"]:
        groups = cells.transpose(1, 2).flatten(0, 1)  # (B·N, C, E)
        state = self.mechanism.finalize(self.mechanism.summarize(groups))
        alone = last_column_only and self.mechanism.mixes_rows_alone
        taken = self.mechanism.mix(groups[:, -1:] if alone else groups, state)  # (B·N, A, E)
        if last_column_only:
            taken = taken[:, -1:]
        return taken.unflatten(0, (len(cells), cells.shape[2])).transpose(1, 2)  # (B, A, N, E)


def make_column_attention(
    config: TabularConfig, layer: int
) -> ColumnAttention | SwappedColumnAttention:
    """The attention between columns that `config` names."""
    found: type[RowAttention] = registry.find(
        "attention", config.column_attention_type, RowAttention
    )
    if found.is_plain_softmax and not config.column_attention_options:
        return ColumnAttention(
            config.d_model, config.n_heads
        )  # the same, and faster for a few columns
    return SwappedColumnAttention(
        found.build(config.d_model, config.n_heads, config.column_attention_options, layer=layer)
    )


class MLP(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, d_model: int, d_mlp: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(d_model, d_mlp)
        self.out = nn.Linear(d_mlp, d_model)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, cells: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        return self.out(F.gelu(self.hidden(cells)))


def make_norm(config: TabularConfig) -> nn.Module:
    """The normalisation that `config.norm` names."""
    if config.norm == "rms":
        return RMSNorm()
    return nn.LayerNorm(config.d_model, elementwise_affine=False)


class RMSNorm(nn.Module):
    """x / √mean(x²) over the last axis (Zhang & Sennrich 2019), without a gain: the next linear map
    absorbs it."""

    eps = 1e-6

    def forward(self, x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        if torch.compiler.is_compiling():  # the compiler fuses the plain operations by itself
            return F.rms_norm(x, x.shape[-1:], eps=self.eps)
        dtype = (
            torch.get_autocast_dtype(x.device.type)
            if torch.is_autocast_enabled(x.device.type)
            else x.dtype
        )
        if not torch.is_grad_enabled():
            return x.to(dtype) * inverse_rms(x, self.eps).to(dtype)
        return _RMSNorm.apply(x, dtype, self.eps)


def inverse_rms(x: Float[Tensor, "... E"], eps: float) -> Float[Tensor, "... 1"]:
    """1 / √(mean(x²) + eps) over the last axis, in float32 at least."""
    norm = torch.linalg.vector_norm(
        x, dim=-1, keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32)
    )
    return norm.square_().mul_(1 / x.shape[-1]).add_(eps).rsqrt_()


class _RMSNorm(torch.autograd.Function):
    """Five times faster on a CPU than `F.rms_norm`, whose backward pass is a chain of small
    operations."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dtype: torch.dtype, eps: float) -> Tensor:
        scale = inverse_rms(x, eps).to(dtype)
        y = x.to(dtype) * scale
        ctx.save_for_backward(y, scale)
        ctx.input_dtype = x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        y, scale = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, y).unsqueeze(-1) / y.shape[-1]
        return (
            torch.addcmul(grad, y, along.to(y.dtype), value=-1).mul_(scale).to(ctx.input_dtype),
            None,
            None,
        )
