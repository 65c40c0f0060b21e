"""The pre-norm transformer of the sequence networks: any mask with hook points, and shorter ways
for what comes often."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openpfn.configs.sequence import SequenceConfig
from openpfn.models.hooks import HookPoint

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}
LONGEST_EXPLICIT = 256
"""Rows up to which the attention of the two streams is written out; beyond, the fused kernel needs
less memory."""


class KeysAndValues(NamedTuple):
    """Keys and values of the tokens that later ones read, in buffers with room for those to
    come."""

    key: Float[Tensor, "B H T K"]
    value: Float[Tensor, "B H T K"]


class Norm(nn.Module):
    """LayerNorm or RMSNorm with gain (and bias)."""

    eps = 1e-5

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.centred = config.normalization_type == "LN"
        self.w = nn.Parameter(torch.ones(config.d_model))
        self.b = nn.Parameter(torch.zeros(config.d_model)) if self.centred else None
        self.hook_scale = HookPoint()
        self.hook_normalized = HookPoint()

    def forward(self, x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        if self.hook_scale.has_hooks or self.hook_normalized.has_hooks:
            return self.hooked(x)
        if self.centred:
            return F.layer_norm(x, x.shape[-1:], self.w, self.b, self.eps)
        return F.rms_norm(x, x.shape[-1:], self.w, self.eps)

    def hooked(self, x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        if self.centred:
            x = x - x.mean(dim=-1, keepdim=True)
        scale = self.hook_scale((x.square().mean(dim=-1, keepdim=True) + self.eps).sqrt())
        normalized = x / scale * self.w
        return self.hook_normalized(normalized if self.b is None else normalized + self.b)


class Attention(nn.Module):
    """Multi-head softmax attention, in four forms that give the same numbers."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        assert config.d_head is not None
        self.n_heads, self.d_head = config.n_heads, config.d_head
        self.to_qkv = nn.Linear(config.d_model, 3 * self.n_heads * self.d_head)
        self.to_out = nn.Linear(self.n_heads * self.d_head, config.d_model)
        nn.init.normal_(self.to_qkv.weight, std=config.d_model**-0.5)
        nn.init.zeros_(self.to_qkv.bias)
        nn.init.zeros_(
            self.to_out.weight
        )  # at the start a layer passes the residual stream on unchanged
        nn.init.zeros_(self.to_out.bias)
        self.hook_q = HookPoint()
        self.hook_k = HookPoint()
        self.hook_v = HookPoint()
        self.hook_attn_scores = HookPoint()
        self.hook_pattern = HookPoint()
        self.hook_z = HookPoint()
        self.hook_result = HookPoint()

    def forward(
        self, x: Float[Tensor, "B T E"], allowed: Bool[Tensor, "T T"] | None
    ) -> Float[Tensor, "B T E"]:
        """Token i reads tokens j where `allowed[i, j]`; None is causal."""
        q, k, v = self.split(self.to_qkv(x))  # each (B, H, T, K)
        return self.merge(
            F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, is_causal=allowed is None)
        )

    def hooked(
        self, x: Float[Tensor, "B T E"], allowed: Bool[Tensor, "T T"]
    ) -> Float[Tensor, "B T E"]:
        """`forward` written out, through the hook points; q, k, v and z are (B, T, H, K), scores
        and pattern (B, H, T, T)."""
        q, k, v = (
            self.to_qkv(x).unflatten(-1, (3, self.n_heads, self.d_head)).unbind(dim=2)
        )  # each (B, T, H, K)
        q, k, v = self.hook_q(q), self.hook_k(k), self.hook_v(v)
        scores = torch.einsum("bihk,bjhk->bhij", q, k) * self.d_head**-0.5
        scores = self.hook_attn_scores(scores.masked_fill(~allowed, -torch.inf))
        pattern = self.hook_pattern(scores.softmax(dim=-1))
        z = self.hook_z(torch.einsum("bhij,bjhk->bihk", pattern, v))
        if self.hook_result.has_hooks:
            return (
                self.hook_result(torch.einsum("bihk,hke->bihe", z, self.W_O)).sum(dim=2) + self.b_O
            )
        return self.to_out(z.flatten(2))

    def two_streams(
        self, x: Float[Tensor, "B N E"], y: Float[Tensor, "B N E"], last: bool
    ) -> tuple[Float[Tensor, "B N E"], Float[Tensor, "B N E"] | None]:
        """Return what the tokens x_i and (x_i, y_i) take under the mask "autoregressive-pfn", with
        N keys in place of 2 N.

        In the last layer nobody reads what the (x, y) tokens take: None.
        """
        n = x.shape[1]
        qx, kx, vx = self.split(self.to_qkv(x))  # each (B, H, N, K)
        qy, ky, vy = self.split_for_last(y) if last else self.split(self.to_qkv(y))
        if n > LONGEST_EXPLICIT:
            before = torch.ones(n, n, dtype=torch.bool, device=x.device).tril(-1)
            allowed = torch.cat(
                [before, torch.eye(n, dtype=torch.bool, device=x.device)], dim=1
            )  # (N, 2 N)
            to_x = F.scaled_dot_product_attention(
                qx, torch.cat([ky, kx], 2), torch.cat([vy, vx], 2), attn_mask=allowed
            )
            to_y = (
                None if qy is None else F.scaled_dot_product_attention(qy, ky, vy, is_causal=True)
            )
            return self.merge(to_x), None if to_y is None else self.merge(to_y)
        # x_i reads the pairs before it and itself: row i of the causal scores with its own in the
        # diagonal's place
        causal = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        itself = torch.eye(n, dtype=torch.bool, device=x.device)
        scores = torch.where(itself, (qx * kx).sum(dim=-1, keepdim=True), qx @ ky.transpose(-1, -2))
        pattern = (
            (scores * self.d_head**-0.5).masked_fill(~causal, -torch.inf).softmax(dim=-1)
        )  # (B, H, N, N)
        own = pattern.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)  # (B, H, N, 1)
        to_x = pattern @ vy + own * (vx - vy)
        if qy is None:
            return self.merge(to_x), None
        pattern = (
            (qy @ ky.transpose(-1, -2) * self.d_head**-0.5)
            .masked_fill(~causal, -torch.inf)
            .softmax(dim=-1)
        )
        return self.merge(to_x), self.merge(pattern @ vy)

    def step(
        self, new: Float[Tensor, "B m E"], cache: KeysAndValues, n_seen: int, last: bool
    ) -> Float[Tensor, "B a E"]:
        """Return what the `m` new tokens take from the `n_seen` cached ones and, causally, each
        other; their keys and values enter the cache.

        In the last layer only the last token asks: a = 1, else a = m.
        """
        end, n_asking = n_seen + new.shape[1], 1 if last else new.shape[1]
        width = self.n_heads * self.d_head
        k, v = (
            F.linear(new, self.to_qkv.weight[width:], self.to_qkv.bias[width:])
            .unflatten(-1, (2, self.n_heads, self.d_head))
            .unbind(2)
        )
        cache.key[:, :, n_seen:end], cache.value[:, :, n_seen:end] = (
            k.transpose(1, 2),
            v.transpose(1, 2),
        )
        q = F.linear(new[:, -n_asking:], self.to_qkv.weight[:width], self.to_qkv.bias[:width])
        q = q.unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)  # (B, H, a, K)
        scores = q @ cache.key[:, :, :end].transpose(-1, -2) * self.d_head**-0.5  # (B, H, a, end)
        if n_asking > 1:
            later = torch.ones(n_asking, end, dtype=torch.bool, device=q.device).triu(n_seen + 1)
            scores = scores.masked_fill(later, -torch.inf)
        return self.merge(scores.softmax(dim=-1) @ cache.value[:, :, :end])

    def split(self, qkv: Float[Tensor, "B T three_HK"]) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (
            qkv.unflatten(-1, (3, self.n_heads, self.d_head)).permute(2, 0, 3, 1, 4).unbind(dim=0)
        )
        return q, k, v

    def split_for_last(self, y: Float[Tensor, "B N E"]) -> tuple[None, Tensor, Tensor]:
        """Keys and values alone."""
        width = self.n_heads * self.d_head
        kv = F.linear(y, self.to_qkv.weight[width:], self.to_qkv.bias[width:])
        k, v = kv.unflatten(-1, (2, self.n_heads, self.d_head)).permute(2, 0, 3, 1, 4).unbind(dim=0)
        return None, k, v

    def merge(self, heads: Float[Tensor, "B H T K"]) -> Float[Tensor, "B T E"]:
        return self.to_out(heads.transpose(1, 2).flatten(2))

    @property
    def W_O(self) -> Float[Tensor, "H K E"]:
        return self.to_out.weight.t().unflatten(0, (self.n_heads, self.d_head))

    @property
    def b_O(self) -> Float[Tensor, " E"]:
        return self.to_out.bias

    @property
    def W_Q(self) -> Float[Tensor, "H E K"]:
        return self._part(0)

    @property
    def W_K(self) -> Float[Tensor, "H E K"]:
        return self._part(1)

    @property
    def W_V(self) -> Float[Tensor, "H E K"]:
        return self._part(2)

    @property
    def b_Q(self) -> Float[Tensor, "H K"]:
        return self.to_qkv.bias.unflatten(0, (3, self.n_heads, self.d_head))[0]

    @property
    def b_K(self) -> Float[Tensor, "H K"]:
        return self.to_qkv.bias.unflatten(0, (3, self.n_heads, self.d_head))[1]

    @property
    def b_V(self) -> Float[Tensor, "H K"]:
        return self.to_qkv.bias.unflatten(0, (3, self.n_heads, self.d_head))[2]

    def _part(self, index: int) -> Float[Tensor, "H E K"]:
        return self.to_qkv.weight.unflatten(0, (3, self.n_heads, self.d_head))[index].transpose(
            1, 2
        )


class SequenceMLP(nn.Module):
    """Linear, nonlinearity, linear."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        assert config.d_mlp is not None
        self.act = ACTIVATIONS[config.act_fn]
        self.to_hidden = nn.Linear(config.d_model, config.d_mlp)
        self.to_out = nn.Linear(config.d_mlp, config.d_model)
        nn.init.normal_(self.to_hidden.weight, std=config.d_model**-0.5)
        nn.init.zeros_(self.to_hidden.bias)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)
        self.hook_pre, self.hook_post = HookPoint(), HookPoint()

    def forward(self, x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        return self.to_out(self.act(self.to_hidden(x)))

    def hooked(self, x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
        return self.to_out(self.hook_post(self.act(self.hook_pre(self.to_hidden(x)))))

    @property
    def W_in(self) -> Float[Tensor, "E M"]:
        return self.to_hidden.weight.t()

    @property
    def W_out(self) -> Float[Tensor, "M E"]:
        return self.to_out.weight.t()

    @property
    def b_in(self) -> Float[Tensor, " M"]:
        return self.to_hidden.bias

    @property
    def b_out(self) -> Float[Tensor, " E"]:
        return self.to_out.bias


class Block(nn.Module):
    """x + attention(norm(x)), then + MLP(norm(x))."""

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.ln1, self.attn = Norm(config), Attention(config)
        self.ln2, self.mlp = Norm(config), SequenceMLP(config)
        self.hook_resid_pre = HookPoint()
        self.hook_attn_out = HookPoint()
        self.hook_resid_mid = HookPoint()
        self.hook_mlp_out = HookPoint()
        self.hook_resid_post = HookPoint()

    def forward(
        self, x: Float[Tensor, "B T E"], allowed: Bool[Tensor, "T T"] | None
    ) -> Float[Tensor, "B T E"]:
        return self.finish(x + self.attn(self.ln1(x), allowed))

    def hooked(
        self, x: Float[Tensor, "B T E"], allowed: Bool[Tensor, "T T"]
    ) -> Float[Tensor, "B T E"]:
        x = self.hook_resid_pre(x)
        x = self.hook_resid_mid(x + self.hook_attn_out(self.attn.hooked(self.ln1(x), allowed)))
        return self.hook_resid_post(x + self.hook_mlp_out(self.mlp.hooked(self.ln2(x))))

    def two_streams(
        self, x: Float[Tensor, "B N E"], y: Float[Tensor, "B N E"], last: bool
    ) -> tuple[Float[Tensor, "B N E"], Float[Tensor, "B N E"]]:
        to_x, to_y = self.attn.two_streams(self.ln1(x), self.ln1(y), last)
        return self.finish(x + to_x), y if to_y is None else self.finish(y + to_y)

    def step(
        self, new: Float[Tensor, "B m E"], cache: KeysAndValues, n_seen: int, last: bool
    ) -> Float[Tensor, "B a E"]:
        taken = self.attn.step(self.ln1(new), cache, n_seen, last)
        return self.finish(new[:, -taken.shape[1] :] + taken)

    def finish(self, x: Float[Tensor, "B T E"]) -> Float[Tensor, "B T E"]:
        return x + self.mlp(self.ln2(x))


class Unembed(nn.Linear):
    """From the normalised residual stream to logits, nothing at the start."""

    def __init__(self, d_model: int, n_outputs: int) -> None:
        super().__init__(d_model, n_outputs)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    @property
    def W_U(self) -> Float[Tensor, "E V"]:
        return self.weight.t()

    @property
    def b_U(self) -> Float[Tensor, " V"]:
        return self.bias
