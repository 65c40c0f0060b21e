"""Sequence networks train on generators through the one `train`, as the document of
pfn_transformers calls it."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal
from toy_training import same_weights

from openpfn import checkpointing
from openpfn.configs import (
    ClassificationConfig,
    RegressionConfig,
    TrainingConfig,
    UnsupervisedConfig,
)
from openpfn.generators import (
    Bayesian,
    Dataset,
    Deterministic,
    DiscreteTask,
    Likelihood,
    Prior,
    UnsupervisedBayesian,
)
from openpfn.training import train
from openpfn.training.evaluation import figures
from openpfn.training.sources import GeneratedTasks, task_source

SMALL = {"d_model": 16, "n_layers": 1, "n_heads": 2}
BUCKETS = {
    "prediction_type": "distribution",
    "bucket_type": "uniform",
    "d_vocab": 20,
    "y_min": -5.0,
    "y_max": 5.0,
}


def line(x, w):
    return (w * x).sum(dim=-1)


def config(folder, **changes) -> TrainingConfig:
    fields = {
        "num_steps": 3,
        "batch_size": 4,
        "seq_len": 6,
        "log_every": 1,
        "eval_every": 3,
        "eval_batches": 2,
        "num_workers": 0,
    }
    return TrainingConfig(**fields | {"checkpoint_dir": str(folder)} | changes)


LINES = Deterministic(prior=Normal(0.0, 1.0), function=line, input_dim=3, noise_std=0.1)
LIKELIHOOD = Likelihood(
    distribution_class=Normal,
    parameterizer=lambda w, x: {"loc": (w * x).sum(-1), "scale": 0.1},
    input_dim=3,
)
SHIFTED = Likelihood(
    distribution_class=Normal,
    parameterizer=lambda mu, x: {"loc": mu.expand(x.shape[0]), "scale": 0.5},
    input_dim=1,
)
WITHOUT_X = UnsupervisedBayesian(Prior(Normal(0.0, 1.0)), SHIFTED)
ROWS = Dataset(torch.randn(50, 3), torch.randint(0, 3, (50,)))
CASES = {
    "point": (LINES, RegressionConfig(**SMALL, input_dim=3, prediction_type="point"), {"eval_mse"}),
    "distribution": (
        Bayesian(Prior(Normal(0.0, 1.0)), LIKELIHOOD),
        RegressionConfig(**SMALL, **BUCKETS, input_dim=3),
        {"eval_mse"},
    ),
    "set": (
        LINES,
        RegressionConfig(**SMALL, **BUCKETS, input_dim=3, mask_type="set"),
        {"eval_mse"},
    ),
    "classes": (
        ROWS,
        ClassificationConfig(**SMALL, input_dim=3, num_classes=3),
        {"eval_accuracy", "eval_auc"},
    ),
    "no inputs": (
        WITHOUT_X,
        UnsupervisedConfig(**SMALL, **BUCKETS, input_type="continuous"),
        {"eval_mse"},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_network_trains_evaluates_and_loads(tmp_path, case):
    prior, network, measured = CASES[case]
    model = train(prior, network, config(tmp_path))
    last = model.history.iloc[-1]
    known = {name for name in ("eval_accuracy", "eval_auc", "eval_mse") if last[name] == last[name]}
    assert known == measured
    assert last["tasks"] == 12
    loaded, _, metadata = checkpointing.load_checkpoint(tmp_path, device="cpu")
    assert same_weights(loaded, model)
    assert metadata.model_config == network


def test_the_rows_of_a_sequence_are_those_of_the_training_configuration(tmp_path):
    lengths = []
    network = RegressionConfig(**SMALL, input_dim=3, prediction_type="point")

    class Watched(Deterministic):
        def sample(self, n_tasks, generator):
            batch = super().sample(n_tasks, generator)
            lengths.append((batch.n_tasks, batch.n_rows))
            return batch

    prior = Watched(Normal(0.0, 1.0), line, 3)
    train(
        prior,
        network,
        config(tmp_path, seq_len=9, save_checkpoint=False),
        eval_data_generator=prior,
    )
    assert lengths == [(4, 9)] * 5


@pytest.mark.slow
def test_a_network_of_points_learns_lines(tmp_path):
    network = RegressionConfig(**SMALL, input_dim=1, prediction_type="point")
    settings = config(
        tmp_path,
        num_steps=150,
        batch_size=32,
        learning_rate=3e-3,
        eval_every=50,
        log_every=50,
        save_checkpoint=False,
    )
    losses = train(Deterministic(Normal(0.0, 1.0), line, 1), network, settings).history["eval_mse"]
    assert losses.iloc[-1] < 0.75 * losses.iloc[0]


@pytest.mark.slow
def test_the_evaluation_of_a_set_splits_the_rows_alike_every_time(tmp_path):
    prior, network, _ = CASES["set"]
    settings = config(tmp_path, learning_rate=1e-12, eval_every=1, save_checkpoint=False)
    assert train(prior, network, settings).history["eval_loss"].nunique() == 1


def test_pools_of_tasks_are_saved_with_the_checkpoints_of_a_run(tmp_path):
    pool = torch.randn(5, 3)
    network = RegressionConfig(**SMALL, input_dim=3, prediction_type="point")
    train(
        Deterministic(DiscreteTask(pool), line, 3),
        network,
        config(tmp_path, checkpoint_schedule="linear", linear_checkpoint_interval=2),
    )
    for name in ("latest", "best", "step-2", "step-3"):
        pools = checkpointing.load_checkpoint(tmp_path / f"{name}.safetensors", "cpu")[2].task_pools
        assert [p.tolist() for p in pools.values()] == [pool.tolist()]


class Coin:
    """A generator of one's own: no prior of this package, one sequence per call."""

    def generate(self, seq_len):
        return torch.bernoulli(torch.rand(()).expand(seq_len))


def test_an_object_that_generates_sequences_is_a_source(tmp_path):
    coins = task_source(Coin(), 7)
    assert isinstance(coins, GeneratedTasks)
    first, again, other = (
        coins.sample(3, torch.Generator().manual_seed(seed)).y for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    network = UnsupervisedConfig(
        **SMALL, input_type="discrete", prediction_type="distribution", d_vocab=2
    )
    model = train(
        Coin(), network, config(tmp_path, save_checkpoint=False), eval_data_generator=Coin()
    )
    assert 0 <= model.history["eval_accuracy"].iloc[-1] <= 1


def test_the_squared_error_of_distributions_is_measured_only_if_wanted():
    prior, network, _ = CASES["distribution"]
    model = train(prior, network, config("unused", save_checkpoint=False, num_steps=1))
    batch = prior.of_length(6).sample(5, torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = float((model.prefixes(batch).mean - batch.y).square().mean())
        assert figures(model, batch)["mse"] == pytest.approx(wanted)
        assert (
            figures(model, batch, distributional_mse=False)["mse"]
            != figures(model, batch, distributional_mse=False)["mse"]
        )
