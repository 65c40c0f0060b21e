"""`TabularConfig`: the two-way table network, every part a field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from openpfn.configs.checks import check_fields


@dataclass(frozen=True)
class TabularConfig:
    """The two-way table network: attention between columns, attention between rows, an MLP, per
    layer."""

    model: ClassVar[str] = "tabular"

    d_model: int = 96
    """Width of the cell embeddings."""
    n_heads: int = 4
    """Heads of both attentions."""
    n_layers: int = 3
    """Layers."""
    n_loops: int = 1
    """How often a row passes the layers, one after the other: depth that takes no parameters."""
    d_mlp: int = 192
    """Hidden width of the MLP of each layer and of the decoder."""
    max_classes: int = 10
    """Classes that the network can tell apart."""
    head: str | None = "categorical"
    """Head of the classes: a file name in `openpfn.heads`, an alias, or "module:Class"; None for a
    network that predicts numbers alone."""
    regression_head: str | None = None
    """Head of numbers, such as "bars", "gaussian" or "quantiles", which answers batches without
    `n_classes`; None for a network that predicts classes alone."""
    regression_head_options: Mapping[str, int | float | str] = field(
        default_factory=dict, hash=False
    )
    """Options of the head of numbers by name, such as `n_buckets` of bars; its own defaults for the
    others."""
    attention_type: str = "softmax"
    """Attention between rows: a file name in `openpfn.attention`, an alias, or "module:Class"."""
    attention_options: Mapping[str, int | float | str] = field(default_factory=dict, hash=False)
    """Options of the attention between rows by name, such as `n_points` of induced; its own
    defaults for the others."""
    qassmax: bool = False
    """Sharpen the softmax over context rows by their number and the query (QASSMax), for contexts
    longer than trained."""
    column_attention_type: str = "softmax"
    """Attention between columns: the same names as for rows."""
    column_attention_options: Mapping[str, int | float | str] = field(
        default_factory=dict, hash=False
    )
    """Options of the attention between columns by name; softmax has none."""
    separate_query_weights: bool = True
    """Query rows read the context through their own projections instead of those that context rows
    mix with."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm or LayerNorm, before each sublayer."""
    n_thinking_rows: int = 0
    """Learned rows put in front of the context, where attention can leave what belongs to no
    row."""
    scalar_embedding: Literal["linear", "knots"] = "knots"
    """How a number becomes a vector: a line, or a learned piecewise linear curve over `n_knots`
    knots."""
    n_knots: int = 16
    """Knots of the piecewise linear embedding."""
    use_ranks: bool = False
    """Also embed each value's rank among the context values; needs the sorted context at
    prediction."""
    missing_flags: bool = True
    """Mark missing cells with a learned vector; without it a missing cell looks like the context
    mean."""
    categorical_flags: bool = False
    """Mark the columns that hold category codes with a learned vector."""
    target_aware: bool = True
    """Add the target's embedding to every cell of its row, not only to the target column."""
    column_shifts: tuple[int, ...] = (0,)
    """Column grouping: a cell also embeds the columns this many places further on, cyclically (0 is
    itself)."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("d_model", "n_heads", "n_layers", "n_loops", "d_mlp"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model is {self.d_model}, not a multiple of n_heads = {self.n_heads}. Change one"
                " of them."
            )
        if self.max_classes < 2:
            raise ValueError(f"max_classes is {self.max_classes}, must be at least 2.")
        if self.head is None and self.regression_head is None:
            raise ValueError(
                "head and regression_head are both None: the network would predict nothing. Set"
                " one, such as head='categorical' or regression_head='bars'."
            )
        if self.regression_head is None and self.regression_head_options:
            raise ValueError(
                f"regression_head_options is {dict(self.regression_head_options)}, but there is no"
                " regression_head. Name one, such as regression_head='bars'."
            )
        if self.n_knots < 2:
            raise ValueError(f"n_knots is {self.n_knots}, must be at least 2.")
        if not self.column_shifts or self.column_shifts[0] != 0:
            raise ValueError(
                f"column_shifts is {self.column_shifts}, must begin with 0 (the column itself)."
            )

    @property
    def n_passes(self) -> int:
        """How many layers a row passes, those of every loop."""
        return self.n_layers * self.n_loops
