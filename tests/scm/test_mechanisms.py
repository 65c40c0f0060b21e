"""Laws of the mechanisms of graphs: each sees its own inputs alone, and does what it is named
for."""

from __future__ import annotations

import pytest
import torch

from openpfn.scm.mechanisms import MECHANISMS, levels, linear, product, quadratic
from openpfn.scm.noise import Noise

R, WIDTH, N = 40, 6, 200
every_mechanism = pytest.mark.parametrize("name", MECHANISMS)


def noise(seed: int = 0) -> Noise:
    return Noise(torch.Generator().manual_seed(seed))


def inputs(seed: int = 1) -> torch.Tensor:
    return noise(seed).normal(R, WIDTH, N)


@every_mechanism
@pytest.mark.parametrize("d", [1, 4])
def test_outputs_are_finite_and_vary(name: str, d: int) -> None:
    made = MECHANISMS[name][1](inputs(), torch.full((R,), WIDTH), d, noise())
    assert made.shape == (R, d, N)
    assert made.isfinite().all()
    assert (made.std(2) > 1e-3).float().mean() > 0.7
    assert 0.1 < float(made.std(2).median()) < 5


@every_mechanism
def test_a_node_sees_its_first_inputs_alone(name: str) -> None:
    mechanism, changed = MECHANISMS[name][1], inputs()
    changed[:, 2:] = 3.0
    n_inputs = torch.full((R,), 2)
    torch.testing.assert_close(
        mechanism(inputs(), n_inputs, 3, noise()), mechanism(changed, n_inputs, 3, noise())
    )


@every_mechanism
def test_equal_rows_have_equal_values(name: str) -> None:
    x = inputs()
    x[:, :, N // 2 :] = x[:, :, : N // 2]
    made = MECHANISMS[name][1](x, torch.full((R,), WIDTH), 3, noise())
    torch.testing.assert_close(made[:, :, N // 2 :], made[:, :, : N // 2])


def test_linear_sums_are_linear_and_quadratic_forms_are_not() -> None:
    x, n_inputs = inputs(), torch.full((R,), WIDTH)

    def change(mechanism) -> torch.Tensor:
        twice = mechanism(2 * x, n_inputs, 2, noise())
        return (twice - 2 * mechanism(x, n_inputs, 2, noise())).abs().amax((1, 2))

    assert change(linear).max() < 1e-4
    assert change(quadratic).min() > 1e-2


def test_a_product_of_one_input_is_its_power() -> None:
    x = inputs()
    made = product(x, torch.ones(R, dtype=torch.long), 1, noise())[:, 0]
    square, cube = x[:, 0] ** 2, x[:, 0] ** 3
    is_square = (made - square).abs().amax(1) < 1e-4
    assert (is_square | ((made - cube).abs().amax(1) < 1e-4)).all()
    assert 0.5 < is_square.float().mean() < 0.95


def test_levels_are_few_or_many_and_some_are_rare() -> None:
    counts = []
    for seed in range(12):
        made = levels(inputs(), torch.full((R,), WIDTH), 2, noise(seed))
        for first, second in made:
            values, count = first.unique(return_counts=True)
            assert len(second.unique()) == len(values)  # one level, one vector
            counts.append(count)
    n_levels = [len(count) for count in counts]
    assert min(n_levels) <= 2
    assert 25 < max(n_levels) <= 50
    assert sum(int(count.min()) <= 2 for count in counts) > 0.1 * len(counts)
