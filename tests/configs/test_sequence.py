"""Configurations of sequence networks: the documented calls run, wrong ones are told which field is
wrong."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch

from openpfn import configs
from openpfn.configs import ClassificationConfig, RegressionConfig, UnsupervisedConfig
from openpfn.heads import estimate_riemann_borders

SIZES = {"d_model": 128, "n_layers": 4, "n_heads": 4, "d_head": 32}
RANGE = {"bucket_type": "uniform", "y_min": -5.0, "y_max": 5.0}


def test_the_documented_calls_run():
    borders = estimate_riemann_borders(torch.randn(10000), num_buckets=100)
    assert RegressionConfig(**SIZES, input_dim=10, prediction_type="point").n_outputs == 1
    assert (
        RegressionConfig(
            **SIZES, input_dim=10, prediction_type="distribution", d_vocab=100, **RANGE
        ).n_outputs
        == 100
    )
    riemann = RegressionConfig(
        **SIZES, input_dim=10, bucket_type="riemann", d_vocab=100, riemann_borders=borders
    )
    assert riemann.n_outputs == 100
    assert ClassificationConfig(**SIZES, input_dim=10, num_classes=5).n_outputs == 5
    assert (
        UnsupervisedConfig(
            **SIZES, input_type="discrete", prediction_type="distribution", d_vocab=1000
        ).n_outputs
        == 1000
    )
    assert (
        UnsupervisedConfig(**SIZES, input_type="continuous", prediction_type="point").n_outputs == 1
    )
    assert (
        UnsupervisedConfig(
            **SIZES, input_type="continuous", prediction_type="distribution", d_vocab=100, **RANGE
        ).n_outputs
        == 100
    )


def test_what_is_left_out_follows_from_the_rest():
    config = RegressionConfig(d_model=64, n_heads=2, **RANGE)
    assert (config.d_head, config.d_mlp, config.d_vocab, config.input_dim, config.use_pos_emb) == (
        32,
        256,
        100,
        16,
        True,
    )
    assert (config.mask_type, config.bucket_support, config.normalization_type) == (
        "autoregressive-pfn",
        "unbounded",
        "LN",
    )
    assert RegressionConfig(bucket_type="riemann", riemann_borders=[0, 1, 2, 4]).d_vocab == 3
    assert RegressionConfig(bucket_type="mixture").n_outputs == 3 * 32
    assert ClassificationConfig().num_classes == UnsupervisedConfig().d_vocab == 2


def test_short_names_are_the_same_classes():
    assert configs.Regression is RegressionConfig
    assert configs.Classification is ClassificationConfig
    assert configs.Unsupervised is UnsupervisedConfig


def test_borders_become_numbers_that_can_be_hashed_and_written():
    config = RegressionConfig(
        bucket_type="riemann", riemann_borders=torch.tensor([-1.0, 0.0, 0.5, 2.0])
    )
    assert config.riemann_borders == (-1.0, 0.0, 0.5, 2.0)
    assert hash(config) == hash(
        RegressionConfig(bucket_type="riemann", riemann_borders=(-1.0, 0.0, 0.5, 2.0))
    )
    assert RegressionConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        (RegressionConfig, {}, "bucket_type is None"),
        (
            RegressionConfig,
            {"prediction_type": "point", "bucket_type": "uniform"},
            "bucket_type is set",
        ),
        (RegressionConfig, {"prediction_type": "point", "y_max": 1.0}, "y_max is set"),
        (RegressionConfig, {"bucket_type": "uniform"}, "y_min is None"),
        (RegressionConfig, {"bucket_type": "uniform", "y_min": 1.0, "y_max": 1.0}, "y_min is 1.0"),
        (RegressionConfig, {"bucket_type": "riemann"}, "riemann_borders is None"),
        (
            RegressionConfig,
            {"bucket_type": "riemann", "riemann_borders": torch.zeros(2, 2)},
            "riemann_borders has 2 axes",
        ),
        (
            RegressionConfig,
            {"bucket_type": "riemann", "riemann_borders": [0, 1, 2, 3], "d_vocab": 4},
            "riemann_borders holds 4",
        ),
        (
            RegressionConfig,
            {"bucket_type": "riemann", "riemann_borders": [0, 1, 1, 3]},
            "riemann_borders must",
        ),
        (RegressionConfig, {**RANGE, "d_vocab": 2}, "d_vocab is 2"),
        (RegressionConfig, {**RANGE, "d_model": 30}, "d_model is 30"),
        (RegressionConfig, {**RANGE, "n_layers": 0}, "n_layers is 0"),
        (ClassificationConfig, {"num_classes": 1}, "num_classes is 1"),
        (UnsupervisedConfig, {"bucket_type": "uniform"}, "bucket_type is set"),
        (UnsupervisedConfig, {"input_type": "continuous"}, "bucket_type is None"),
    ],
)
def test_an_error_names_the_field(kind, options, field):
    with pytest.raises(ValueError, match=field):
        kind(**options)
