"""Laws that every generator of sequences must keep, and a user's own with nothing but `draw`."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Beta, Gamma, Normal

from openpfn import generators
from openpfn.generators import (
    BayesianGenerator,
    DatasetGenerator,
    DeterministicGenerator,
    Likelihood,
    MixtureGenerator,
    Prior,
    ProgramGenerator,
    SequencePrior,
    UnsupervisedBayesian,
    sample,
    sample_batch,
)
from openpfn.priors.base import TaskPrior


class Levels(SequencePrior):
    """A user's own: noise about one level."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        self.level = level

    def draw(self, n_tasks: int, n_rows: int, generator: torch.Generator):
        y = self.level + torch.randn(n_tasks, n_rows, generator=generator, device=generator.device)
        return None, y, {}


def line(theta: Tensor, x: Tensor) -> dict[str, Tensor | float]:
    return {"loc": x @ theta, "scale": 0.1}


def coin(theta: Tensor, x: Tensor) -> dict[str, Tensor]:
    return {"probs": theta}


def wave(x: Tensor) -> Tensor:
    frequency = sample("frequency", Gamma(3.0, 1.0))
    return sample(None, Normal(torch.sin(frequency * x[:, 0]), 0.1))


TIMES = torch.linspace(0, 1, 100)
EXAMPLES: dict[str, SequencePrior] = {
    "bayesian": BayesianGenerator(
        Prior(Normal(torch.zeros(2), 1.0)), Likelihood(Normal, line, input_dim=2)
    ),
    "dataset": DatasetGenerator(torch.stack([TIMES, TIMES.cos()], 1), TIMES),
    "deterministic": DeterministicGenerator(
        Normal(torch.zeros(2), 1.0), torch.mv, input_dim=2, noise_std=0.1
    ),
    "mixture": MixtureGenerator([Levels(-2.0), Levels(2.0)], weights=[0.25, 0.75]),
    "program": ProgramGenerator(wave, input_dim=1),
    "unsupervised": UnsupervisedBayesian(
        Prior(Beta(1.0, 1.0)), Likelihood(Bernoulli, coin, input_dim=1)
    ),
    "a user's own": Levels(),
}
every_generator = pytest.mark.parametrize("prior", EXAMPLES.values(), ids=EXAMPLES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_generator_has_an_example_here() -> None:
    public = {getattr(generators, name) for name in generators.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, SequencePrior)}
    assert kinds - {SequencePrior} <= {type(prior) for prior in EXAMPLES.values()}


@every_generator
def test_the_generator_of_random_numbers_decides_everything(prior: TaskPrior) -> None:
    first = prior.sample(6, seeded(3))
    torch.manual_seed(99)  # torch's own plays no part
    before = torch.get_rng_state()
    again, other = prior.sample(6, seeded(3)), prior.sample(6, seeded(4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.y, other.y)
    copy = pickle.loads(pickle.dumps(prior)).sample(6, seeded(3))
    assert torch.equal(first.y, copy.y)
    assert all(len(value) == 6 for value in first.latents.values())


@every_generator
def test_a_sequence_has_the_rows_that_are_asked_for(prior: SequencePrior) -> None:
    longer = prior.of_length(9)
    batch = longer.sample(3, seeded())
    assert batch.y.shape == (3, 9)
    assert batch.y.dtype == torch.float32
    assert batch.x is None or (batch.x.shape[:2] == (3, 9) and batch.x.dtype == torch.float32)
    assert batch.n_train == 0
    assert prior.sample(2, seeded()).n_rows == 64  # the first one did not change
    with pytest.raises(ValueError, match="seq_len is 0"):
        prior.of_length(0)


@every_generator
def test_one_sequence_comes_with_its_parameters(prior: SequencePrior) -> None:
    outputs = prior.generate(7)
    with_params = prior.generate_with_params(7)
    assert len(with_params) == (2 if isinstance(outputs, torch.Tensor) else 3)
    assert with_params[-2].shape == (7,)
    x, y = sample_batch(prior, 4, 6)
    assert y.shape == (4, 6)
    assert (x is None) == isinstance(outputs, torch.Tensor)


@every_generator
def test_tasks_of_a_batch_differ(prior: TaskPrior) -> None:
    assert len(prior.sample(6, seeded()).y.unique(dim=0)) == 6


@every_generator
def test_a_sequence_of_no_rows_is_empty(prior: SequencePrior) -> None:
    outputs = prior.generate(0)
    if isinstance(outputs, torch.Tensor):
        assert outputs.shape == (0,)
    else:
        x, y = outputs
        assert (len(x), y.shape) == (0, (0,))
        assert x.shape[1:] == prior.generate(1)[0].shape[1:]
