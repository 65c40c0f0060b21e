"""Presets: named configurations of the two-way table network."""

from __future__ import annotations

from openpfn.configs.tabular import TabularConfig

_RICH = {"use_ranks": True, "n_knots": 32, "categorical_flags": True}

PRESETS: dict[str, TabularConfig] = {
    "micro": TabularConfig(
        d_model=8,
        n_heads=2,
        n_layers=1,
        n_loops=4,
        d_mlp=8,
        max_classes=4,
        attention_type="linear",
        separate_query_weights=False,
        n_knots=8,
    ),
    "tiny": TabularConfig(
        d_model=16, n_heads=4, n_layers=4, d_mlp=28, attention_type="linear", n_knots=14
    ),
    "nano": TabularConfig(d_model=64, n_heads=4, n_layers=4, d_mlp=128, n_thinking_rows=8, **_RICH),
    "small": TabularConfig(
        d_model=192, n_heads=6, n_layers=6, d_mlp=384, n_thinking_rows=16, **_RICH
    ),
}
"""micro ≈ 900 parameters, tiny ≤ 15 k, nano < 1 M, small 2–5 M; micro and tiny keep a state of
constant size."""


def preset(name: str) -> TabularConfig:
    """The configuration called `name`. Raises ValueError for an unknown one, listing the
    choices."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"unknown preset {name!r}. Choose one of {', '.join(PRESETS)}.") from None
