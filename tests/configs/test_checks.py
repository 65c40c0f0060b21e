"""Values of the wrong type are told by the field's name; values of a near type become the
field's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from openpfn.configs import (
    ClassificationConfig,
    PriorConfig,
    RealTableConfig,
    RegressionConfig,
    TabularConfig,
    TrainingConfig,
)


def changed(config, name, value):
    """The configuration as it were outside of the tests, which check the types of the constructors'
    arguments before it can."""
    object.__setattr__(config, name, value)
    config.__post_init__()
    return getattr(config, name)


@pytest.mark.parametrize(
    ("config", "name", "value", "error", "message"),
    [
        (
            TrainingConfig(),
            "learning_rate",
            "a",
            TypeError,
            "learning_rate is 'a', must be a number",
        ),
        (
            TrainingConfig(),
            "num_steps",
            "10",
            TypeError,
            "num_steps is '10', must be a whole number",
        ),
        (
            TrainingConfig(),
            "batch_size",
            3.5,
            TypeError,
            "batch_size is 3.5, must be a whole number",
        ),
        (
            TrainingConfig(),
            "log_every",
            True,
            TypeError,
            "log_every is True, must be a whole number",
        ),
        (
            TrainingConfig(),
            "eval_every",
            "x",
            TypeError,
            "eval_every is 'x', must be a whole number or None",
        ),
        (
            TrainingConfig(),
            "use_wandb",
            "yes",
            TypeError,
            "use_wandb is 'yes', must be True or False",
        ),
        (
            TrainingConfig(),
            "checkpoint_dir",
            None,
            TypeError,
            "checkpoint_dir is None, must be text",
        ),
        (
            TrainingConfig(),
            "optimizer",
            "sgd",
            ValueError,
            "optimizer is 'sgd', must be 'adamw', 'schedulefree' or 'muon'",
        ),
        (
            TrainingConfig(),
            "optimizer",
            None,
            TypeError,
            "optimizer is None, must be 'adamw', 'schedulefree' or 'muon'",
        ),
        (
            RegressionConfig(prediction_type="point"),
            "d_model",
            "a",
            TypeError,
            "d_model is 'a', must be a whole number",
        ),
        (
            RegressionConfig(prediction_type="point"),
            "mask_type",
            "full",
            ValueError,
            "must be 'autoregressive-pfn', 'gpt2' or 'set'",
        ),
        (
            RegressionConfig(prediction_type="point"),
            "y_min",
            torch.zeros(1),
            TypeError,
            "y_min is tensor",
        ),
        (
            RegressionConfig(bucket_type="riemann", riemann_borders=[0, 1, 2, 3]),
            "riemann_borders",
            5,
            TypeError,
            "riemann_borders is 5",
        ),
        (
            RegressionConfig(bucket_type="riemann", riemann_borders=(0, 1, 2, 3)),
            "riemann_borders",
            "ab",
            TypeError,
            "borders is 'ab'",
        ),
        (
            ClassificationConfig(),
            "num_classes",
            2.5,
            TypeError,
            "num_classes is 2.5, must be a whole number",
        ),
        (TabularConfig(), "norm", "batch", ValueError, "norm is 'batch', must be 'rms' or 'layer'"),
        (
            PriorConfig(),
            "rows_law",
            "normal",
            ValueError,
            "rows_law is 'normal', must be 'log_uniform' or 'uniform'",
        ),
        (RealTableConfig(), "part", "all", ValueError, "part is 'all', must be 'train' or 'test'"),
    ],
)
def test_a_value_of_another_type_is_told_with_its_name(config, name, value, error, message):
    with pytest.raises(error, match=message):
        changed(config, name, value)


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("batch_size", np.int64(3), 3),
        ("learning_rate", np.float32(0.5), 0.5),
        ("learning_rate", 1, 1),
        ("use_wandb", np.bool_(True), True),
        ("checkpoint_dir", Path("a") / "b", str(Path("a") / "b")),
    ],
)
def test_a_value_of_a_near_type_becomes_the_fields(name, value, becomes):
    found = changed(TrainingConfig(), name, value)
    assert (found, type(found)) == (becomes, type(becomes))
