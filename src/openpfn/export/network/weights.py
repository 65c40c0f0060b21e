"""The weights of a table network as the C structs name and lay them out."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.mechanisms import RowMechanism, Weights, row_mechanism
from openpfn.export.network.quantize import quantise_rows

Array = np.ndarray


def separate_reading(config: TabularConfig) -> bool:
    """Return whether query rows have weights of their own anywhere: the last layer never needs
    them."""
    return config.separate_query_weights and config.n_layers > 1


def gather(model: Any, max_classes: int) -> Weights:
    """Return the weights of the `TabularPFN` `model`, with the rows of the first `max_classes`
    classes."""
    config, mechanism = model.config, row_mechanism(model.config)
    state = {
        name: tensor.detach().cpu().float().numpy() for name, tensor in model.state_dict().items()
    }
    weights: Weights = {
        "values": value_rows(state, config),
        "targets": target_rows(state, "target_encoder", max_classes),
    }
    if config.target_aware:
        weights["hints"] = target_rows(state, "hint_encoder", max_classes)
    weights["layers"] = [
        layer_weights(state, f"layers.{i}.", config, mechanism) for i in range(config.n_layers)
    ]
    if separate_reading(config):
        prefixes = [f"layers.{i}.row_attention." for i in range(config.n_layers - 1)]
        weights["reading"] = [
            {"query": state[p + "read_query.weight"], "out": state[p + "read_out.weight"]}
            for p in prefixes
        ]
    return weights | {
        "head_hidden": {"weight": state["head.hidden.weight"], "bias": state["head.hidden.bias"]},
        "head_out": state["head.out.weight"][:max_classes],
        "head_out_bias": state["head.out.bias"][:max_classes],
    }


def n_knots(config: TabularConfig) -> int:
    """Return the number of knots of the curve that embeds a value; a straight line has two."""
    return config.n_knots if config.scalar_embedding == "knots" else 2


def value_rows(state: dict[str, Array], config: TabularConfig) -> Float[np.ndarray, "rows E"]:
    """Return the embeddings of a value at each knot, all of its parts added up, and of a missing
    value."""
    embed = state["cell_encoder.embed.weight"].T.astype(
        np.float64
    )  # (features, E): slope, knots, missing
    squashed = np.linspace(-2, 2, n_knots(config))
    curve = squashed[:, None] * embed[:1] + state["cell_encoder.embed.bias"]  # (knots, E)
    missing = embed[len(embed) - config.missing_flags :] + state["cell_encoder.embed.bias"]
    if config.scalar_embedding == "knots":
        curve += embed[1 : 1 + config.n_knots]
    return np.concatenate([curve, missing]).astype(np.float32)


def target_rows(
    state: dict[str, Array], name: str, max_classes: int
) -> Float[np.ndarray, "rows E"]:
    """Return the embeddings of the classes, of the unknown class, and of the evidence."""
    return np.concatenate(
        [
            state[f"{name}.classes.weight"][:max_classes],
            state[f"{name}.unknown"][None],
            state[f"{name}.evidence"][None],
        ]
    )


def layer_weights(
    state: dict[str, Array], prefix: str, config: TabularConfig, mechanism: RowMechanism
) -> Weights:
    """Return the weights of one layer; the softmax's 1/√(head width) is folded into those of the
    query."""
    scale = np.float32((config.d_model // config.n_heads) ** -0.5)
    weights: Weights = {"column_query": state[prefix + "column_attention.to_query.weight"] * scale}
    for ours, theirs in (("column", "column_attention."), ("row", "row_attention.")):
        if ours == "row":
            weights["row_query"] = state[prefix + theirs + "to_query.weight"]
        weights[f"{ours}_key_value"] = state[prefix + theirs + "to_key_value.weight"]
        weights[f"{ours}_out"] = state[prefix + theirs + "to_out.weight"]
    own = prefix + "row_attention."
    weights |= mechanism.description.weights(
        {name.removeprefix(own): array for name, array in state.items() if name.startswith(own)}
    )
    mlp = {
        name: state[f"{prefix}mlp.{name}"]
        for name in ("hidden.weight", "hidden.bias", "out.weight", "out.bias")
    }
    hidden = {"weight": mlp["hidden.weight"], "bias": mlp["hidden.bias"]}
    return weights | {"hidden": hidden, "out": mlp["out.weight"], "out_bias": mlp["out.bias"]}


def quantised(weights: Weights) -> Weights:
    """Return `weights` with every matrix in 8 bits."""

    def small(value: Any) -> Any:
        if isinstance(value, list):
            return [quantised(part) for part in value]
        if isinstance(value, dict):
            return quantised(value)
        return quantise_rows(value) if value.ndim == 2 else value

    return {name: small(value) for name, value in weights.items()}
