"""Small sequence networks with weights that make every part matter."""

from __future__ import annotations

from typing import Any

import torch

from openpfn.configs import ClassificationConfig, RegressionConfig, UnsupervisedConfig
from openpfn.models import PFN

SIZES: dict[str, Any] = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_mlp": 24}
BARS: dict[str, Any] = {"bucket_type": "uniform", "d_vocab": 8, "y_min": -3.0, "y_max": 3.0}
MASKS = ["autoregressive-pfn", "gpt2", "set"]


def awake(config: Any, seed: int = 0) -> Any:
    """The network of `config` with random weights in place of zeros."""
    torch.manual_seed(seed)
    model = PFN(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def regression(**options: Any) -> Any:
    return awake(RegressionConfig(**{**SIZES, "input_dim": 3, **BARS, **options}))


def classification(**options: Any) -> Any:
    return awake(ClassificationConfig(**{**SIZES, "input_dim": 3, "num_classes": 3, **options}))


def unsupervised(**options: Any) -> Any:
    return awake(UnsupervisedConfig(**{**SIZES, "d_vocab": 4, **options}))


def rows(n_tasks: int = 2, n_rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    return torch.randn(n_tasks, n_rows, 3, generator=draw), torch.randn(
        n_tasks, n_rows, generator=draw
    )
