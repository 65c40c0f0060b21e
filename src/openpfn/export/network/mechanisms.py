"""Attention between rows as the C code carries it: the one description of each mechanism.

A mechanism is carried where `runtime/attention_<name>.c` exists, and in integers where
`runtime/attention_<name>_int.c` does. The header beside the source declares what a layer keeps of
the context (`pfn_state`) and which weights the mechanism has beside its projections
(`PFN_ATTENTION_WEIGHTS`); their sizes are read from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np

from openpfn import registry
from openpfn.attention.base import RowAttention
from openpfn.configs.tabular import TabularConfig
from openpfn.export.network.c_structs import fields_layout, struct_layouts
from openpfn.export.options import BACKENDS, Backend

Weights = dict[str, Any]
"""Matrices and vectors by the name of the C struct's field; a list is an array of structs."""


@dataclass(frozen=True)
class Mechanism:
    """What the C code of one attention between rows depends on; by default on its projections
    alone."""

    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Options that change the computation: the values that the C code knows, its default first.
    Each becomes a macro PFN_<OPTION>_<VALUE>, 0 or 1."""
    initial_values: tuple[str, ...] = ()
    """Options that set weights before training and mean nothing afterwards."""
    weights: Callable[[Mapping[str, np.ndarray]], Weights] = lambda parameters: {}
    """PFN_ATTENTION_WEIGHTS, out of the module's parameters by name."""


def softplus(values: np.ndarray) -> np.ndarray:
    """Return log(1 + eˣ) in float32."""
    return np.logaddexp(0, values.astype(np.float64)).astype(np.float32)


MECHANISMS: Mapping[str, Mechanism] = {
    "linear": Mechanism(choices={"features": ("elu", "relu")}),
    "ridge": Mechanism(
        initial_values=("ridge",),
        weights=lambda parameters: {"ridge": softplus(parameters["raw_ridge"])},
    ),
}
"""Mechanisms that depend on more than their projections."""


@dataclass(frozen=True)
class RowMechanism:
    """The attention between rows of one network, with the sizes that the network gives it."""

    name: str
    """The name of its file in `openpfn.attention`."""
    n_heads: int
    """Heads."""
    d_model: int
    """Width of the cells, shared out among the heads."""
    options: Mapping[str, Any]
    """The mechanism's own options."""

    @property
    def description(self) -> Mechanism:
        """What its C code depends on."""
        return MECHANISMS.get(self.name, Mechanism())

    @property
    def backends(self) -> tuple[Backend, ...]:
        """Backends for which its C code exists."""
        return backends_of(self.name)

    def source(self, backend: Backend) -> str:
        """Return the name of its C file; the header is called the same but for the suffix."""
        return source_of(self.name, backend)

    def header(self, backend: Backend) -> str:
        """Return the text of its C header."""
        return runtime(self.source(backend).removesuffix(".c") + ".h")

    def macros(self) -> dict[str, int]:
        """Return the macros that its options become. Raises ValueError for an option or a value
        that the C code does not know."""
        options = dict(self.options)
        for name in self.description.initial_values:
            options.pop(name, None)
        macros = {}
        for name, values in self.description.choices.items():
            wanted = options.pop(name, values[0])
            if wanted not in values:
                raise ValueError(
                    f"attention_options has {name} = {wanted!r}; the C code of {self.name} carries"
                    f" {' and '.join(values)}. Train a network with one of them."
                )
            macros |= {f"PFN_{name}_{one}".upper(): int(one == wanted) for one in values}
        if options:
            raise ValueError(
                f"attention_options has {', '.join(options)}, which the C code of {self.name} does"
                " not carry. Train a network without."
            )
        return macros

    def state_layout(self, backend: Backend) -> np.dtype:
        """Return the layout of what a layer keeps of one column."""
        return struct_layouts(self.header(backend), self._sizes())["pfn_state"]

    def state_numbers(self) -> int:
        """Return how many sums a layer keeps of one column."""
        layout = self.state_layout("f32")
        return layout.itemsize // np.dtype(np.float32).itemsize

    def weight_bytes(self) -> int:
        """Return the bytes of a layer's weights beside the projections."""
        found = re.search(r"#define PFN_ATTENTION_WEIGHTS(.*)", self.header("f32"))
        assert found is not None, f"the header of {self.name} names no PFN_ATTENTION_WEIGHTS"
        return fields_layout(found[1], self._sizes()).itemsize

    def _sizes(self) -> dict[str, int]:
        return {
            "PFN_N_HEADS": self.n_heads,
            "PFN_D_HEAD": self.d_model // self.n_heads,
        }


def row_mechanism(config: TabularConfig) -> RowMechanism:
    """Return the attention between rows that `config` names, by whatever name.

    Raises ValueError, listing the choices, for one whose C code does not exist.
    """
    name = attention_name(config.attention_type)
    if name not in carried_attention():
        raise ValueError(
            f"attention_type is {config.attention_type!r}; the C code carries"
            f" {', '.join(carried_attention())}, whose state has a constant size. Train a network"
            " with one of them, such as the preset tiny."
        )
    return RowMechanism(name, config.n_heads, config.d_model, config.attention_options)


def attention_name(attention_type: str) -> str | None:
    """Return the name of the file in `openpfn.attention` whose class `attention_type` (a name in
    any case, an alias or "module:Class") stands for; None for a class from elsewhere."""
    module = registry.find("attention", attention_type, RowAttention).__module__
    folder, _, name = module.rpartition(".")
    return name if folder == "openpfn.attention" else None


def carried_attention() -> list[str]:
    """Return the names of the mechanisms between rows whose C code exists."""
    found = [re.fullmatch(r"attention_(\w+?)(_int)?\.c", name) for name in runtime_files()]
    return sorted({match[1] for match in found if match is not None})


def backends_of(name: str) -> tuple[Backend, ...]:
    """Return the backends for which the C code of the mechanism `name` exists."""
    return tuple(one for one in BACKENDS if source_of(name, one) in runtime_files())


def source_of(name: str, backend: Backend) -> str:
    """Return the name of the C file of the mechanism `name`."""
    return f"attention_{name}{'_int' if backend == 'int' else ''}.c"


def runtime(name: str) -> str:
    """Return the text of a file of runtime/: the C that ships."""
    return resources.files("openpfn.export").joinpath("runtime", name).read_text(encoding="utf-8")


def runtime_files() -> set[str]:
    """Return the names of the files of runtime/."""
    return {path.name for path in resources.files("openpfn.export").joinpath("runtime").iterdir()}
