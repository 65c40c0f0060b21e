"""The options of a training: one value under two names, lists from JSON, and wrong ones named."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from openpfn.cli.train import parse
from openpfn.configs import TrainingConfig


def test_the_document_of_pfn_transformers_gives_the_defaults():
    documented = {
        "batch_size": 32,
        "seq_len": 64,
        "num_steps": 10_000,
        "learning_rate": 1e-4,
        "weight_decay": 1e-5,
        "use_warmup": True,
        "warmup_steps": 500,
        "use_grad_clip": True,
        "grad_clip": 1.0,
        "log_every": 100,
        "save_checkpoint": True,
        "save_every": 1000,
        "checkpoint_dir": "checkpoints",
        "eval_every": None,
        "eval_batches": 10,
        "device": "auto",
        "use_wandb": False,
        "wandb_project": None,
        "wandb_entity": None,
        "wandb_run_name": None,
        "wandb_log_model": True,
        "wandb_tags": None,
        "wandb_notes": None,
        "linear_checkpoint_interval": 100,
        "n_log_checkpoints": 1000,
    }
    ours = asdict(TrainingConfig())
    assert {name: ours[name] for name in documented} == documented


def test_num_workers_is_n_workers():
    config = TrainingConfig(num_workers=3)
    assert (config.n_workers, replace(config, n_workers=2).n_workers) == (3, 2)
    assert TrainingConfig(num_workers=3, n_workers=3) == config
    with pytest.raises(ValueError, match="num_workers is 3 and n_workers 2"):
        TrainingConfig(num_workers=3, n_workers=2)


def test_tags_may_be_a_list_and_cannot_change_afterwards():
    tags = ["regression", "v1"]
    config = TrainingConfig(wandb_tags=tags)
    tags.append("v2")
    assert config.wandb_tags == ("regression", "v1")
    assert TrainingConfig(**json.loads(json.dumps(asdict(config)))) == config
    assert hash(config) == hash(TrainingConfig(wandb_tags=("regression", "v1")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"prefetch_factor": 0}, "prefetch_factor is 0"),
        ({"n_log_checkpoints": 0}, "n_log_checkpoints is 0"),
        ({"linear_checkpoint_interval": -5}, "linear_checkpoint_interval is -5"),
    ],
)
def test_a_wrong_value_is_told_with_its_name(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**wrong)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "checkpoint_schedule",
            "weekly",
            "checkpoint_schedule is 'weekly', must be 'linear', 'logarithmic' or None",
        ),
        ("wandb_tags", "one", "wandb_tags is 'one', one text"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_where_types_are_not_checked(name, value, message):
    config = TrainingConfig()
    object.__setattr__(
        config, name, value
    )  # as the constructor does outside of the tests, which check its types
    with pytest.raises(ValueError, match=message):
        config.__post_init__()


def test_the_command_line_has_the_same_options():
    words = (
        "--use-wandb --wandb-tags a b --checkpoint-schedule logarithmic --num-workers 0"
        " --registry r"
    )
    options = parse(words.split())
    config = options.training
    assert (config.use_wandb, config.wandb_tags, config.checkpoint_schedule, config.n_workers) == (
        True,
        ("a", "b"),
        "logarithmic",
        0,
    )
    assert config.registry == "r"
