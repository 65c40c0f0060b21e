"""Programs that call `sample(name, distribution)`: every kind of draw, for all tasks at once, out
of one generator."""

from __future__ import annotations

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
    Exponential,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    MixtureSameFamily,
    Multinomial,
    MultivariateNormal,
    Normal,
    StudentT,
    Uniform,
)

from openpfn.generators import DiscreteTask, Mixture, ProgramGenerator, sample

KINDS: dict[str, Distribution] = {
    "normal": Normal(1.0, 2.0),
    "several normals": Normal(torch.arange(3.0), 1.0),
    "expanded": Gamma(2.0, 1.0).expand([3]),
    "beta": Beta(2.0, 3.0),
    "dirichlet": Dirichlet(torch.tensor([1.0, 2.0, 3.0])),
    "exponential": Exponential(0.5),
    "laplace": Laplace(0.0, 1.0),
    "student": StudentT(9.0, 1.0, 2.0),
    "lognormal": LogNormal(0.0, 0.3),
    "uniform": Uniform(-1.0, torch.ones(2)),
    "categorical": Categorical(torch.tensor([0.2, 0.8])),
    "joint normal": MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.5], [0.5, 1.0]])),
    "independent": Independent(Normal(torch.arange(3.0), 1.0), 1),
    "mixture": MixtureSameFamily(
        Categorical(torch.tensor([0.5, 0.5])), Normal(torch.tensor([-3.0, 3.0]), 1.0)
    ),
    "mixture of kinds": Mixture([Normal(-3.0, 1.0), Laplace(3.0, 1.0)]),
    "pool": DiscreteTask(torch.tensor([[0.0, 1.0], [3.0, 2.0]])),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_site_draws_independently_for_all_tasks_at_once(kind: str) -> None:
    distribution = KINDS[kind]

    def program(n_rows: int) -> Tensor:
        value = sample("value", distribution)
        return value.sum() + torch.zeros(n_rows)

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of them needs the loop
        values = (
            ProgramGenerator(program, seq_len=2).sample(4000, seeded()).latents["value"].float()
        )
    expected = distribution.sample(torch.Size((4000,))).float()
    assert values.shape == expected.shape
    error = (values.var(0) / 4000 + expected.var(0) / 4000).sqrt()
    assert ((values.mean(0) - expected.mean(0)).abs() <= 5 * error).all()
    torch.testing.assert_close(values.std(0), expected.std(0), rtol=0.12, atol=0.02)


def hierarchy(x: Tensor) -> Tensor:
    center = sample("center", Normal(0.0, 10.0))
    slope = sample("slope", Normal(center, 0.01).expand([2]))
    spread = sample("spread", Gamma(100.0, 100.0 / (center.abs() + 1)))
    return sample("y", StudentT(30.0, x @ slope, spread))


def test_later_sites_depend_on_earlier_ones_of_the_same_task() -> None:
    batch = ProgramGenerator(hierarchy, input_dim=2, seq_len=40).sample(300, seeded())
    center, slope, spread = (batch.latents[name] for name in ("center", "slope", "spread"))
    assert (slope - center[:, None]).abs().max() < 0.06
    torch.testing.assert_close(spread, center.abs() + 1, rtol=0.6, atol=0)
    residual = (batch.y - (batch.x @ slope[..., None]).squeeze(-1)) / spread[:, None]
    assert 0.9 < float(residual.std()) < 1.2
    assert torch.equal(batch.y, batch.latents["y"])


def test_a_program_without_inputs_takes_the_number_of_rows() -> None:
    def coin(n_rows: int) -> Tensor:
        return sample(None, Bernoulli(sample("p", Beta(1.0, 1.0))).expand([n_rows]))

    generator = ProgramGenerator(coin)
    assert generator.generate(7).shape == (7,)
    batch = generator.of_length(500).sample(50, seeded())
    assert batch.x is None
    assert set(batch.latents) == {"p"}
    assert float((batch.y.mean(1) - batch.latents["p"]).abs().max()) < 0.1


def test_a_program_may_make_its_inputs() -> None:
    def clusters(n_rows: int) -> tuple[Tensor, Tensor]:
        centers = sample("centers", Normal(torch.zeros(2, 3), 20.0))
        label = sample(None, Bernoulli(0.5).expand([n_rows])).long()
        return sample(None, Normal(centers[label], 0.01)), label

    batch = ProgramGenerator(clusters, seq_len=30).sample(5, seeded())
    assert batch.x.shape == (5, 30, 3)
    near = torch.stack(
        [centers[y.long()] for centers, y in zip(batch.latents["centers"], batch.y, strict=True)]
    )
    assert float((batch.x - near).abs().max()) < 0.1


@pytest.mark.slow
def test_a_chain_steps_from_row_to_row() -> None:
    def chain(n_rows: int) -> Tensor:
        stay = sample("stay", Beta(8.0, 2.0))
        steps = [sample(None, Bernoulli(0.5))]
        for _ in range(n_rows - 1):
            steps.append(sample(None, Bernoulli(torch.where(steps[-1] > 0, stay, 1 - stay))))
        return torch.stack(steps)

    batch = ProgramGenerator(chain, seq_len=30).sample(200, seeded())
    stayed = (batch.y.diff(dim=1) == 0).float().mean(1)
    assert float((stayed - batch.latents["stay"]).abs().mean()) < 0.08


def test_a_program_that_branches_runs_in_a_loop_with_one_warning() -> None:
    def either(x: Tensor) -> Tensor:
        return (
            sample("slope", Normal(3.0, 0.1)) * x[:, 0]
            if sample("kind", Bernoulli(0.5)) > 0
            else 0 * sample("slope", Normal(0.0, 1.0))
        )

    def fixed(x: Tensor) -> Tensor:
        return either(x).expand(len(x))

    with pytest.warns(UserWarning, match="fixed runs in a loop"):
        batch = ProgramGenerator(fixed, input_dim=1, seq_len=5).sample(40, seeded())
    assert torch.equal(
        batch.y, batch.latents["kind"][:, None] * batch.latents["slope"][:, None] * batch.x[..., 0]
    )


def test_a_distribution_that_cannot_be_told_apart_is_looped_not_guessed() -> None:
    def counts(n_rows: int) -> Tensor:
        return sample("counts", Multinomial(10, torch.ones(3)))[:1].expand(n_rows)

    with pytest.warns(UserWarning, match="Multinomial"):
        batch = ProgramGenerator(counts, seq_len=2).sample(6, seeded())
    assert torch.equal(batch.latents["counts"].sum(1), torch.full((6,), 10.0))


def test_the_batch_and_the_loop_agree_on_what_follows_from_the_draws() -> None:
    def program(x: Tensor) -> Tensor:
        w = sample("w", Normal(torch.zeros(3), 1.0))
        return torch.softmax(x @ w, 0).cumsum(0)

    batch = ProgramGenerator(program, input_dim=3, seq_len=8).sample(6, seeded())
    expected = torch.stack(
        [
            torch.softmax(x @ w, 0).cumsum(0)
            for x, w in zip(batch.x, batch.latents["w"], strict=True)
        ]
    )
    torch.testing.assert_close(batch.y, expected)


def test_parameters_that_cannot_be_are_told() -> None:
    def broken(n_rows: int) -> Tensor:
        return sample(None, Normal(sample("a", Normal(0.0, 1.0)), -1.0).expand([n_rows]))

    with pytest.raises(ValueError, match="scale"):
        ProgramGenerator(broken).generate(3)


def test_programs_tell_their_pools() -> None:
    def pooled(x: Tensor) -> Tensor:
        return x @ sample("w", DiscreteTask(torch.eye(2)))

    assert torch.equal(ProgramGenerator(pooled, input_dim=2).task_pools()["w"], torch.eye(2))


def test_outside_a_program_a_site_is_an_ordinary_draw() -> None:
    torch.manual_seed(0)
    a = sample("x", Normal(0.0, 1.0))
    torch.manual_seed(0)
    assert torch.equal(a, Normal(0.0, 1.0).sample())


def twice(n_rows: int) -> Tensor:
    return sample("a", Normal(0.0, 1.0)) + sample("a", Normal(0.0, 1.0)).expand(n_rows)


@pytest.mark.parametrize(
    ("program", "arguments", "error", "match"),
    [
        (twice, {}, ValueError, "'a' twice"),
        (lambda n: 3.0, {}, TypeError, "returned a float"),
        (lambda x: (x, x[:, 0]), {"input_dim": 1}, TypeError, "returned a tuple"),
        (lambda n: torch.zeros(n + 1), {}, ValueError, r"gave \(5,\) for one task of 4 rows"),
        (
            lambda n: torch.zeros(n),
            {"x_distribution": Normal(0.0, 1.0)},
            ValueError,
            "x_distribution needs input_dim",
        ),
        (lambda x: x[:, 0], {"input_dim": 0}, ValueError, "input_dim is 0"),
    ],
)
def test_what_a_program_may_not_do_is_told(
    program: Any, arguments: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        ProgramGenerator(program, **arguments).generate(4)
