"""Networks for the estimator tests: one that predicts well without training, and random ones of the
real architecture."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from openpfn.batch import TaskBatch
from openpfn.configs import TabularConfig, preset
from openpfn.heads import Gaussian, Rescaled
from openpfn.models import PFN
from openpfn.models.tabular.encoders import TargetScale


@pytest.fixture(autouse=True)
def _no_sentence_encoder(monkeypatch):
    """How text is read must not depend on what is installed where the tests run."""
    monkeypatch.setattr("openpfn.estimators.views.text_reading._is_on_disk", lambda name: False)


class KernelNetwork(nn.Module):
    """Votes of the context rows, weighted by a Gaussian kernel; prefers late columns and early
    classes, as no network should."""

    def __init__(self, max_classes: int = 10) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_classes=max_classes)
        self.n_read: list[tuple[int, ...]] = []

    def summarize(self, batch: TaskBatch) -> Any:
        x = batch.x
        assert x is not None
        assert batch.n_classes is not None
        mean = x.nanmean(dim=1, keepdim=True)
        std = (x - mean).square().nanmean(dim=1, keepdim=True).sqrt()
        state = {"mean": mean.nan_to_num(), "std": torch.where(std > 0, std, 1.0).nan_to_num(1.0)}
        return state | {
            "rows": self.scale(x, state),
            "y": batch.y.long(),
            "n_classes": int(batch.n_classes[0]),
        }

    def scale(self, x: Tensor, state: Any) -> Tensor:
        z = ((x - state["mean"]) / state["std"]).nan_to_num()
        return z * torch.linspace(0.8, 1.2, z.shape[2])

    def read(self, x: Tensor, state: Any) -> Tensor:
        self.n_read.append(tuple(x.shape))
        distance = (
            (self.scale(x, state)[:, :, None] - state["rows"][:, None]).square().mean(dim=-1)
        )  # (B, Q, n)
        weight = torch.exp(-distance / 0.1) + 1e-6
        votes = torch.zeros(*x.shape[:2], self.config.max_classes)
        votes.scatter_add_(2, state["y"][:, None].expand(weight.shape), weight)
        logits = votes.log() - 0.05 * torch.arange(self.config.max_classes)
        return logits.masked_fill(
            torch.arange(self.config.max_classes) >= state["n_classes"], -torch.inf
        )


class KernelState(NamedTuple):
    """Rows and standardised numbers of a context."""

    mean: Tensor
    std: Tensor
    rows: Tensor
    z: Tensor
    scale: TargetScale


class KernelRegression(KernelNetwork):
    """Means and variances of the context's numbers, weighted by a Gaussian kernel; prefers late
    columns."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(max_classes=0, head=None, regression_head="gaussian")

    def summarize(self, batch: TaskBatch) -> KernelState:
        x = batch.x
        assert x is not None
        assert batch.n_classes is None
        mean = x.nanmean(dim=1, keepdim=True)
        std = (x - mean).square().nanmean(dim=1, keepdim=True).sqrt()
        state = {"mean": mean.nan_to_num(), "std": torch.where(std > 0, std, 1.0).nan_to_num(1.0)}
        scale = TargetScale.of(batch.y)
        return KernelState(
            **state, rows=self.scale(x, state), z=scale.standardised(batch.y), scale=scale
        )

    def read(self, x: Tensor, state: Any) -> Tensor:
        self.n_read.append(tuple(x.shape))
        rows = self.scale(x, state._asdict())
        distance = (rows[:, :, None] - state.rows[:, None]).square().mean(dim=-1)  # (B, Q, n)
        weight = torch.exp(-distance / 0.1) + 1e-6
        weight = weight / weight.sum(dim=-1, keepdim=True)
        mean = (weight @ state.z[..., None]).squeeze(-1)
        variance = (weight * (state.z[:, None] - mean[..., None]).square()).sum(dim=-1)
        return torch.stack([mean, variance + 1e-4], dim=-1)

    def predictive_of(self, logits: Tensor, scale: TargetScale) -> Rescaled:
        return Rescaled(Gaussian(logits[..., 0], logits[..., 1]), scale.mean, scale.std)


class KernelBoth(KernelNetwork):
    """Both of these in one: classes or numbers, as a batch has them."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = KernelRegression()
        self.config = SimpleNamespace(
            max_classes=10, head="categorical", regression_head="gaussian"
        )

    def summarize(self, batch: TaskBatch) -> Any:
        return (super() if batch.n_classes is not None else self.numbers).summarize(batch)

    def read(self, x: Tensor, state: Any) -> Tensor:
        answer = (super() if isinstance(state, dict) else self.numbers).read(x, state)
        self.n_read.clear()  # a network in memory is a parameter, which `fit` may not change
        self.numbers.n_read.clear()
        return answer

    def predictive_of(self, logits: Tensor, scale: TargetScale) -> Rescaled:
        return self.numbers.predictive_of(logits, scale)


SMALL = TabularConfig(
    d_model=16,
    n_heads=2,
    n_layers=2,
    d_mlp=32,
    n_thinking_rows=2,
    use_ranks=True,
    categorical_flags=True,
)
"""Every part of nano, in small."""
NUMBERS = replace(
    SMALL,
    regression_head="quantiles",
    regression_head_options={"n_levels": 19},
    column_shifts=(0, 1),
)
"""The same with a head of numbers, too, and with neighbours, so that the order of columns
matters."""


def random_network(config: TabularConfig = SMALL, seed: int = 0) -> nn.Module:
    """A network whose every matrix is random, so that all of the context reaches the answer."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = PFN(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(
                    torch.randn(parameter.shape, generator=generator) / parameter.shape[-1] ** 0.5
                )
    return model


@pytest.fixture(scope="session")
def kernel() -> KernelNetwork:
    return KernelNetwork()


@pytest.fixture(scope="session", params=[SMALL, preset("tiny")], ids=["small", "tiny"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return random_network(request.param)
