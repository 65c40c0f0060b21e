"""The two-way table network (`TabularConfig`) in C."""

from __future__ import annotations

from typing import Any, ClassVar

from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.family import Family, Macros
from openpfn.export.network.mechanisms import (
    RowMechanism,
    Weights,
    attention_name,
    backends_of,
    carried_attention,
    row_mechanism,
)
from openpfn.export.network.weights import gather, n_knots, separate_reading
from openpfn.export.options import Backend


class TabularFamily(Family):
    """Networks of `TabularConfig`: normalised before each part, softmax between columns."""

    name: ClassVar[str] = "tabular"
    config: TabularConfig

    @property
    def n_passes(self) -> int:
        return self.config.n_passes

    @property
    def mechanism(self) -> RowMechanism:
        return row_mechanism(self.config)

    @property
    def backends(self) -> tuple[Backend, ...]:
        return self.mechanism.backends

    def check(self, backend: Backend) -> None:
        config, mechanism = self.config, self.mechanism
        if backend not in mechanism.backends:
            others = [name for name in carried_attention() if backend in backends_of(name)]
            raise ValueError(
                f"attention_type is {config.attention_type!r}, whose equations need floats: the"
                f" backend {backend} carries {', '.join(others)} alone. Take backend"
                f" {' or '.join(mechanism.backends[::-1])}."
            )
        mechanism.macros()
        if config.n_loops > 1 and config.separate_query_weights:
            raise ValueError(
                f"n_loops is {config.n_loops} and separate_query_weights True: the C code carries"
                " loops of layers that query rows share with context rows. Train with"
                " separate_query_weights False, or with one loop."
            )
        columns = attention_name(config.column_attention_type)
        carried = {
            "head": config.head == "categorical",
            "column_attention_type": columns == "softmax" and not config.column_attention_options,
            "qassmax": not config.qassmax,
            "norm": config.norm == "rms",
            "n_thinking_rows": config.n_thinking_rows == 0,
            "use_ranks": not config.use_ranks,
            "categorical_flags": not config.categorical_flags,
            "column_shifts": config.column_shifts == (0,),
        }
        for name, is_carried in carried.items():
            if not is_carried:
                raise ValueError(
                    f"{name} is {getattr(config, name)!r}, which the C code does not carry. It"
                    " carries the categorical head, softmax between columns,"
                    f" {' and '.join(carried_attention())} between rows, norm rms, knots or linear,"
                    " missing_flags, target_aware and separate_query_weights,"
                    " without thinking rows, ranks, categorical flags, column shifts and qassmax."
                )

    def gather(self, model: Any, max_classes: int) -> Weights:
        return gather(model, max_classes)

    def macros(self) -> Macros:
        return {
            "PFN_N_KNOTS": n_knots(self.config),
            "PFN_MISSING_FLAG": int(self.config.missing_flags),
            "PFN_TARGET_AWARE": int(self.config.target_aware),
            "PFN_SEPARATE_QUERY_WEIGHTS": int(separate_reading(self.config)),
        }

    def arithmetic(self, backend: Backend) -> list[str]:
        if backend == "int":
            return ["tables_int.c", "numbers_int.c"]
        return ["numbers_float.c", "tabular_float.c"]

    def matrices(self, n_classes: int) -> list[tuple[int, int]]:
        config = self.config
        width, hidden = config.d_model, config.d_mlp
        tables = [(n_knots(config) + config.missing_flags, width)]
        tables += [(n_classes + 2, width)] * (1 + config.target_aware)
        n_reading = 2 * (config.n_layers - 1) if separate_reading(config) else 0
        reading = [(width, width)] * n_reading
        layers = self.layer_matrices() * config.n_layers
        return layers + tables + reading + [(hidden, width), (n_classes, hidden)]

    def plain_bytes(self, n_classes: int, backend: Backend) -> int:
        config = self.config
        n_hidden = (config.n_layers + 1) * config.d_mlp
        n_biases = n_hidden + config.n_layers * config.d_model + n_classes
        spared = 2 * n_hidden if backend == "int" else 0  # biases of hidden layers take 2 bytes
        return 4 * n_biases + config.n_layers * self.mechanism.weight_bytes() - spared

    def own_context_bytes(self) -> int:
        return 0

    def working_bytes(self, max_features: int, max_classes: int, backend: Backend) -> int:
        # a cell with its key and value, in words of 4 bytes; keys and values are shorter in
        # integers
        cell = self.config.d_model * (2 if backend == "int" else 3)
        counts = 3 * max_features * (max_classes + 1) + max_classes
        return 4 * max((max_features + 1) * (cell + 1), counts)

    def column_operations(self, n_columns: int, asking: int) -> int:
        width = self.config.d_model
        return n_columns * 2 * width**2 + asking * 2 * width * (width + n_columns)

    def embedding_operations(self, n_columns: int) -> int:
        return 3 * self.config.d_model * n_columns
