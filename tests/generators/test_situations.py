"""Situations that generators accept: priors of any kind, data that run out, whole numbers,
parameters without an axis of rows, objects that make one sequence at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Beta, Categorical, Normal

from openpfn.generators import (
    BayesianGenerator,
    DatasetGenerator,
    DeterministicGenerator,
    Likelihood,
    MixtureGenerator,
    Prior,
    UnsupervisedBayesian,
    sample_batch,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Slopes:
    """A prior that is no distribution of torch's."""

    def sample(self):
        return torch.randn(2)


class Shaped:
    """A prior whose `sample` takes a shape."""

    def sample(self, sample_shape):
        return torch.randn(*sample_shape, 2)


class Nested:
    def sample(self):
        return {"slope": torch.randn(2), "rest": (torch.randn(()), 3.0)}


def line(x, w):
    return x @ w


def nested_line(x, params):
    return x @ params["slope"] + params["rest"][0] + params["rest"][1]


@pytest.mark.parametrize("prior", [Slopes(), Shaped(), Prior(Slopes()), Prior(Prior(Slopes()))])
def test_a_prior_is_any_object_with_sample(prior) -> None:
    generator = DeterministicGenerator(prior, line, input_dim=2)
    batch = generator.sample(5, seeded())
    assert torch.equal(batch.y, generator.sample(5, seeded()).y)
    params = batch.latents["params"]
    assert params.shape == (5, 2)
    torch.testing.assert_close(batch.y, (batch.x @ params.unsqueeze(-1)).squeeze(-1))
    assert Prior(prior).sample((3,)).shape == (3, 2)
    assert Prior(prior).sample().shape == (2,)


def test_parameters_may_be_nested() -> None:
    batch = DeterministicGenerator(Nested(), nested_line, input_dim=2).sample(4, seeded())
    slope, level = batch.latents["params.slope"], batch.latents["params.rest.0"]
    assert batch.latents["params.rest.1"].tolist() == [3.0] * 4
    expected = (batch.x @ slope.unsqueeze(-1)).squeeze(-1) + level[:, None] + 3
    torch.testing.assert_close(batch.y, expected)
    x, _, params = DeterministicGenerator(Nested(), nested_line, 2).generate_with_params(6)
    assert x.shape == (6, 2)
    assert params["params.slope"].shape == (2,)


def test_priors_of_a_likelihood_are_any_objects_too() -> None:
    likelihood = Likelihood(Normal, lambda w, x: {"loc": x @ w, "scale": 0.1}, input_dim=2)
    assert BayesianGenerator(Slopes(), likelihood).generate(8)[1].shape == (8,)
    assert UnsupervisedBayesian(Prior(Slopes()), likelihood).generate(8).shape == (8,)


def test_what_cannot_be_sampled_is_no_prior() -> None:
    with pytest.raises(TypeError, match="object with a method sample"):
        DeterministicGenerator(3.0, line, input_dim=2)


def test_a_window_longer_than_the_data_goes_round_and_says_so_once() -> None:
    data = DatasetGenerator(torch.randn(5, 2), torch.arange(5.0), sequential=True)
    with pytest.warns(UserWarning, match="seq_len is 12, but the data have 5 rows"):
        y = data.of_length(12).sample(50, seeded()).y
    assert set(y.diff(dim=1).unique().tolist()) == {1.0, -4.0}
    assert len(y[:, 0].unique()) == 5


def test_random_rows_are_drawn_with_replacement_where_they_run_out() -> None:
    data = DatasetGenerator(torch.randn(5, 2), torch.arange(5.0))
    with pytest.warns(UserWarning, match="rows more than once"):
        assert data.generate(40)[1].unique().tolist() == [0, 1, 2, 3, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.generate(41)  # told once
    assert sorted(data.generate(5)[1].tolist()) == [0, 1, 2, 3, 4]


def test_whole_numbers_stay_whole_numbers() -> None:
    data = DatasetGenerator(torch.randn(50, 2), torch.randint(0, 3, (50,)), seq_len=8)
    assert data.generate(8)[1].dtype == torch.int64
    assert sample_batch(data, 4, 8)[1].dtype == torch.int64
    assert data.sample(4, seeded()).y.dtype == torch.float32  # what networks train on
    classes = Likelihood(Categorical, lambda w, x: {"logits": x @ w.view(2, 3)}, input_dim=2)
    drawn = BayesianGenerator(Normal(torch.zeros(6), 1.0), classes)
    assert drawn.generate(8)[1].dtype == torch.int64
    flips = Likelihood(Bernoulli, lambda p, x: {"probs": p}, input_dim=1)
    assert UnsupervisedBayesian(Beta(1.0, 1.0), flips).generate(8).dtype == torch.int64
    mixed = MixtureGenerator([data, drawn])
    assert sample_batch(mixed, 6, 8)[1].dtype == torch.int64


@pytest.mark.parametrize(
    "parameterizer",
    [
        lambda theta, x: {"loc": theta[0], "scale": 0.1},
        lambda theta, x: {"loc": theta[:1], "scale": theta[1:].exp()},
        lambda theta, x: {"loc": x[:, 0] + theta[0], "scale": theta[1:].exp()},
        lambda theta, x: {"loc": theta[0], "scale": torch.ones(len(x))},
        lambda theta, x: {"loc": float(3), "scale": 0.1},
    ],
)
@pytest.mark.parametrize("n_rows", [1, 3, 7])
def test_parameters_without_an_axis_of_rows_are_the_same_for_all_rows(parameterizer, n_rows):
    likelihood = Likelihood(Normal, parameterizer, input_dim=1)
    generator = BayesianGenerator(Normal(torch.zeros(2), 1.0), likelihood)
    for n_tasks in (1, 3, 7):
        y = generator.of_length(n_rows).sample(n_tasks, seeded()).y
        assert y.shape == (n_tasks, n_rows)
        if n_rows > 1:
            assert (y.diff(dim=1) != 0).all()  # drawn anew for each row
    assert UnsupervisedBayesian(Normal(torch.zeros(2), 1.0), likelihood).generate(5).shape == (5,)


def test_a_function_that_gives_one_value_says_so_for_every_row() -> None:
    level = DeterministicGenerator(Normal(0.0, 1.0), lambda x, level: level, input_dim=2)
    _, y, params = level.generate_with_params(6)
    assert torch.equal(y, params.expand(6))


class Plain:
    """Makes one sequence at a time and is no prior of this library."""

    def __init__(self, with_x: bool) -> None:
        self.with_x = with_x

    def generate(self, seq_len):
        y = torch.randint(0, 3, (seq_len,))
        return (torch.randn(seq_len, 2), y) if self.with_x else y


@pytest.mark.parametrize("with_x", [True, False])
def test_a_batch_is_drawn_of_any_object_that_generates(with_x) -> None:
    x, y = sample_batch(Plain(with_x), 4, 6)
    assert y.shape == (4, 6)
    assert (x is None) != with_x
    first, second = (sample_batch(Plain(with_x), 4, 6, seeded(1))[1] for _ in range(2))
    assert torch.equal(first, second)
    assert len(first.unique(dim=0)) == 4


def test_rows_of_a_plain_generator_may_be_arrays() -> None:
    class Arrays:
        def generate(self, seq_len):
            return np.ones((seq_len, 2)), np.arange(seq_len)

    x, y = sample_batch(Arrays(), 3, 4)
    assert x.shape == (3, 4, 2)
    assert y.tolist() == [[0, 1, 2, 3]] * 3


def test_what_cannot_generate_is_told_apart() -> None:
    with pytest.raises(TypeError, match="method generate"):
        sample_batch(3, 4, 6)
