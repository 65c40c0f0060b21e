"""Every example of the pfn_transformers document works as it stands there: imports renamed, runs
and batches shortened."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest
import torch
from jaxtyping import TypeCheckError
from library_document import SIZES, linear_fn, rows

from openpfn import (
    PFN,
    BayesianGenerator,
    ClassificationConfig,
    DatasetGenerator,
    DeterministicGenerator,
    RegressionConfig,
    TrainingConfig,
    UnsupervisedBayesian,
    UnsupervisedConfig,
    checkpointing,
    estimate_riemann_borders,
    sample_batch,
    train,
)
from openpfn.bayes import Likelihood, Prior
from openpfn.wandb import RunNameScheme, load_by_config, load_from_pretrained

# Quick Start and API Reference


def test_top_level_imports():
    from openpfn import (  # noqa: F401
        PFN,
        BayesianGenerator,
        ClassificationConfig,
        DatasetGenerator,
        DeterministicGenerator,
        RegressionConfig,
        TrainingConfig,
        UnsupervisedBayesian,
        UnsupervisedConfig,
        WandbLogger,
        bayes,
        checkpointing,
        configs,
        estimate_riemann_borders,
        generators,
        sample_batch,
        train,
        wandb,
    )

    assert bayes.Prior is Prior
    assert wandb.RunNameScheme is RunNameScheme


def test_submodule_imports():
    from openpfn.bayes import Likelihood, Prior  # noqa: F401
    from openpfn.configs import Classification, Regression, Unsupervised
    from openpfn.generators import Bayesian, Dataset, Deterministic, UnsupervisedBayesian

    assert (Deterministic, Bayesian, Dataset) == (
        DeterministicGenerator,
        BayesianGenerator,
        DatasetGenerator,
    )
    assert (Regression, Classification, Unsupervised) == (
        RegressionConfig,
        ClassificationConfig,
        UnsupervisedConfig,
    )
    assert UnsupervisedBayesian.__name__ == "UnsupervisedBayesian"


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        (sample_batch, ("data_generator", "batch_size", "seq_len")),
        (estimate_riemann_borders, ("sample_data", "num_buckets")),
        (
            load_from_pretrained,
            ("run_identifier", "checkpoint_step", "project", "entity", "device", "load_optimizer"),
        ),
        (load_by_config, ("scheme", "checkpoint_step", "device", "project", "entity")),
        (
            train,
            (
                "model_config",
                "training_config",
                "resume_from",
                "eval_data_generator",
                "data_config",
            ),
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_function_signatures(function, wanted):
    parameters = inspect.signature(function).parameters
    assert [name for name in parameters if name in wanted] == list(wanted)


TRAINING_DEFAULTS = {
    "batch_size": 32,
    "seq_len": 64,
    "num_steps": 10000,
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
}


def test_the_tables_of_parameters():
    assert {
        name: getattr(TrainingConfig(), name) for name in TRAINING_DEFAULTS
    } == TRAINING_DEFAULTS
    network = {
        "d_model",
        "n_layers",
        "n_heads",
        "d_head",
        "input_dim",
        "prediction_type",
        "mask_type",
    }
    buckets = {"bucket_type", "bucket_support", "d_vocab", "y_min", "y_max", "riemann_borders"}
    for config, wanted in (
        (RegressionConfig, network | buckets),
        (ClassificationConfig, network | {"num_classes"}),
        (UnsupervisedConfig, network | buckets | {"input_type"}),
    ):
        assert wanted <= {field.name for field in fields(config)}


# Step 1: Data Generator


def test_option_a_deterministic_functions():
    def my_function(x, params):
        w, b = params
        return (w * x).sum(dim=-1) + b

    prior = torch.distributions.Independent(
        torch.distributions.Normal(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5])), 1
    )
    data_gen = DeterministicGenerator(
        prior=prior,
        function=my_function,
        input_dim=5,
        noise_std=0.1,
    )
    x, y = data_gen.generate(seq_len=64)
    assert (x.shape, y.shape) == ((64, 5), (64,))
    noiseless = DeterministicGenerator(
        prior=prior, function=my_function, input_dim=5, noise_std=None
    )
    x, y, params = noiseless.generate_with_params(seq_len=64)
    assert torch.allclose(y, my_function(x, params), atol=1e-5)


def test_option_b_bayesian_prior_and_likelihood():
    prior = Prior(torch.distributions.Normal(0.0, 1.0))

    def parameterizer(theta, x):
        mean = (theta * x).sum(dim=-1)
        return {"loc": mean, "scale": 0.1}

    likelihood = Likelihood(
        distribution_class=torch.distributions.Normal, parameterizer=parameterizer, input_dim=10
    )
    data_gen = BayesianGenerator(prior=prior, likelihood=likelihood)
    x, y = data_gen.generate(seq_len=64)
    assert (x.shape, y.shape) == ((64, 10), (64,))
    x, y, theta = data_gen.generate_with_params(seq_len=2000)
    assert float((y - theta * x.sum(-1)).std()) == pytest.approx(0.1, rel=0.1)


def test_option_c_fixed_dataset():
    x_data = torch.randn(1000, 10)
    y_data = torch.randn(1000)
    data_gen = DatasetGenerator(x_data=x_data, y_data=y_data, sequential=False)
    x, y = data_gen.generate(seq_len=64)
    places = [int((x_data == row).all(-1).nonzero()) for row in x]
    assert torch.equal(y_data[places], y)
    x, _ = DatasetGenerator(x_data=x_data, y_data=y_data, sequential=True).generate(seq_len=64)
    first = int((x_data == x[0]).all(-1).nonzero())
    assert torch.equal(x, x_data[first : first + 64])


def test_option_d_unsupervised():
    prior = Prior(torch.distributions.Normal(0.0, 1.0))

    def parameterizer(theta, x):
        seq_len = x.shape[0]
        return {"loc": theta.expand(seq_len), "scale": 0.5}

    likelihood = Likelihood(
        distribution_class=torch.distributions.Normal,
        parameterizer=parameterizer,
        input_dim=1,
    )
    data_gen = UnsupervisedBayesian(prior=prior, likelihood=likelihood)
    y = data_gen.generate(seq_len=64)
    assert y.shape == (64,)
    x, y = sample_batch(data_gen, batch_size=32, seq_len=64)
    assert x is None
    assert y.shape == (32, 64)


# Step 2: Model Configuration


def test_regression_configurations():
    config = RegressionConfig(
        d_model=128, n_layers=4, n_heads=4, d_head=32, input_dim=10, prediction_type="point"
    )
    assert PFN(config)(*rows()).shape == (2, 3, 1)

    config = RegressionConfig(
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
    assert PFN(config)(*rows()).shape == (2, 3, 100)

    borders = estimate_riemann_borders(torch.randn(10000), num_buckets=100)
    config = RegressionConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_dim=10,
        prediction_type="distribution",
        bucket_type="riemann",
        d_vocab=100,
        riemann_borders=borders,
    )
    assert PFN(config)(*rows()).shape == (2, 3, 100)


@pytest.mark.parametrize("mask_type", ["autoregressive-pfn", "gpt2"])
@pytest.mark.parametrize("bucket_support", ["unbounded", "bounded"])
def test_key_parameters_of_regression(mask_type, bucket_support):
    buckets = {
        "bucket_type": "uniform",
        "d_vocab": 100,
        "y_min": -5.0,
        "y_max": 5.0,
        "bucket_support": bucket_support,
    }
    model = PFN(RegressionConfig(**SIZES, input_dim=10, mask_type=mask_type, **buckets))
    beyond = model.predictive_of(model(*rows())).log_prob(torch.tensor(6.0))
    assert bool((beyond == -torch.inf).all()) == (bucket_support == "bounded")


def test_classification_configuration():
    config = ClassificationConfig(
        d_model=128, n_layers=4, n_heads=4, d_head=32, input_dim=10, num_classes=5
    )
    assert PFN(config)(torch.randn(2, 3, 10), torch.randint(0, 5, (2, 3))).shape == (2, 3, 5)


def test_unsupervised_configurations():
    config = UnsupervisedConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_type="discrete",
        prediction_type="distribution",
        d_vocab=1000,
    )
    assert PFN(config)(torch.randint(0, 1000, (2, 3))).shape == (2, 3, 1000)
    config = UnsupervisedConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_type="continuous",
        prediction_type="point",
    )
    assert PFN(config)(torch.randn(2, 3)).shape == (2, 3, 1)
    config = UnsupervisedConfig(
        d_model=128,
        n_layers=4,
        n_heads=4,
        d_head=32,
        input_type="continuous",
        prediction_type="distribution",
        bucket_type="uniform",
        d_vocab=100,
        y_min=-5.0,
        y_max=5.0,
    )
    assert PFN(config)(torch.randn(2, 3)).shape == (2, 3, 100)
    with pytest.raises(
        (ValueError, TypeCheckError), match="mask_type"
    ):  # the tests check types before values
        UnsupervisedConfig(mask_type="autoregressive-pfn")


# Step 3: Training


@pytest.mark.slow
def test_training_with_checkpoints_and_evaluation(data_gen):
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    training_config = TrainingConfig(
        batch_size=2,
        seq_len=6,
        num_steps=4,
        learning_rate=1e-4,
        weight_decay=1e-5,
        use_warmup=True,
        warmup_steps=500,
        use_grad_clip=True,
        grad_clip=1.0,
        log_every=2,
        save_checkpoint=True,
        save_every=2,
        checkpoint_dir="checkpoints",
        device="auto",
        eval_every=2,
        eval_batches=1,
    )
    eval_data_gen = DeterministicGenerator(torch.distributions.Normal(1.0, 1.0), linear_fn, 10)
    model = train(data_gen, model_config, training_config, eval_data_generator=eval_data_gen)
    assert list(model.history["step"]) == [2, 4]
    assert model.history["eval_loss"].notna().all()
    assert checkpointing.load_checkpoint(model.run_folder, device="cpu")[2].step == 4


# Utilities


def test_sample_batch(data_gen):
    x, y = sample_batch(data_gen, batch_size=32, seq_len=64)
    assert (x.shape, y.shape) == ((32, 64, 10), (32, 64))


def test_estimate_riemann_borders():
    sample_data = torch.randn(10000)
    borders = estimate_riemann_borders(sample_data, num_buckets=100)
    assert borders.shape == (101,)
    inside = torch.histogram(sample_data, borders.float().cpu()).hist
    assert float(inside[1:-1].min()) > 90
    assert float(inside[1:-1].max()) < 110


def test_checkpointing():
    model_config = RegressionConfig(**SIZES, input_dim=10, prediction_type="point")
    training_config = TrainingConfig()
    model = PFN(model_config)
    checkpointing.save_checkpoint(
        checkpoint_path="model.pt",
        step=10000,
        model_state=model.state_dict(),
        model_config=model_config,
        training_config=training_config,
    )
    loaded, opt_state, metadata = checkpointing.load_checkpoint(
        checkpoint_path="model.pt", device="auto", load_optimizer=False
    )
    assert opt_state is None
    assert (metadata.step, metadata.model_config, metadata.training_config) == (
        10000,
        model_config,
        training_config,
    )
    assert all(
        torch.equal(a.cpu(), b)
        for a, b in zip(loaded.parameters(), model.parameters(), strict=True)
    )
