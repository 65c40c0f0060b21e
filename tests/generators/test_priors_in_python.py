"""Priors written in Python: what the functions see, what a batch has in common with single
sequences, and the laws of what is drawn."""

from __future__ import annotations

import math
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
)

from openpfn import generators
from openpfn.bayes import Likelihood, Mixture, Prior
from openpfn.cli import main
from openpfn.data.stream import TaskStream
from openpfn.generators import (
    BayesianGenerator,
    DatasetGenerator,
    DeterministicGenerator,
    DiscreteTask,
    MixtureGenerator,
    UnsupervisedBayesian,
    sample_batch,
)
from openpfn.generators.distributions import check_function
from openpfn.priors.base import made


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(x: Tensor, params: Any) -> Tensor:
    w, b = params
    return (w * x).sum(dim=-1) + b


def is_under_vmap(value: Tensor) -> bool:
    """Whether torch.vmap hides an axis of `value`."""
    functorch: Any = torch._C
    return functorch._functorch.is_batchedtensor(value)


LINE = DeterministicGenerator(
    Independent(Normal(torch.zeros(2), torch.tensor([1.0, 0.5])), 1), line, input_dim=5
)


def noisy_line(theta: Tensor, x: Tensor) -> dict[str, Any]:
    return {"loc": (theta * x).sum(dim=-1), "scale": 0.1}


def test_one_sequence_has_the_documented_shapes() -> None:
    x, y = LINE.generate(seq_len=64)
    assert (x.shape, y.shape) == ((64, 5), (64,))


def test_a_batch_gives_every_task_its_own_parameters() -> None:
    batch = LINE.sample(20, seeded())
    params = batch.latents["params"]
    expected = torch.stack([line(x, p) for x, p in zip(batch.x, params, strict=True)])
    torch.testing.assert_close(batch.y, expected)
    assert params.shape == (20, 2)
    assert len(params[:, 0].unique()) == 20


def test_generate_with_params_tells_what_it_used() -> None:
    x, y, params = LINE.generate_with_params(30, seeded())
    torch.testing.assert_close(y, line(x, params))


def test_without_a_generator_the_global_random_state_decides() -> None:
    torch.manual_seed(3)
    a = LINE.generate(5)
    torch.manual_seed(3)
    b, c = LINE.generate(5), LINE.generate(5)
    assert torch.equal(a[1], b[1])
    assert not torch.equal(b[1], c[1])


def test_noise_has_its_standard_deviation_and_none_is_none() -> None:
    def zero(x: Tensor, w: Tensor) -> Tensor:
        return 0 * x[:, 0]

    noisy = DeterministicGenerator(Normal(0.0, 1.0), zero, 1, noise_std=0.3)
    assert abs(float(sample_batch(noisy, 100, 200, seeded())[1].std()) - 0.3) < 0.01
    silent = DeterministicGenerator(Normal(0.0, 1.0), zero, 1, noise_std=None)
    assert not sample_batch(silent, 3, 4, seeded())[1].any()


def test_inputs_come_from_their_distribution() -> None:
    covariance = torch.tensor([[1.0, 0.9], [0.9, 1.0]])
    rows = DeterministicGenerator(
        Normal(0.0, 1.0),
        lambda x, w: x[:, 0],
        2,
        x_distribution=MultivariateNormal(torch.ones(2), covariance),
    )
    x, _ = sample_batch(rows, 100, 200, seeded())
    torch.testing.assert_close(x.flatten(0, 1).mean(0), torch.ones(2), atol=0.04, rtol=0)
    torch.testing.assert_close(x.flatten(0, 1).T.cov(), covariance, atol=0.05, rtol=0)
    wrong = DeterministicGenerator(
        Normal(0.0, 1.0),
        lambda x, w: x[:, 0],
        3,
        x_distribution=MultivariateNormal(torch.ones(2), covariance),
    )
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        wrong.generate(4)


def test_a_function_that_branches_runs_in_a_loop_with_one_warning_and_the_same_numbers() -> None:
    def kinked(x: Tensor, w: Tensor) -> Tensor:
        return w * x[:, 0] if w > 0 else x[:, 0].abs()

    generator = DeterministicGenerator(Normal(0.0, 1.0), kinked, 1, seq_len=6)
    with pytest.warns(UserWarning, match="kinked runs in a loop"):
        batch = generator.sample(8, seeded())
    expected = torch.stack(
        [kinked(x, w) for x, w in zip(batch.x, batch.latents["params"], strict=True)]
    )
    assert torch.equal(batch.y, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.of_length(4).sample(3, seeded())


def test_a_function_that_vmap_would_answer_wrongly_runs_in_a_loop() -> None:
    def by_rank(x: Tensor, w: Tensor) -> Tensor:
        return x[:, 0] * (1 if is_under_vmap(w) else 2)

    generator = DeterministicGenerator(Normal(0.0, 1.0), by_rank, 1, seq_len=6)
    with pytest.warns(UserWarning, match="other values"):
        batch = generator.sample(4, seeded())
    assert torch.equal(batch.y, 2 * batch.x[..., 0])


def test_a_random_function_differs_between_tasks_and_follows_the_generator() -> None:
    def dropped(x: Tensor, w: Tensor) -> Tensor:
        return w * x[:, 0] + torch.randn(len(x))

    generator = DeterministicGenerator(
        DiscreteTask(torch.ones(1)), dropped, 1, x_distribution=Normal(0.0, 1e-9), seq_len=6
    )
    a, b = generator.sample(5, seeded()), generator.sample(5, seeded())
    assert torch.equal(a.y, b.y)
    assert len(a.y.unique()) == 30


def test_randomness_from_elsewhere_is_refused() -> None:
    calls = []

    def counting(x: Tensor, w: Tensor) -> Tensor:
        calls.append(1)
        return x[:, 0] + len(calls)

    with pytest.raises(ValueError, match="same state of torch's random generator"):
        DeterministicGenerator(Normal(0.0, 1.0), counting, 1).generate(4)


def test_a_function_of_the_wrong_shape_is_told() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\) for one task of 4 rows; expected shape \(4,\)"):
        DeterministicGenerator(Normal(0.0, 1.0), lambda x, w: w * x, 2).generate(4)


def test_an_error_of_the_function_arrives_as_it_is() -> None:
    def broken(x: Tensor, w: Tensor) -> Tensor:
        raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        DeterministicGenerator(Normal(0.0, 1.0), broken, 2).generate(4)


def test_the_documented_prior_and_likelihood() -> None:
    generator = BayesianGenerator(
        prior=Prior(Normal(0.0, 1.0)),
        likelihood=Likelihood(distribution_class=Normal, parameterizer=noisy_line, input_dim=10),
    )
    x, y = generator.generate(seq_len=64)
    assert (x.shape, y.shape) == ((64, 10), (64,))
    x, y = sample_batch(generator, 200, 30, seeded())
    theta = generator.of_length(30).sample(200, seeded()).latents["params"]
    assert x is not None
    residual = y - (theta[:, None, None] * x).sum(-1)
    assert abs(float(residual.std()) - 0.1) < 0.005


def test_the_documented_unsupervised_prior() -> None:
    def parameterizer(theta: Tensor, x: Tensor) -> dict[str, Any]:
        seq_len = x.shape[0]
        return {"loc": theta.expand(seq_len), "scale": 0.5}

    generator = UnsupervisedBayesian(
        prior=Prior(Normal(0.0, 1.0)), likelihood=Likelihood(Normal, parameterizer, input_dim=1)
    )
    assert generator.generate(seq_len=64).shape == (64,)
    x, y = sample_batch(generator, 500, 40, seeded())
    assert x is None
    assert abs(float(y.mean(1).var()) - (1 + 0.25 / 40)) < 0.2  # between sequences
    assert abs(float(y.var(1).mean()) - 0.25) < 0.01  # within


@pytest.mark.parametrize(
    ("kind", "parameters", "mean"),
    [
        (Bernoulli, lambda theta, x: {"probs": theta}, lambda theta: theta),
        (Poisson, lambda theta, x: {"rate": theta.expand(len(x))}, lambda theta: theta),
        (
            Categorical,
            lambda theta, x: {"probs": torch.stack([1 - theta, theta])},
            lambda theta: theta,
        ),
        (
            StudentT,
            lambda theta, x: {"df": 9.0, "loc": theta * torch.ones(len(x)), "scale": 1},
            lambda theta: theta,
        ),
        (
            Beta,
            lambda theta, x: {"concentration1": theta, "concentration0": 1 - theta},
            lambda theta: theta,
        ),
    ],
)
def test_any_distribution_may_be_a_likelihood(kind: Any, parameters: Any, mean: Any) -> None:
    prior = DiscreteTask(torch.tensor([0.1, 0.8]))
    batch = UnsupervisedBayesian(Prior(prior), Likelihood(kind, parameters, 1), seq_len=100).sample(
        60, seeded()
    )
    for theta in (0.1, 0.8):
        chosen = batch.y[batch.latents["params"] == theta]
        assert (
            abs(float(chosen.mean()) - mean(theta))
            < 5 * float(chosen.std()) / chosen.numel() ** 0.5
        )
        assert len(chosen.mean(1).unique()) > 1  # rows are drawn for each task


def test_rows_may_be_drawn_jointly() -> None:
    def wiener(theta: Tensor, x: Tensor) -> dict[str, Tensor]:
        at = torch.arange(1.0, len(x) + 1)
        return {
            "loc": torch.zeros(len(x)),
            "covariance_matrix": torch.minimum(at[:, None], at[None]),
        }

    y = (
        UnsupervisedBayesian(Normal(0.0, 1.0), Likelihood(MultivariateNormal, wiener, 1), seq_len=5)
        .sample(8000, seeded())
        .y
    )
    torch.testing.assert_close(y.var(0), torch.arange(1.0, 6.0), rtol=0.08, atol=0)
    torch.testing.assert_close(y.diff(dim=1).var(0), torch.ones(4), rtol=0.08, atol=0)


def test_a_likelihood_of_the_wrong_shape_is_told() -> None:
    wide = Likelihood(Normal, lambda theta, x: {"loc": theta * x, "scale": 1.0}, 3)
    with pytest.raises(ValueError, match="one number a row"):
        BayesianGenerator(Prior(Normal(0.0, 1.0)), wide).generate(4)
    nothing: Any = Likelihood(Normal, lambda theta, x: theta * x, 3)
    with pytest.raises(TypeError, match="expected a dict"):
        BayesianGenerator(Prior(Normal(0.0, 1.0)), nothing).generate(4)


def test_what_is_no_distribution_is_no_prior() -> None:
    nothing: Any = lambda: 0.0  # noqa: E731
    with pytest.raises(TypeError, match="Distribution"):
        DeterministicGenerator(nothing, line, 1)


POOL = torch.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])


def test_a_pool_gives_its_tasks_alone_each_as_often_as_its_weight() -> None:
    drawn = DiscreteTask(POOL, weights=torch.tensor([1.0, 0.0, 3.0])).sample((4000,))
    assert not (drawn == POOL[1]).all(1).any()
    assert abs(float((drawn == POOL[2]).all(1).float().mean()) - 0.75) < 0.04
    torch.testing.assert_close(
        DiscreteTask(POOL).log_prob(torch.cat([POOL[:1], POOL[:1] + 1])).exp(),
        torch.tensor([1 / 3, 0.0]),
    )


def test_generators_tell_their_pools() -> None:
    pooled = DeterministicGenerator(DiscreteTask(POOL), line, 2)
    assert torch.equal(pooled.task_pools()["params"], POOL)
    assert not LINE.task_pools()
    either = DeterministicGenerator(
        Mixture([DiscreteTask(POOL), Independent(Normal(torch.zeros(2), 1.0), 1)]), line, 2
    )
    assert torch.equal(either.task_pools()["params.0"], POOL)
    assert torch.equal(MixtureGenerator([pooled, either]).task_pools()["0.params"], POOL)


def test_a_mixture_of_distributions_has_the_density_that_it_draws_from() -> None:
    parts: list[Distribution] = [Normal(-2.0, 0.5), StudentT(5.0, 3.0, 1.0)]
    mixture = Mixture(parts, weights=[1.0, 3.0])
    drawn = mixture.sample((20_000,))
    assert abs(float((drawn > 0.5).float().mean()) - 0.75) < 0.03
    grid = torch.linspace(-30, 40, 20_001)
    assert abs(float(torch.trapezoid(mixture.log_prob(grid).exp(), grid)) - 1) < 1e-3
    with pytest.raises(ValueError, match="same shape"):
        Mixture([Normal(0.0, 1.0), Dirichlet(torch.ones(2))])


def test_a_mixture_of_generators_keeps_each_sequence_whole() -> None:
    low, high = (
        DeterministicGenerator(DiscreteTask(torch.tensor([level])), lambda x, c: c + 0 * x[:, 0], 1)
        for level in (0.0, 9.0)
    )
    batch = MixtureGenerator([low, high], weights=[1.0, 4.0], seq_len=3).sample(400, seeded())
    assert torch.equal(batch.y, 9.0 * batch.latents["part"][:, None].expand(400, 3))
    assert torch.equal(batch.latents["params"], batch.y[:, 0])
    assert abs(float(batch.latents["part"].float().mean()) - 0.8) < 0.08
    with pytest.raises(ValueError, match="different columns"):
        MixtureGenerator([low, LINE]).sample(4, seeded())


X_DATA, Y_DATA = torch.randn(50, 3), torch.arange(50.0)


def test_random_rows_of_a_dataset_are_different_and_whole() -> None:
    batch = DatasetGenerator(x_data=X_DATA, y_data=Y_DATA, sequential=False, seq_len=50).sample(
        6, seeded()
    )
    assert torch.equal(batch.y.sort(1).values, Y_DATA.expand(6, 50))
    assert torch.equal(batch.x, X_DATA[batch.y.long()])
    assert not torch.equal(batch.y[0], batch.y[1])


def test_consecutive_rows_begin_anywhere() -> None:
    y = DatasetGenerator(X_DATA, Y_DATA, sequential=True, seq_len=48).sample(200, seeded()).y
    assert (y.diff(dim=1) == 1).all()
    assert torch.equal(y[:, 0].unique(), torch.arange(3.0))


def test_a_dataset_needs_rows_that_fit() -> None:
    with pytest.raises(ValueError, match="x_data has shape"):
        DatasetGenerator(X_DATA[:-1], Y_DATA)
    assert DatasetGenerator(None, Y_DATA).generate(8).shape == (8,)


@pytest.mark.slow
def test_workers_draw_from_a_prior_with_a_lambda_as_this_process_does() -> None:
    prior = DeterministicGenerator(
        Normal(torch.zeros(3), 1.0), lambda x, w: x @ w, 3, noise_std=0.1, seq_len=7
    )
    with (
        TaskStream(prior, 4, seed=5, n_workers=1) as far,
        TaskStream(prior, 4, seed=5, n_workers=0) as near,
    ):
        for _ in range(2):
            a, b = next(far), next(near)
            assert torch.equal(a.y, b.y)
            assert torch.equal(a.latents["params"], b.latents["params"])


def test_a_named_function_travels_by_pickle() -> None:
    copy = pickle.loads(pickle.dumps(LINE))
    assert torch.equal(copy.sample(3, seeded()).y, LINE.sample(3, seeded()).y)


def test_the_short_names_are_the_long_ones() -> None:
    assert generators.Deterministic is DeterministicGenerator
    assert generators.Bayesian is BayesianGenerator
    assert generators.Dataset is DatasetGenerator


def test_a_prior_in_a_file_of_ones_own_is_found_by_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_prior_file.py").write_text(
        "import torch\nfrom openpfn import DeterministicGenerator\nprior ="
        " DeterministicGenerator(torch.distributions.Normal(torch.zeros(3), 1.0), torch.mv,"
        " input_dim=3, seq_len=9, n_train=4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = made("my_prior_file:prior", None)
    batch = found.sample(2, seeded())
    assert (batch.n_rows, batch.n_train) == (9, 4)
    assert made(found, None) is found
    with pytest.raises(ValueError, match="at least 4"):
        found.of_length(3)
    with pytest.raises(ValueError, match="made in Python"):
        made("deterministic", None)


@pytest.mark.slow
def test_the_command_line_trains_on_a_prior_of_ones_own(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "my_classes_file.py").write_text(
        "import torch\nfrom openpfn import DeterministicGenerator\ndef sign(x, w):\n    return (x @"
        " w > 0).float()\nprior = DeterministicGenerator(torch.distributions.Normal(torch.zeros(3),"
        " 1.0), sign, input_dim=3, n_train=20)\nsequences ="
        " DeterministicGenerator(torch.distributions.Normal(torch.zeros(3), 1.0), sign,"
        " input_dim=3)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    common = [
        "train",
        "--preset",
        "micro",
        "--out",
        str(tmp_path / "run"),
        "--num-steps",
        "2",
        "--batch-size",
        "4",
        "--seq-len",
        "30",
    ]
    assert main([*common, "--prior", "my_classes_file:prior", "--n-workers", "0"]) == 0
    assert "trained 2 steps on 8 tasks" in capsys.readouterr().out
    assert main([*common, "--prior", "my_classes_file:sequences"]) != 0
    assert "no context rows" in capsys.readouterr().err


def test_rows_in_numpy_arrays_are_rows() -> None:
    x, y = torch.randn(9, 2), torch.arange(9.0)
    ours, theirs = DatasetGenerator(x, y), DatasetGenerator(x.double().numpy(), y.double().numpy())
    for a, b in zip(ours.generate(5, seeded()), theirs.generate(5, seeded()), strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert torch.equal(a, b)


@pytest.mark.parametrize("wrong", [0, -1])
def test_sizes_are_at_least_1(wrong) -> None:
    lines = DeterministicGenerator(Normal(torch.zeros(2), 1.0), torch.mv, 2)
    with pytest.raises(ValueError, match="seq_len is -1"):
        lines.generate(-1)
    with pytest.raises(ValueError, match=f"seq_len is {wrong}"):
        sample_batch(lines, 3, wrong)
    with pytest.raises(ValueError, match=f"batch_size is {wrong}"):
        sample_batch(lines, wrong, 3)
    with pytest.raises(ValueError, match=f"input_dim is {wrong}, must be a whole number"):
        DeterministicGenerator(Normal(torch.zeros(2), 1.0), torch.mv, wrong)
    with pytest.raises(ValueError, match="noise_std is nan"):
        DeterministicGenerator(Normal(torch.zeros(2), 1.0), torch.mv, 2, noise_std=math.nan)


def test_what_cannot_be_called_is_no_function() -> None:
    with pytest.raises(TypeError, match="function is a str; expected a function"):
        check_function("function", "sin")
