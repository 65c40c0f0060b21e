"""From table cells and targets to embeddings: numbers standardised by the context, missing values
marked, classes without an order."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from openpfn.configs.tabular import TabularConfig

KNOT_REACH = 2.0
"""The knots of the piecewise linear embedding cover (−2, 2), the range of the squashed standardised
value."""


class ColumnStatistics(NamedTuple):
    """Statistics of the context: per task and column, and nothing that grows with it
    but `sorted`."""

    mean: Float[Tensor, "B D"]
    inverse_std: Float[Tensor, "B D"]
    """1 / standard deviation; 0 for constant columns, whose every value then encodes as the
    mean."""
    sorted: Float[Tensor, "B D n"] | None
    """Context values in order, missing ones last as inf; None without ranks."""
    n_present: Float[Tensor, "B D"]
    """Number of context values that are not missing."""
    neighbours: Int[Tensor, "S B D"] | None
    """Column that each cell also embeds, per further shift; None without column grouping."""
    categorical: Float[Tensor, "B D"] | None

    def thinned(self, most: int) -> ColumnStatistics:
        """These statistics with at most `most` of the sorted values per column: those in the middle
        of as many equal shares."""
        if self.sorted is None or self.sorted.shape[2] <= most:
            return self
        middle = (torch.arange(most, device=self.mean.device) + 0.5) / most
        places = (middle * self.n_present[:, :, None]).long()  # (B, D, most)
        n_present = torch.where(self.n_present > 0, float(most), 0.0)
        return self._replace(sorted=self.sorted.gather(2, places), n_present=n_present)


class CellEncoder(nn.Module):
    """Embeds the cells of the input columns: one linear map of features of the standardised
    value."""

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        self.config = config
        n_scalar = 1 + (config.n_knots if config.scalar_embedding == "knots" else 0)
        n_rank = config.n_knots if config.use_ranks else 0
        n_in = n_scalar + n_rank + config.missing_flags + config.categorical_flags
        self.embed = nn.Linear(n_in, config.d_model)
        self.embed_neighbours = nn.ModuleList(
            nn.Linear(n_in, config.d_model, bias=False) for _ in config.column_shifts[1:]
        )

    def fit(
        self,
        x: Float[Tensor, "B n D"],
        n_features: Int[Tensor, " B"] | None,
        categorical: Bool[Tensor, "B D"] | None,
    ) -> ColumnStatistics:
        """Statistics of the context rows `x`."""
        present = ~x.isnan()
        n_present = present.sum(dim=1).to(x.dtype)  # (B, D)
        filled = torch.where(present, x, 0.0)
        mean = filled.sum(dim=1) / n_present.clamp(min=1)  # (B, D)
        deviation = torch.where(present, x - mean[:, None], 0.0)
        std = (deviation.square().sum(dim=1) / (n_present - 1).clamp(min=1)).sqrt()
        # rounding alone gives a constant column of 1e6 a deviation of 0.1: constant means constant
        # relative to its size
        varies = std > 1e-6 * filled.abs().amax(dim=1).clamp(min=1e-30)
        return ColumnStatistics(
            mean=mean,
            inverse_std=torch.where(varies, 1 / std.clamp(min=1e-30), 0.0),
            sorted=torch.where(present, x, torch.inf)
            .transpose(1, 2)
            .contiguous()
            .sort(dim=-1)
            .values
            if self.config.use_ranks
            else None,
            n_present=n_present,
            neighbours=self.neighbours(x, n_features),
            categorical=categorical.to(x.dtype)
            if self.config.categorical_flags and categorical is not None
            else None,
        )

    def neighbours(
        self, x: Float[Tensor, "B n D"], n_features: Int[Tensor, " B"] | None
    ) -> Int[Tensor, "S B D"] | None:
        if len(self.config.column_shifts) == 1:
            return None
        n_tasks, _, n_columns = x.shape
        width = (
            n_features
            if n_features is not None
            else torch.full((n_tasks,), n_columns, device=x.device)
        )
        places = torch.arange(n_columns, device=x.device)
        return torch.stack(
            [(places + shift) % width[:, None] for shift in self.config.column_shifts[1:]]
        )

    def forward(
        self, x: Float[Tensor, "B N D"], statistics: ColumnStatistics
    ) -> Float[Tensor, "B D N E"]:
        features = self.features(x, statistics)  # (B, D, N, F)
        cells = self.embed(features)
        for i, embed in enumerate(self.embed_neighbours):
            assert statistics.neighbours is not None
            chosen = statistics.neighbours[i][:, :, None, None].expand_as(features)
            cells = cells + embed(features.gather(1, chosen))
        return cells

    def features(
        self, x: Float[Tensor, "B N D"], statistics: ColumnStatistics
    ) -> Float[Tensor, "B D N F"]:
        values = x.transpose(1, 2).contiguous()  # (B, D, N): one column's rows lie together
        missing = values.isnan()
        z = (values - statistics.mean[:, :, None]) * statistics.inverse_std[:, :, None]
        z = torch.where(missing, 0.0, z).clamp(-100, 100)
        squashed = squash(z)
        features = [squashed.unsqueeze(-1)]
        if self.config.scalar_embedding == "knots":
            features.append(hats(squashed / (2 * KNOT_REACH) + 0.5, self.config.n_knots))
        if statistics.sorted is not None:
            features.append(hats(self.ranks(values, missing, statistics), self.config.n_knots))
        if self.config.missing_flags:
            features = [torch.where(missing[..., None], 0.0, f) for f in features]
            features.append(missing[..., None].to(z.dtype))
        if self.config.categorical_flags:
            flags = (
                statistics.categorical
                if statistics.categorical is not None
                else torch.zeros_like(statistics.mean)
            )
            features.append(flags[:, :, None, None].expand(*z.shape, 1))
        return torch.cat(features, dim=-1)

    def ranks(
        self,
        values: Float[Tensor, "B D N"],
        missing: Bool[Tensor, "B D N"],
        statistics: ColumnStatistics,
    ) -> Float[Tensor, "B D N"]:
        """Share of the present context values below each value, ties counted by half."""
        assert statistics.sorted is not None
        wanted = torch.where(missing, 0.0, values)
        below = torch.searchsorted(statistics.sorted, wanted, side="left")
        up_to = torch.searchsorted(statistics.sorted, wanted, side="right")
        n_present = statistics.n_present[:, :, None].clamp(min=1)
        return ((below + up_to) / (2 * n_present)).clamp(0, 1)


class TargetScale(NamedTuple):
    """How the context centres and scales a target that is a number; float64, so that no digit of a
    large target is lost."""

    mean: Float[Tensor, "B 1"]
    std: Float[Tensor, "B 1"]
    """Standard deviation; 1 where all context targets are equal."""

    @classmethod
    def of(cls, y: Float[Tensor, "B n"] | Int[Tensor, "B n"]) -> TargetScale:
        """The scale of the context targets `y`."""
        y = y.to(torch.float32 if y.device.type == "mps" else torch.float64)  # Metal has no float64
        size = y.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(y.dtype).tiny)
        mean = (y / size).mean(dim=1, keepdim=True) * size  # the sum itself could overflow
        reach = (y - mean).abs().amax(dim=1, keepdim=True)
        varies = (y.amax(dim=1, keepdim=True) > y.amin(dim=1, keepdim=True)) & (reach > 0)
        reach = torch.where(varies, reach, 1.0)
        n_free = max(1, y.shape[1] - 1)
        std = reach * (((y - mean) / reach).square().sum(dim=1, keepdim=True) / n_free).sqrt()
        return cls(torch.where(varies, mean, y[:, :1]), torch.where(varies, std, 1.0))

    def standardised(self, y: Float[Tensor, "B n"] | Int[Tensor, "B n"]) -> Float[Tensor, "B n"]:
        """`y` in standard deviations from the context mean, in float32."""
        return ((y.to(self.mean) - self.mean) / self.std).float()


class _Unknown(nn.Module):
    """Embeds what is not known yet: the target of a query row."""

    unknown: nn.Parameter
    evidence: nn.Parameter

    def query(self, n_context: int | Float[Tensor, ""]) -> Float[Tensor, " E"]:
        # attention averages: without this term the network could not tell 10 context rows from 100
        return self.unknown + self.evidence * (n_context / (n_context + 64))


class TargetEncoder(_Unknown):
    """Embeds classes: a vector per class, so that labels have no order, and one for the unknown."""

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        self.classes = nn.Embedding(config.max_classes, config.d_model)
        self.unknown = nn.Parameter(torch.randn(config.d_model))
        self.evidence = nn.Parameter(torch.zeros(config.d_model))

    def context(self, y: Float[Tensor, "B n"]) -> Float[Tensor, "B n E"]:
        return self.classes(y.long())


class NumberEncoder(_Unknown):
    """Embeds standardised numbers like the cells of a column, by a line or a piecewise linear
    curve, and the unknown."""

    def __init__(self, config: TabularConfig) -> None:
        super().__init__()
        self.n_knots = config.n_knots if config.scalar_embedding == "knots" else 0
        self.embed = nn.Linear(1 + self.n_knots, config.d_model)
        self.unknown = nn.Parameter(torch.randn(config.d_model))
        self.evidence = nn.Parameter(torch.zeros(config.d_model))

    def context(self, y: Float[Tensor, "B n"]) -> Float[Tensor, "B n E"]:
        squashed = squash(y.clamp(-100, 100))
        features = [squashed.unsqueeze(-1)]
        if self.n_knots:
            features.append(hats(squashed / (2 * KNOT_REACH) + 0.5, self.n_knots))
        return self.embed(torch.cat(features, dim=-1))


def squash(z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """`z` drawn into (−2, 2), with slope 1 at 0."""
    return z / (1 + z.abs() / KNOT_REACH)


def hats(position: Float[Tensor, "..."], n_knots: int) -> Float[Tensor, "... {n_knots}"]:
    """Weights of linear interpolation between `n_knots` knots spread evenly over [0, 1]."""
    knots = torch.arange(n_knots, device=position.device, dtype=position.dtype)
    return F.relu(1 - (position.unsqueeze(-1) * (n_knots - 1) - knots).abs())
