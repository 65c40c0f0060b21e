"""Laws of what `openpfn benchmark speed` measures of ours."""

from __future__ import annotations

import pytest

from openpfn.benchmark.speed.ours import recipe_batch


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_batches_of_the_recipe_are_as_long_whatever_their_number_of_tasks(seed: int) -> None:
    few, many = recipe_batch(2, seed), recipe_batch(8, seed)
    assert (few.n_tasks, many.n_tasks) == (2, 8)
    assert few.y.shape[1] == many.y.shape[1]
    assert few.n_train == many.n_train
    assert (few.n_classes is None) == (many.n_classes is None)


def test_seeds_draw_batches_of_other_lengths() -> None:
    assert len({recipe_batch(2, seed).y.shape[1] for seed in range(3)}) == 3
