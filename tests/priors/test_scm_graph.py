"""Laws of graphs of many mechanisms: categories that act, a share in mixtures on demand, sparse
and dense graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from openpfn.configs.prior import PriorConfig
from openpfn.priors.mixture import MixturePrior
from openpfn.priors.scm_graph import JOINS, GraphPrior, _join, _Levels
from openpfn.scm.graphs import draw_graphs
from openpfn.scm.noise import Noise

PLAIN = PriorConfig(
    min_features=6, max_features=6, max_seq_len=200, learnable=False, missing_share=0
)


def draw(config: PriorConfig, n_tasks: int = 60, seed: int = 0):
    return GraphPrior(config).sample(n_tasks, torch.Generator().manual_seed(seed))


@pytest.mark.slow
def test_categories_have_few_or_many_levels_and_whole_tables_have_none() -> None:
    batches = [draw(PLAIN, seed=seed) for seed in range(6)]
    n_levels = torch.tensor(
        [
            len(column.unique())
            for batch in batches
            for column in batch.x.transpose(1, 2)[batch.categorical]
        ]
    )
    assert (n_levels == 2).float().mean() > 0.05
    assert (n_levels > 15).float().mean() > 0.03
    assert n_levels.max() <= 50
    shares = torch.cat([batch.categorical[:, :6].float().mean(1) for batch in batches])
    assert (shares == 0).float().mean() > 0.2
    assert ((shares > 0) & (shares < 1)).any()


def test_a_mixture_has_graphs_only_where_they_are_asked_for() -> None:
    assert "scm_graph" not in PriorConfig().parts
    config = replace(PLAIN, parts=("scm_tree", "scm_graph"), part_weights=(0.5, 0.5))
    batch = MixturePrior(config).sample(8, torch.Generator().manual_seed(0))
    assert batch.n_tasks == 8


def levels_of_graphs(seed: int, n_tasks: int = 16) -> _Levels:
    noise = Noise(torch.Generator().manual_seed(seed))
    graphs = draw_graphs((3, 5), (10, 30), 0.0, 5, torch.full((n_tasks,), 5), noise)
    causes = noise.normal(n_tasks, graphs.most_causes, 50)
    return _Levels(graphs, causes, noise)


def test_some_graphs_are_sparse_some_are_dense_and_some_nodes_have_many_children() -> None:
    mean_parents, popularity = [], []
    for seed in range(12):
        levels = levels_of_graphs(seed)
        levels.step(16)
        parents, n_parents = levels._parents(16)
        assert 1 <= n_parents.min() <= n_parents.max() <= 3
        mean_parents.append(n_parents.float().mean(1))
        n_known = levels.n_first + levels.n_nodes
        for graph, number in zip(parents, n_parents, strict=True):
            used = graph[torch.arange(graph.shape[1]) < number.unsqueeze(1)]
            popularity.append(torch.bincount(used, minlength=n_known).max() / len(used))
    means = torch.cat(mean_parents)
    assert (means < 1.5).float().mean() > 0.1
    assert (means > 2.5).float().mean() > 0.1
    assert (torch.stack(popularity) > 0.3).float().mean() > 0.1


def test_nodes_are_standardised_and_levels_have_no_noise() -> None:
    levels = levels_of_graphs(3)
    nodes, _ = levels.step(16)
    assert nodes.isfinite().all()
    assert float(nodes.mean().abs()) < 0.2
    spread = nodes.std(2)
    assert 0.8 < float(spread[spread > 0.05].median()) < 1.3
    many = [levels_of_graphs(seed).step(16) for seed in range(20)]
    distinct = [len(column.unique()) for nodes, is_level in many for column in nodes[is_level]]
    assert distinct
    assert max(distinct) <= 50


@pytest.mark.parametrize("name", [name for name in JOINS if name != "beside"])
def test_parents_that_are_absent_do_not_act(name: str) -> None:
    values = Noise(torch.Generator().manual_seed(0)).normal(9, 3, 2, 20)
    changed = values.clone()
    changed[:, 2] = 5.0
    n_parents = torch.full((9,), 2)
    torch.testing.assert_close(_join(values, n_parents, name), _join(changed, n_parents, name))
