"""`Predictive`: what a model or an exact posterior says about a target it has not seen."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from openpfn import registry

NODES = 257
"""Nodes of the quadrature behind the defaults of `mean`, `variance`, `entropy` and `crps`."""
REACH = 5.5
"""Standard deviations that the nodes reach to either side; 4e-8 of the mass lies beyond."""
NUMBERS_AT_ONCE = 2**18
"""Quantiles that the quadrature holds at once."""

Values = (
    Float[Tensor, "..."]
    | Int[Tensor, "..."]
    | Float[np.ndarray, "..."]
    | Int[np.ndarray, "..."]
    | float
    | int
)
"""Values of targets: a tensor, an array or a number."""


class Predictive(ABC):
    """A distribution of a number per target, over leading axes `...` (usually tasks × query rows).

    Numbers that go in (`y`, `p`) broadcast with these axes: a grid of L values goes in as (L, 1,
    1). Subclasses give `log_prob`, `cdf`, `icdf` and `mode`; everything else follows, and is
    overridden where there is a closed form.

    The defaults of `mean`, `variance` and `entropy` are E[g(Y)] = ∫ g(F⁻¹(Φ(t))) φ(t) dt by the
    trapezoid rule, where Φ and φ are of the standard normal: exact to rounding where Y is normal.
    """

    @property
    @abstractmethod
    def shape(self) -> torch.Size:
        """Sizes of the leading axes `...`."""

    @property
    @abstractmethod
    def mode(self) -> Float[Tensor, "..."] | Int[Tensor, "..."]:
        """The most probable value."""

    @abstractmethod
    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        """Log-probability, or log-density, of `y` in nats; −inf outside the support."""

    @abstractmethod
    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        """Probability of a value of at most `y`."""

    @abstractmethod
    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The smallest value whose `cdf` is at least `p`, for 0 ≤ p ≤ 1."""

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self._expectation(lambda y: y)

    @property
    def median(self) -> Float[Tensor, "..."]:
        return self.quantile(0.5)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        mean = self.mean
        return self._expectation(lambda y: (y - mean).square())

    @property
    def std(self) -> Float[Tensor, "..."]:
        return self.variance.sqrt()

    def quantile(
        self, levels: float | Sequence[float] | Float[Tensor, " L"] | Float[Tensor, ""]
    ) -> Float[Tensor, "..."]:
        """The quantiles at `levels`: axes `...` for one level, (L, ...) for L of them. Raises
        ValueError for one outside [0, 1]."""
        p = torch.as_tensor(levels, dtype=torch.float64)
        if not bool(((p >= 0) & (p <= 1)).all()):
            raise ValueError(
                f"levels is {levels}; quantiles are asked for at levels from 0 to 1, such as 0.5."
            )
        return self.icdf(p.view(p.shape + (1,) * len(self.shape)).expand(p.shape + self.shape))

    def interval(self, level: float = 0.9) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
        """Lower and upper end of the central interval that holds the share `level` of the
        probability."""
        if not 0 < level < 1:
            raise ValueError(f"level is {level}, must lie between 0 and 1, such as 0.9.")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        """One draw per target: `icdf` of a uniform number."""
        like = self.mode
        return self.icdf(
            torch.rand(self.shape, generator=generator, device=like.device, dtype=torch.float64)
        )

    def entropy(self) -> Float[Tensor, "..."]:
        """Entropy, or differential entropy, in nats."""
        return -self._expectation(self.log_prob)

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        """Continuous ranked probability score of the true `y`, in units of y; smaller is better.

        ∫ (F(z) − 1[y ≤ z])² dz = ∫ 2 (1[y < F⁻¹(u)] − u) (F⁻¹(u) − y) du over 0 < u < 1 (Gneiting &
        Raftery 2007, eqs. 20 and 24), by the quadrature of the class.
        """

        def score(z: Tensor, u: Tensor) -> Tensor:
            true = as_tensor(y, z)
            return 2 * ((true < z).to(z.dtype) - u) * (z - true)

        return self._integral(score)

    def _expectation(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        return self._integral(lambda z, _: function(z))

    def _integral(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """∫ function(F⁻¹(u), u) du over 0 < u < 1."""
        t = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
        weight = torch.exp(-t.square() / 2)  # φ(t) dt up to a factor
        levels, weight = torch.special.ndtr(t), weight / weight.sum()
        size = max(1, NUMBERS_AT_ONCE // max(1, self.shape.numel()))
        parts = []
        for u, w in zip(levels.split(size), weight.split(size), strict=True):
            z = self.quantile(u)  # (nodes, ...)
            u, w = (v.to(z.device, z.dtype).view(-1, *(1,) * len(self.shape)) for v in (u, w))
            parts.append((function(z, u) * w).sum(dim=0))
        return torch.stack(parts).sum(dim=0)


def as_tensor(y: Values, like: Tensor) -> Tensor:
    """`y` as a tensor on the device of `like`; what is no tensor yet takes its precision, too."""
    if isinstance(y, Tensor):
        return y.to(like.device)
    if isinstance(y, np.ndarray) and not y.flags.writeable:
        y = y.copy()  # such as a column of pandas, which torch would warn of
    return torch.as_tensor(y, dtype=like.dtype, device=like.device)


class OverLogits(Predictive):
    """A distribution made of K parts (classes, buckets, components) with the weights
    softmax(`logits`), (..., K)."""

    logits: Float[Tensor, "... K"]

    @property
    def shape(self) -> torch.Size:
        return self.logits.shape[:-1]

    @property
    def probs(self) -> Float[Tensor, "... K"]:
        """Probability of each part."""
        return self.logits.softmax(dim=-1)


class Rescaled(Predictive):
    """The distribution of shift + scale · Z, where Z follows `standardised` and scale > 0.

    `shift` and `scale` broadcast with the axes of `standardised`. They are best given in float64:
    answers then keep the digits that a float32 number around a large shift would lose.

    >>> from openpfn.heads.gaussian import Gaussian
    >>> z = Gaussian(torch.zeros(3), torch.ones(3))
    >>> Rescaled(z, torch.tensor(100.0), torch.tensor(2.0)).std
    tensor([2., 2., 2.])
    """

    def __init__(
        self,
        standardised: Predictive,
        shift: Float[Tensor, "..."],
        scale: Float[Tensor, "..."],
    ) -> None:
        self.standardised, self.shift, self.scale = standardised, shift, scale

    @property
    def shape(self) -> torch.Size:
        return self.standardised.shape

    @property
    def mode(self) -> Float[Tensor, "..."]:
        return self._from_standardised(self.standardised.mode)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        return self._from_standardised(self.standardised.mean)

    @property
    def median(self) -> Float[Tensor, "..."]:
        return self._from_standardised(self.standardised.median)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        return self.scale.square() * self.standardised.variance

    @property
    def std(self) -> Float[Tensor, "..."]:
        return self.scale * self.standardised.std

    def log_prob(self, y: Values) -> Float[Tensor, "..."]:
        return self.standardised.log_prob(self._to_standardised(y)) - self.scale.log()

    def cdf(self, y: Values) -> Float[Tensor, "..."]:
        return self.standardised.cdf(self._to_standardised(y))

    def icdf(self, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self._from_standardised(self.standardised.icdf(p))

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "..."]:
        return self._from_standardised(self.standardised.sample(generator))

    def entropy(self) -> Float[Tensor, "..."]:
        return self.standardised.entropy() + self.scale.log()

    def crps(self, y: Values) -> Float[Tensor, "..."]:
        return self.scale * self.standardised.crps(self._to_standardised(y))

    def _to_standardised(self, y: Values) -> Tensor:
        return (as_tensor(y, self.shift) - self.shift) / self.scale

    def _from_standardised(self, z: Tensor) -> Tensor:
        return self.shift + self.scale * z


class Head(nn.Module, ABC):
    """Turns the final embedding of each target into a `Predictive`, by way of logits.

    A head of one's own gives `predictive`, and `loss` where −log_prob is not what it is trained by.
    Its constructor takes the two widths and then its options, each with a default; heads of classes
    take the number of classes in place of options. The decoder is two layers unless `forward` is
    overridden, or none at all where no widths are given: then logits come from elsewhere.
    """

    aliases: ClassVar[tuple[str, ...]] = ()
    predicts: ClassVar[Literal["classes", "numbers"]] = "numbers"
    """Kind of target: class indices, or numbers (standardised by the context)."""

    def __init__(
        self, d_model: int | None = None, d_hidden: int | None = None, n_outputs: int = 0
    ) -> None:
        super().__init__()
        self.n_outputs = n_outputs
        if d_model is not None and d_hidden is not None and n_outputs:
            self.hidden = nn.Linear(d_model, d_hidden)
            self.out = nn.Linear(d_hidden, n_outputs)
            with torch.no_grad():
                self.out.weight.zero_()  # an untrained network says the same of every row
                self.out.bias.copy_(self.first_outputs())

    @classmethod
    def build(
        cls,
        d_model: int | None,
        d_hidden: int | None,
        options: Mapping[str, int | float | str],
        *classes: int,
    ) -> Head:
        """Build the head with its `options` by name. Raises ValueError for one that it does not
        have, listing those it has."""
        registry.check_options(cls, cls.options(), options)
        return cls(d_model, d_hidden, *classes, **options)  # pyright: ignore[reportArgumentType]

    @classmethod
    def options(cls) -> dict[str, int | float | str]:
        """The head's own options with their defaults: keywords of its constructor that are a
        number or text."""
        own = [
            p
            for p in inspect.signature(cls).parameters.values()
            if p.name not in inspect.signature(Head).parameters
        ]
        return {p.name: p.default for p in own if isinstance(p.default, int | float | str)}

    def first_outputs(self) -> Float[Tensor, " V"]:
        """The logits that an untrained network begins at."""
        return torch.zeros(self.n_outputs)

    def forward(self, rows: Float[Tensor, "... E"]) -> Float[Tensor, "... V"]:
        """Return the logits of each row."""
        return self.out(F.gelu(self.hidden(rows))).float()

    @abstractmethod
    def predictive(self, logits: Float[Tensor, "... V"]) -> Predictive:
        """The distributions that `logits` stand for."""

    def tempered(self, logits: Float[Tensor, "... V"], temperature: float) -> Predictive:
        """The distributions that `logits` stand for, sharper with a `temperature` below 1 and
        flatter above. Raises ValueError where the head has no such thing."""
        if temperature == 1:
            return self.predictive(logits)
        raise ValueError(
            f"temperature is {temperature}, but {type(self).__name__} has no temperature but 1."
            " Give it a method `tempered(logits, temperature)`, or leave temperature out."
        )

    def loss(
        self, logits: Float[Tensor, "... V"], y: Float[Tensor, "..."] | Int[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """Return the training loss per target: −log probability of the true `y` in nats."""
        return -self.predictive(logits).log_prob(y)
