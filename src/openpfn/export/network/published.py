"""Imported networks with linear attention (TinyPFN) in C."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from openpfn.configs.published import PublishedConfig
from openpfn.export.network.family import Family, Macros
from openpfn.export.network.mechanisms import RowMechanism, Weights
from openpfn.export.options import Backend

Array = np.ndarray


class PublishedFamily(Family):
    """Networks of `PublishedConfig` with linear attention: each part is added, then normalised;
    classes are numbers."""

    name: ClassVar[str] = "published"
    config: PublishedConfig

    @property
    def mechanism(self) -> RowMechanism:
        if self.config.attention_type != "linear":
            raise ValueError(
                f"attention_type is {self.config.attention_type!r}, as in nanoTabPFN; its state"
                " grows with the context rows. Of imported networks, the C code carries those with"
                " linear attention, as TinyPFN has. Import or train one of these."
            )
        return RowMechanism(
            "linear", self.config.n_heads, self.config.d_model, {"features": "relu"}
        )

    @property
    def backends(self) -> tuple[Backend, ...]:
        return tuple(one for one in self.mechanism.backends if one != "int")

    def check(self, backend: Backend) -> None:
        if backend not in self.backends:
            raise ValueError(
                f"backend is {backend!r}, whose integers carry the two-way table network alone."
                f" Imported networks take backend {' or '.join(self.backends[::-1])}."
            )
        if self.config.separate_query_weights:
            raise ValueError(
                "separate_query_weights is True, which the C code does not carry for an imported"
                " network: fit would have to keep two states for each column. Import or train one"
                " without."
            )

    def gather(self, model: Any, max_classes: int) -> Weights:
        state = {
            name: tensor.detach().cpu().float().numpy()
            for name, tensor in model.state_dict().items()
        }
        return {
            "values": line(state, "cell_encoder"),
            "targets": line(state, "target_encoder"),
            "layers": [
                layer_weights(state, f"layers.{i}", self.config)
                for i in range(self.config.n_layers)
            ],
            "head_hidden": hidden_weights(state, "head.hidden"),
            "head_out": state["head.out.weight"][:max_classes],
            "head_out_bias": state["head.out.bias"][:max_classes],
        }

    def macros(self) -> Macros:
        return {
            "PFN_CLASSES_ARE_NUMBERS": 1,
            "PFN_LEAST_FEATURE": "1e-6f",
            "PFN_LEAST_MASS": "1e-8f",
        }

    def arithmetic(self, backend: Backend) -> list[str]:
        return ["numbers_float.c"]

    def matrices(self, n_classes: int) -> list[tuple[int, int]]:
        width, hidden = self.config.d_model, self.config.d_mlp
        layers = self.layer_matrices() * self.config.n_layers
        return [*layers, (1, width), (1, width), (hidden, width), (n_classes, hidden)]

    def plain_bytes(self, n_classes: int, backend: Backend) -> int:
        config = self.config
        attention = 4 * config.d_model + 2 * config.d_model  # biases, and what normalises
        layer = 2 * attention + config.d_mlp + 3 * config.d_model
        return 4 * (2 * config.d_model + config.n_layers * layer + config.d_mlp + n_classes)

    def own_context_bytes(self) -> int:
        return np.dtype(np.float32).itemsize  # the mean of the classes

    def working_bytes(self, max_features: int, max_classes: int, backend: Backend) -> int:
        cells = 4 * (max_features + 1) * self.config.d_model
        columns = self.mechanism.state_layout(backend).itemsize
        return max(cells + columns, 4 * (3 * max_features + max_classes))

    def column_operations(self, n_columns: int, asking: int) -> int:
        one = 2 * self.config.d_model**2 + self.mechanism.state_numbers()
        return (n_columns + asking) * one

    def embedding_operations(self, n_columns: int) -> int:
        return 2 * self.config.d_model * n_columns


def line(state: dict[str, Array], name: str) -> Weights:
    """Return the line in E dimensions that embeds a number."""
    return {"slope": state[f"{name}.weight"].T, "start": state[f"{name}.bias"]}


def layer_weights(state: dict[str, Array], prefix: str, config: PublishedConfig) -> Weights:
    """Return the weights of one layer."""
    return {
        "columns": attention_weights(state, prefix, "column", config),
        "rows": attention_weights(state, prefix, "row", config),
        "hidden": hidden_weights(state, f"{prefix}.hidden"),
        "out": state[f"{prefix}.out.weight"],
        "out_bias": state[f"{prefix}.out.bias"],
        "norm": norm_weights(state, f"{prefix}.mlp_norm"),
    }


def attention_weights(
    state: dict[str, Array], prefix: str, kind: str, config: PublishedConfig
) -> Weights:
    """Return the weights of one attention; the 1/√(head width) of the features is folded into those
    of queries and keys."""
    scale = np.float32((config.d_model // config.n_heads) ** -0.5)
    scales = np.repeat([scale, np.float32(1)], config.d_model)  # (2 E), keys, then values
    own = f"{prefix}.{kind}_attention"
    return {
        "query": state[f"{own}.to_query.weight"] * scale,
        "query_bias": state[f"{own}.to_query.bias"] * scale,
        "key_value": state[f"{own}.to_key_value.weight"] * scales[:, None],
        "key_value_bias": state[f"{own}.to_key_value.bias"] * scales,
        "out": state[f"{own}.to_out.weight"],
        "out_bias": state[f"{own}.to_out.bias"],
        "norm": norm_weights(state, f"{prefix}.{kind}_norm"),
    }


def hidden_weights(state: dict[str, Array], name: str) -> Weights:
    """Return the weights of the inner half of an MLP."""
    return {"weight": state[f"{name}.weight"], "bias": state[f"{name}.bias"]}


def norm_weights(state: dict[str, Array], name: str) -> Weights:
    """Return what a normalisation multiplies and adds."""
    return {"scale": state[f"{name}.weight"], "shift": state[f"{name}.bias"]}
