"""`RegressionConfig`, `ClassificationConfig`, `UnsupervisedConfig`: networks that read a task as a
sequence."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any, ClassVar, Literal

from openpfn.configs.checks import check_fields

SIZES = {"uniform": 100, "mixture": 32, "quantiles": 199}
"""Buckets, components or levels unless `d_vocab` says how many."""


@dataclass(frozen=True)
class SequenceConfig:
    """Fields that all sequence networks share: a pre-norm transformer and its input."""

    d_model: int = 128
    """Width of the residual stream."""
    n_layers: int = 4
    """Layers."""
    n_heads: int = 4
    """Attention heads."""
    d_head: int | None = None
    """Width of a head; None for d_model // n_heads."""
    d_mlp: int | None = None
    """Hidden width of the MLPs; None for 4 · d_model."""
    n_ctx: int = 1024
    """Most tokens in a sequence with position embeddings: a row of a supervised task is two tokens,
    (x) and (x, y)."""
    act_fn: Literal["gelu", "relu", "silu"] = "gelu"
    """Nonlinearity of the MLPs."""
    normalization_type: Literal["LN", "RMS"] = "LN"
    """LayerNorm or RMSNorm, before each sublayer and before the unembedding."""
    input_dim: int = 16
    """Columns of x; not used without x."""
    use_pos_emb: bool = True
    """Add a learned embedding of each token's position; never in a set."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("d_model", "n_layers", "n_heads", "n_ctx", "input_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1.")
        for name in ("d_head", "d_mlp"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1, or None.")
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(
                f"d_model is {self.d_model}, not a multiple of n_heads = {self.n_heads}. Change one"
                " of them, or set d_head."
            )
        self._settle(
            d_head=self.d_head or self.d_model // self.n_heads, d_mlp=self.d_mlp or 4 * self.d_model
        )

    @property
    def n_outputs(self) -> int:
        """Numbers that the network gives per prediction: the last axis of its logits."""
        raise TypeError(
            f"{type(self).__name__} is what networks share. Use RegressionConfig,"
            " ClassificationConfig or UnsupervisedConfig."
        )

    def _settle(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the record holds what None stood for


@dataclass(frozen=True)
class _Values(SequenceConfig):
    """Fields that say how numbers are predicted."""

    prediction_type: Literal["distribution", "point"] = "distribution"
    """A distribution, trained by its log-density, or the mean alone, trained by the squared
    error."""
    bucket_type: str | None = None
    """Buckets of equal width ("uniform"), buckets between `riemann_borders` ("riemann"), or no
    buckets but a mixture of normal distributions ("mixture"), even quantiles ("quantiles") or a
    head of one's own ("module:Class")."""
    bucket_support: Literal["unbounded", "bounded"] = "unbounded"
    """Half-normal tails in place of the outermost buckets, or no probability beyond them."""
    d_vocab: int | None = None
    """Buckets, components of the mixture or quantiles; None for 100 buckets, as many as there are
    borders for, 32 components or 199 quantiles."""
    y_min: float | None = None
    """Lower end of the uniform buckets; for a mixture, where small values of y lie."""
    y_max: float | None = None
    """Upper end of the uniform buckets; for a mixture, where great values of y lie."""
    riemann_borders: Sequence[float] | Any = None
    """The d_vocab + 1 borders of riemann buckets, increasing; a tensor or a sequence, kept as a
    tuple."""

    @property
    def n_outputs(self) -> int:
        if self.prediction_type == "point":
            return 1
        if self.d_vocab is None:
            raise TypeError(
                f"how many outputs {self.bucket_type} has is known to the network alone: ask its"
                " head.n_outputs."
            )
        return 3 * self.d_vocab if self.bucket_type == "mixture" else self.d_vocab

    def _check_values(self) -> None:
        """Check and settle what says how numbers are predicted."""
        if self.d_vocab is not None and self.d_vocab < 1:
            raise ValueError(f"d_vocab is {self.d_vocab}, must be at least 1.")
        if self.prediction_type == "point":
            for name in ("bucket_type", "y_min", "y_max", "riemann_borders"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name} is set, but prediction_type='point' predicts the mean alone. Leave"
                        f" {name} out."
                    )
            return self._settle(d_vocab=1)
        if self.bucket_type is None:
            raise ValueError(
                "bucket_type is None, but prediction_type='distribution' needs 'uniform',"
                " 'riemann', 'mixture' or 'quantiles'."
            )
        if self.bucket_type not in ("riemann", *SIZES) and ":" not in self.bucket_type:
            raise ValueError(
                f"bucket_type is {self.bucket_type!r}, must be 'uniform', 'riemann', 'mixture',"
                " 'quantiles' or 'module:Class'."
            )
        if self.bucket_type == "riemann":
            return self._check_borders()
        if self.riemann_borders is not None:
            raise ValueError(
                f"riemann_borders are set, but bucket_type is {self.bucket_type!r}. Set"
                " bucket_type='riemann'."
            )
        if self.bucket_type == "uniform" or self.y_min is not None or self.y_max is not None:
            self._check_ends()
        self._settle(d_vocab=self.d_vocab or SIZES.get(self.bucket_type))
        self._check_number_of_buckets()

    def _check_ends(self) -> None:
        if self.bucket_type not in ("uniform", "mixture"):
            raise ValueError(
                f"y_min or y_max is set, but bucket_type is {self.bucket_type!r}, which has no"
                " ends. Leave y_min and y_max out."
            )
        if (
            self.y_min is None
            or self.y_max is None
            or not -math.inf < self.y_min < self.y_max < math.inf
        ):
            raise ValueError(
                f"y_min is {self.y_min} and y_max {self.y_max}; {self.bucket_type} needs finite"
                " y_min < y_max."
            )
        self._settle(y_min=float(self.y_min), y_max=float(self.y_max))

    def _check_borders(self) -> None:
        if self.riemann_borders is None:
            raise ValueError(
                "riemann_borders is None, but bucket_type='riemann' needs them: see"
                " estimate_riemann_borders."
            )
        if self.y_min is not None or self.y_max is not None:
            raise ValueError(
                "y_min or y_max is set, but riemann_borders say where buckets lie. Leave y_min and"
                " y_max out."
            )
        given: Any = self.riemann_borders
        if getattr(given, "ndim", 1) != 1:
            raise ValueError(f"riemann_borders has {given.ndim} axes, must have one.")
        numbers = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(numbers, list | tuple) or not all(
            isinstance(number, Real) for number in numbers
        ):
            raise TypeError(
                f"riemann_borders is {numbers!r:.60}, must be a tensor or a sequence of numbers."
            )
        borders = tuple(map(float, numbers))
        n_buckets = self.d_vocab or len(borders) - 1
        if len(borders) != n_buckets + 1:
            raise ValueError(
                f"riemann_borders holds {len(borders)} numbers, must hold d_vocab + 1 ="
                f" {n_buckets + 1}."
            )
        if not all(a < b for a, b in pairwise(borders)) or not all(map(math.isfinite, borders)):
            raise ValueError(
                "riemann_borders must be finite and increase. Estimate them from more values, or"
                " with fewer buckets."
            )
        self._settle(riemann_borders=borders, d_vocab=n_buckets)
        self._check_number_of_buckets()

    def _check_number_of_buckets(self) -> None:
        has_tails = self.bucket_type in ("uniform", "riemann") and (
            self.bucket_support == "unbounded"
        )
        if has_tails and self.d_vocab is not None and self.d_vocab < 3:
            raise ValueError(
                f"d_vocab is {self.d_vocab}; unbounded support needs two tails and at least one"
                " bucket between: 3 or more."
            )
        if self.bucket_type == "quantiles" and self.d_vocab is not None and self.d_vocab < 2:
            raise ValueError(f"d_vocab is {self.d_vocab}; quantiles need at least 2 levels.")


@dataclass(frozen=True)
class RegressionConfig(_Values):
    """A network that predicts numbers y from x and the pairs before.

    >>> RegressionConfig(
    ...     input_dim=1, bucket_type="uniform", d_vocab=50, y_min=-5, y_max=5
    ... ).n_outputs
    50
    """

    model: ClassVar[str] = "sequence"

    mask_type: Literal["autoregressive-pfn", "gpt2", "set"] = "autoregressive-pfn"
    """What a token reads: itself and the pairs before; every token before; or, in a set, all pairs
    of the context without order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_values()


@dataclass(frozen=True)
class ClassificationConfig(SequenceConfig):
    """A network that predicts classes y from x and the pairs before."""

    model: ClassVar[str] = "sequence"

    num_classes: int | None = None
    """Classes: y is 0 … num_classes − 1; None for as many as `d_vocab` says, or 2."""
    d_vocab: int | None = None
    """The number of classes by another name, read where `num_classes` is not given."""
    y_type: Literal["continuous", "categorical"] = "continuous"
    """Whether the class of a pair enters as a number, or as a vector of its own: use the latter for
    classes without an order."""
    mask_type: Literal["autoregressive-pfn", "gpt2", "set"] = "autoregressive-pfn"
    """What a token reads: itself and the pairs before; every token before; or, in a set, all pairs
    of the context without order."""
    prediction_type: Literal["distribution"] = "distribution"
    """Classes are always predicted by their probabilities."""

    def __post_init__(self) -> None:
        super().__post_init__()
        name = "d_vocab" if self.num_classes is None and self.d_vocab is not None else "num_classes"
        n_classes = next((n for n in (self.num_classes, self.d_vocab) if n is not None), 2)
        if self.d_vocab not in (None, n_classes):
            warnings.warn(
                f"d_vocab is {self.d_vocab} and has no effect: num_classes says that there are"
                f" {n_classes} classes.",
                stacklevel=3,
            )
        if n_classes < 2:
            raise ValueError(f"{name} is {n_classes}, must be at least 2.")
        self._settle(num_classes=n_classes, d_vocab=n_classes)

    @property
    def n_outputs(self) -> int:
        assert self.num_classes is not None
        return self.num_classes


@dataclass(frozen=True)
class UnsupervisedConfig(_Values):
    """A network that predicts each element of a sequence from those before. It reads no x:
    `input_dim` has no effect, and generators that make x are refused in training."""

    model: ClassVar[str] = "sequence"

    input_type: Literal["discrete", "continuous"] = "discrete"
    """Elements are tokens 0 … d_vocab − 1, or numbers."""
    mask_type: Literal["gpt2"] = "gpt2"
    """Each element reads those before it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_type == "continuous":
            return self._check_values()
        if self.prediction_type != "distribution":
            raise ValueError(
                "prediction_type is 'point', but input_type='discrete' predicts the probabilities"
                " of tokens. Leave it out."
            )
        for name in ("bucket_type", "y_min", "y_max", "riemann_borders"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is set, but input_type='discrete' predicts tokens. Leave {name} out."
                )
        self._settle(d_vocab=2 if self.d_vocab is None else self.d_vocab)
        if self.d_vocab < 2:  # pyright: ignore[reportOptionalOperand]
            raise ValueError(f"d_vocab is {self.d_vocab}, must be at least 2 tokens.")
