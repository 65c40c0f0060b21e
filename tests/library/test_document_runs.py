"""The pfn_transformers document's tracked runs, complete examples and common patterns work as they
stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from library_document import SHORT, SIZES, linear_fn, rows

from openpfn import (
    ClassificationConfig,
    DatasetGenerator,
    DeterministicGenerator,
    RegressionConfig,
    TrainingConfig,
    checkpointing,
    train,
)
from openpfn.wandb import (
    RunNameScheme,
    create_run_name,
    list_available_models,
    list_checkpoints,
    load_by_config,
    load_from_pretrained,
)

# Step 4: W&B Integration


@pytest.mark.slow
def test_basic_usage_of_wandb(data_gen, place):
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    training_config = TrainingConfig(
        **SHORT,
        use_wandb=True,
        wandb_project="my-project",
        wandb_entity="myteam",
        wandb_run_name="experiment-1",
        wandb_tags=["regression", "v1"],
        wandb_log_model=True,
    )
    train(data_gen, model_config, training_config)
    assert list(place.glob("wandb/offline-run-*/*.wandb"))
    (info,) = list_available_models(project="my-project", tags=["regression", "v1"])
    assert info.run_name == "experiment-1"
    (kept,) = list_checkpoints(info.run_id)
    assert kept.artifact_name == f"checkpoint-{info.run_id}-step-2"


@dataclass
class MyDataConfig:
    num_tasks: int = 100
    input_dim: int = 10


@pytest.mark.slow
def test_structured_run_names_loading_and_browsing(data_gen, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_ENTITY", "myteam")
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    data_config = MyDataConfig()
    scheme = RunNameScheme.from_templates(
        model={"n_layers": None, "d_model": None}, data={"num_tasks": None, "input_dim": None}
    )
    run_name = create_run_name(
        base="my-experiment", model_config=model_config, data_config=data_config, scheme=scheme
    )
    assert run_name == "my-experiment-model-n_layers4-d_model128-data-num_tasks100-input_dim10"
    four_steps = SHORT | {"num_steps": 4, "save_every": 2}
    training_config = TrainingConfig(
        **four_steps, use_wandb=True, wandb_run_name=run_name, wandb_tags=["production"]
    )
    model = train(data_gen, model_config, training_config, data_config=data_config)

    # by run
    models = list_available_models(project="my-project", tags=["production"])
    for m in models:
        print(f"{m.run_name} (step {m.checkpoint_step})")
        print(f"  URL: {m.run_url}")
    assert f"{run_name} (step 4)" in capsys.readouterr().out
    run_id = models[0].run_id
    checkpoints = list_checkpoints(run_id, project="my-project")
    for c in checkpoints:
        print(f"Step {c.step}: {c.artifact_name}")
    assert [c.step for c in checkpoints] == [2, 4]
    latest, _, metadata = load_from_pretrained(run_identifier=run_id, project="my-project")
    assert metadata.step == 4
    assert metadata.wandb_run_url
    assert all(
        torch.equal(a.cpu(), b)
        for a, b in zip(latest.parameters(), model.parameters(), strict=True)
    )
    _, _, metadata = load_from_pretrained(
        run_identifier=run_id, checkpoint_step=2, project="my-project"
    )
    assert metadata.step == 2

    # by configuration
    scheme = RunNameScheme.from_templates(
        model={"n_layers": None, "d_model": None}, data={"num_tasks": None}
    )
    for step, wanted in (("latest", 4), ("earliest", 2), (2, 2)):
        _, _, metadata = load_by_config(
            scheme=scheme,
            n_layers=4,
            d_model=128,
            num_tasks=100,
            checkpoint_step=step,
            project="my-project",
        )
        assert (metadata.run_id, metadata.step) == (run_id, wanted)


# Complete Examples


@pytest.mark.slow
def test_example_1_regression():
    data_gen = DeterministicGenerator(
        prior=torch.distributions.Normal(0.0, 1.0),
        function=linear_fn,
        input_dim=10,
        noise_std=0.1,
    )
    model_config = RegressionConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_dim=10,
        prediction_type="distribution",
        bucket_type="uniform",
        d_vocab=100,
        y_min=-5.0,
        y_max=5.0,
    )
    training_config = TrainingConfig(**SHORT, use_wandb=True, wandb_project="pfn-experiments")
    model = train(data_gen, model_config, training_config)

    device = next(model.parameters()).device
    x_test = torch.randn(1, 20, 10).to(device)
    y_test = torch.randn(1, 20).to(device)
    with torch.no_grad():
        logits = model(x_test, y_test)
        log_densities = model.bucketizer.log_bucket_densities(logits)
        pred_buckets = log_densities.argmax(dim=-1)
        pred_y = model.get_y_values(pred_buckets)
    assert pred_y.shape == (1, 20)
    assert list_available_models(project="pfn-experiments")[0].checkpoint_step == 2


def test_example_2_classification():
    x_data = torch.randn(1000, 10)
    y_data = torch.randint(0, 3, (1000,))
    data_gen = DatasetGenerator(x_data, y_data)
    config = ClassificationConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_dim=10,
        num_classes=3,
    )
    model = train(data_gen, config, TrainingConfig(**SHORT))

    device = next(model.parameters()).device
    x_test = torch.randn(1, 10, 10).to(device)
    y_test = torch.randint(0, 3, (1, 10)).to(device)
    with torch.no_grad():
        logits = model(x_test, y_test)
        predictions = logits.argmax(dim=-1)
    assert predictions.shape == (1, 10)
    assert set(predictions.flatten().tolist()) <= {0, 1, 2}


@dataclass
class DataConfig:
    num_tasks: int = 50
    input_dim: int = 10


@pytest.mark.slow
def test_example_3_config_based_loading(data_gen):
    data_config = DataConfig()
    scheme = RunNameScheme.from_templates(
        model={"n_layers": None, "d_model": None}, data={"num_tasks": None, "input_dim": None}
    )
    model_config = RegressionConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_dim=10,
        prediction_type="point",
    )
    run_name = create_run_name(
        base="my-exp",
        model_config=model_config,
        data_config=data_config,
        scheme=scheme,
    )
    model = train(
        data_gen,
        model_config,
        TrainingConfig(**SHORT, use_wandb=True, wandb_run_name=run_name),
        data_config=data_config,
    )
    model_loaded, _, meta = load_by_config(
        scheme=scheme,
        n_layers=4,
        d_model=128,
        num_tasks=50,
        input_dim=10,
        checkpoint_step="latest",
        project="my-project",
    )
    assert all(
        torch.equal(a.cpu(), b)
        for a, b in zip(model_loaded.parameters(), model.parameters(), strict=True)
    )
    assert meta.data_config == {"num_tasks": 50, "input_dim": 10}


# Best Practices and Common Patterns


@dataclass
class RequiredDataConfig:
    num_tasks: int
    input_dim: int


def test_device_placement_and_data_config(data_gen):
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    model = train(
        data_gen,
        model_config,
        TrainingConfig(**SHORT),
        data_config=RequiredDataConfig(num_tasks=50, input_dim=10),
    )
    x, y = rows()
    device = next(model.parameters()).device
    x = x.to(device)
    y = y.to(device)
    logits = model(x, y)
    assert logits.shape == (2, 3, 1)
    assert checkpointing.load_checkpoint(model.run_folder)[2].data_config == {
        "num_tasks": 50,
        "input_dim": 10,
    }


def test_the_environment_takes_the_place_of_the_fields_of_wandb(monkeypatch):
    from openpfn import WandbLogger

    monkeypatch.setenv("WANDB_ENTITY", "myteam")
    config = TrainingConfig(use_wandb=True)
    assert (config.wandb_project, config.wandb_entity) == (None, None)
    asked = SimpleNamespace(runs=lambda path, *_, **__: paths.append(path) or [])
    paths: list[str] = []
    WandbLogger(api=asked).runs()
    assert paths == ["myteam/my-project"]


@pytest.mark.slow
def test_the_wandb_workflow_with_the_registry_on_disk(data_gen):
    @dataclass
    class DataConfig:
        num_tasks: int = 100

    scheme = RunNameScheme.from_templates(model={"n_layers": None}, data={"num_tasks": None})
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    run_name = create_run_name(
        base="exp",
        model_config=model_config,
        data_config=DataConfig(),
        scheme=scheme,
    )
    train(
        data_gen,
        model_config,
        TrainingConfig(**SHORT, wandb_run_name=run_name),
        data_config=DataConfig(),
    )
    model, _, _ = load_by_config(
        scheme=scheme,
        n_layers=4,
        num_tasks=100,
        project="my-project",
    )
    assert model.config == model_config


SCRIPT = """
from openpfn import train, TrainingConfig, RegressionConfig, DeterministicGenerator
import pytest
import torch

def linear_fn(x, w):
    return (w * x).sum(dim=-1)

data_gen = DeterministicGenerator(
    prior=torch.distributions.Normal(0.0, 1.0), function=linear_fn, input_dim=10, noise_std=0.1
)
model_config = RegressionConfig(
    d_model=128, n_layers=4, n_heads=4, d_head=32, input_dim=10, prediction_type="point"
)
model = train(data_gen, model_config, TrainingConfig(batch_size=2, seq_len=6, num_steps=2))
with torch.no_grad():
    print(tuple(model(torch.randn(1, 5, 10), torch.randn(1, 5)).shape))
"""


@pytest.mark.slow
def test_the_basic_workflow_is_a_script_whose_function_reaches_the_worker(place):
    (place / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(1, 5, 1)"
