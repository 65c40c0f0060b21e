"""The published networks, written plainly from their description, and state dicts of their names
and shapes."""

from __future__ import annotations

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def random_weights(
    kind: str,
    d_model: int = 8,
    d_mlp: int = 12,
    n_layers: int = 2,
    n_outputs: int = 3,
    seed: int = 0,
    rows: tuple[str, ...] = ("datapoints",),
) -> Weights:
    """A state dict as the published code saves it, with random values; `rows` names its attentions
    between rows."""
    generator = torch.Generator().manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, n_in: int, n_out: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (n_out, n_in), (n_out,)

    linear("feature_encoder.linear_layer", 1, d_model)
    linear("target_encoder.linear_layer", 1, d_model)
    for i in range(n_layers):
        block = f"transformer_blocks.{i}"
        for attention in (*rows, "features"):
            name = f"{block}.self_attention_between_{attention}"
            if kind == "nanotabpfn":
                shapes[f"{name}.in_proj_weight"], shapes[f"{name}.in_proj_bias"] = (
                    (3 * d_model, d_model),
                    (3 * d_model,),
                )
            else:
                for letter in "qkv":
                    linear(f"{name}.{letter}_proj", d_model, d_model)
            linear(f"{name}.out_proj", d_model, d_model)
        linear(f"{block}.linear1", d_model, d_mlp)
        linear(f"{block}.linear2", d_mlp, d_model)
        for norm in ("norm1", "norm2", "norm3"):
            shapes[f"{block}.{norm}.weight"] = shapes[f"{block}.{norm}.bias"] = (d_model,)
    linear("decoder.linear1", d_model, d_mlp)
    linear("decoder.linear2", d_mlp, n_outputs)
    weights = {
        name: torch.randn(shape, generator=generator) * 0.4 for name, shape in shapes.items()
    }
    return {
        name: 1 + w if ".norm" in name and name.endswith("weight") else w
        for name, w in weights.items()
    }


def plain_logits(
    weights: Weights, kind: str, n_heads: int, x: Tensor, y: Tensor, n_train: int
) -> Tensor:
    """What the published network answers for one task: x (N, D), y of the context rows (n,), logits
    (N − n, outputs)."""

    def linear(name: str, v: Tensor) -> Tensor:
        return v @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name: str, v: Tensor) -> Tensor:
        z = (v - v.mean(-1, keepdim=True)) / (v.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
        return z * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(v: Tensor) -> Tensor:
        return v * 0.5 * (1 + torch.erf(v / 2**0.5))

    def attend(name: str, asking: Tensor, read: Tensor) -> Tensor:
        """Rows `asking` (a, E) read rows `read` (b, E)."""
        if kind == "nanotabpfn":
            parts = zip(
                weights[f"{name}.in_proj_weight"].chunk(3),
                weights[f"{name}.in_proj_bias"].chunk(3),
                strict=True,
            )
            (wq, bq), (wk, bk), (wv, bv) = parts
            q, k, v = asking @ wq.T + bq, read @ wk.T + bk, read @ wv.T + bv
        else:
            q, k, v = (
                linear(f"{name}.q_proj", asking),
                linear(f"{name}.k_proj", read),
                linear(f"{name}.v_proj", read),
            )
        heads = []
        width = q.shape[1] // n_heads
        for head in range(n_heads):
            at = slice(head * width, (head + 1) * width)
            if kind == "nanotabpfn":
                mass = torch.exp(q[:, at] @ k[:, at].T / width**0.5)  # (a, b)
            else:
                mass = (torch.relu(q[:, at] / width**0.5) + 1e-6) @ (
                    torch.relu(k[:, at] / width**0.5) + 1e-6
                ).T
            heads.append(
                mass @ v[:, at] / (mass.sum(1, keepdim=True) + (1e-8 if kind == "tinypfn" else 0))
            )
        return linear(f"{name}.out_proj", torch.cat(heads, dim=1))

    separate = any("datapoints_test" in name for name in weights)
    context = x[:n_train]
    z = ((x - context.mean(0)) / context.std(0, unbiased=True)).clamp(-100, 100)
    y_all = torch.cat([y, y.mean().expand(len(x) - n_train)])
    cells = torch.cat(
        [
            linear("feature_encoder.linear_layer", z[:, :, None]),
            linear("target_encoder.linear_layer", y_all[:, None, None]),
        ],
        dim=1,
    )  # (N, C, E)
    n_layers = 1 + max(
        int(name.split(".")[1]) for name in weights if name.startswith("transformer_blocks")
    )
    for i in range(n_layers):
        block = f"transformer_blocks.{i}"
        between_features = torch.stack(
            [attend(f"{block}.self_attention_between_features", row, row) for row in cells]
        )
        cells = norm(f"{block}.norm1", cells + between_features)
        between_rows = f"{block}.self_attention_between_datapoints"
        columns = [
            torch.cat(
                [
                    attend(
                        f"{between_rows}{'_train' * separate}",
                        cells[:n_train, c],
                        cells[:n_train, c],
                    ),
                    attend(
                        f"{between_rows}{'_test' * separate}",
                        cells[n_train:, c],
                        cells[:n_train, c],
                    ),
                ]
            )
            for c in range(cells.shape[1])
        ]
        cells = norm(f"{block}.norm2", cells + torch.stack(columns, dim=1))
        cells = norm(
            f"{block}.norm3",
            cells + linear(f"{block}.linear2", gelu(linear(f"{block}.linear1", cells))),
        )
    return linear("decoder.linear2", gelu(linear("decoder.linear1", cells[n_train:, -1])))
