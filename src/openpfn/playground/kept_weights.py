"""The weights of networks that keep their context, as the header that wasm/kept.c includes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from openpfn.export.c_code import number
from openpfn.models.tabular.network import TabularPFN

BLOCK = 64
"""Neighbouring weights that share a scale."""
MOST = 127


def kept_weights(model: TabularPFN, numbers: bool, block: int = BLOCK) -> str:
    """Return kept_weights.h: the sizes of `model`, and its weights in 8 bits with a scale per
    `block` of them.

    Raises ValueError for a network that wasm/kept.c does not carry.
    """
    config = model.config
    carried = {
        "attention_type": config.attention_type == "softmax" and not config.attention_options,
        "qassmax": not config.qassmax,
        "norm": config.norm == "rms",
        "scalar_embedding": config.scalar_embedding == "knots",
        "column_attention_type": config.column_attention_type == "softmax",
        "separate_query_weights": config.separate_query_weights,
        "use_ranks": config.use_ranks,
        "missing_flags": config.missing_flags,
        "categorical_flags": config.categorical_flags,
        "target_aware": config.target_aware,
        "n_thinking_rows": config.n_thinking_rows > 0,
    }
    for name, is_carried in carried.items():
        if not is_carried:
            raise ValueError(f"{name} is {getattr(config, name)!r}, which kept.c does not carry.")
    weights = in_order(model, numbers)
    padded = np.zeros(-(-len(weights) // block) * block, dtype=np.float32)
    padded[: len(weights)] = weights
    blocks = padded.reshape(-1, block)
    scales = np.abs(blocks).max(axis=1) / MOST
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    whole = np.rint(blocks / scales[:, None]).astype(np.int8)
    head = model.number_head if numbers else model.head
    sizes = {
        "NUMBERS": int(numbers),
        "D_MODEL": config.d_model,
        "N_HEADS": config.n_heads,
        "N_LAYERS": config.n_layers,
        "D_MLP": config.d_mlp,
        "N_KNOTS": config.n_knots,
        "N_THINKING": config.n_thinking_rows,
        "N_SHIFTS": len(config.column_shifts) - 1,
        "SHIFTS": "{" + ", ".join(map(str, config.column_shifts)) + "}",
        "MAX_OUTPUTS": head.n_outputs,
        "BLOCK": block,
    }
    lines = [f"#define {name} {value}" for name, value in sizes.items()]
    lines += ["typedef struct {", "    float scale;", "    int8_t weight[BLOCK];", "} block;"]
    rows = (
        f"{{{number(scale)}, {{{', '.join(map(str, row))}}}}}"
        for scale, row in zip(scales, whole.tolist(), strict=True)
    )
    return "\n".join([*lines, "static const block blocks[] = {", ",\n".join(rows), "};"]) + "\n"


def in_order(model: TabularPFN, numbers: bool) -> Float[np.ndarray, " W"]:
    """Return all weights in the order of the struct in wasm/kept.c; matrices lie as (inputs,
    outputs)."""
    config = model.config
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    parts: list[np.ndarray] = []
    scale = (config.d_model // config.n_heads) ** -0.5

    def take(name: str, factor: float = 1.0) -> None:
        tensor = state[name] * np.float32(factor)
        is_linear = name.endswith(".weight") and not name.endswith("classes.weight")
        parts.append(tensor.T if is_linear else tensor)

    take("cell_encoder.embed.weight")
    for i in range(len(config.column_shifts) - 1):
        take(f"cell_encoder.embed_neighbours.{i}.weight")
    take("cell_encoder.embed.bias")
    for encoder in (
        ("number_encoder", "number_hint_encoder") if numbers else ("target_encoder", "hint_encoder")
    ):
        for name in ("embed.weight", "embed.bias") if numbers else ("classes.weight",):
            take(f"{encoder}.{name}")
        take(f"{encoder}.unknown")
        take(f"{encoder}.evidence")
    take("thinking_cells")
    take("thinking_targets")
    for i in range(config.n_layers):
        for kind in ("column_attention", "row_attention"):
            take(f"layers.{i}.{kind}.to_query.weight", scale)
            take(f"layers.{i}.{kind}.to_key_value.weight")
            take(f"layers.{i}.{kind}.to_out.weight")
        for name in ("hidden.weight", "hidden.bias", "out.weight", "out.bias"):
            take(f"layers.{i}.mlp.{name}")
    for i in range(config.n_layers - 1):
        take(f"layers.{i}.row_attention.read_query.weight", scale)
        take(f"layers.{i}.row_attention.read_out.weight")
    for name in ("hidden.weight", "hidden.bias", "out.weight", "out.bias"):
        take(f"{'number_head' if numbers else 'head'}.{name}")
    return np.concatenate([part.astype(np.float32).ravel() for part in parts])
