"""Ridge attention: each head fits a ridge regression of values on keys, and a row reads its
prediction."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from openpfn.attention.base import ProjectedAttention

FLOOR = 1e-4
"""Least ridge as a share of the mean squared key: with less, float32 could not factor a singular
KᵀK."""


class RidgeSums(NamedTuple):
    """Sums over context rows, which can be merged."""

    gram: Float[Tensor, "G H K K"]
    """Sum of key keyᵀ."""
    product: Float[Tensor, "G H K K"]
    """Sum of key valueᵀ."""
    n_rows: Float[Tensor, " G"]


class RidgeState(NamedTuple):
    """The finished regression: all that reading needs."""

    weights: Float[Tensor, "G H K K"]
    """(KᵀK/n + λI)⁻¹ KᵀV/n."""


class RidgeAttention(ProjectedAttention):
    """A row with query q reads qᵀ(KᵀK/n + λI)⁻¹KᵀV/n, the ridge regression's prediction at q, with
    a learned λ > 0 per head.

    The optimum that a mesa layer (von Oswald et al. 2023, "Uncovering mesa-optimization algorithms
    in transformers") reaches; the sums are divided by the number of rows, so that λ means the same
    for every context length. The state has linear attention's constant size. `ridge` is λ before
    training.
    """

    aliases: ClassVar[tuple[str, ...]] = ("mesa",)

    def __init__(self, d_model: int, n_heads: int, *, ridge: float = 0.1, **shared: Any) -> None:
        super().__init__(d_model, n_heads, **shared)
        if ridge <= 0:
            raise ValueError(f"ridge is {ridge}, must be positive.")
        self.raw_ridge = nn.Parameter(
            torch.full((n_heads,), float(ridge)).expm1().log()
        )  # softplus of it is the ridge

    @property
    def ridge(self) -> Float[Tensor, " H"]:
        """λ of each head."""
        return F.softplus(self.raw_ridge)

    def summarize(self, context: Float[Tensor, "G n E"]) -> RidgeSums:
        key, value = (wide(heads) for heads in self.keys_and_values(context))
        with torch.autocast(
            context.device.type, enabled=False
        ):  # sums in bfloat16 could not be factored
            return RidgeSums(
                key.transpose(-1, -2) @ key,  # (G, H, K, K)
                key.transpose(-1, -2) @ value,  # (G, H, K, K)
                key.new_full((len(key),), key.shape[2]),
            )

    def merge(self, a: RidgeSums, b: RidgeSums) -> RidgeSums:
        return RidgeSums(a.gram + b.gram, a.product + b.product, a.n_rows + b.n_rows)

    def finalize(self, state: RidgeSums) -> RidgeState:
        n = state.n_rows[:, None, None, None]
        gram = state.gram / n
        least = FLOOR * gram.diagonal(dim1=-2, dim2=-1).mean(dim=-1)  # (G, H)
        diagonal = (self.ridge.to(gram.dtype) + least)[..., None, None]  # (G, H, 1, 1)
        with torch.autocast(gram.device.type, enabled=False):
            # a gram with a NaN in it gives NaN weights here, and a loss that training knows to skip
            factor, _ = torch.linalg.cholesky_ex(
                gram + diagonal * torch.eye(self.d_head, dtype=gram.dtype, device=gram.device)
            )
            return RidgeState(torch.cholesky_solve(state.product / n, factor))

    def attend(self, query: Float[Tensor, "G Q E"], state: RidgeState) -> Float[Tensor, "G Q E"]:
        q = self.split_heads(query)  # (G, H, Q, K)
        return self.merge_heads(q @ state.weights.to(q.dtype))


def wide(heads: Float[Tensor, "G H n K"]) -> Float[Tensor, "G H n K"]:
    """At least float32."""
    return heads.to(torch.promote_types(heads.dtype, torch.float32))
