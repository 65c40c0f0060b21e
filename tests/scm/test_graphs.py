"""Laws of random numbers, causes, activations and random graphs behind the structural priors."""

from __future__ import annotations

import pytest
import torch

from openpfn.scm.activations import KINDS, N_CELLS, N_FUNCTIONS, Activations, random_functions
from openpfn.scm.causes import draw_causes
from openpfn.scm.graphs import N_READINGS, N_SCORES, Graphs, Reader, draw_graphs, pick_nodes
from openpfn.scm.noise import SPARSITY, Noise, change_rows, row_moments


@pytest.fixture
def noise() -> Noise:
    return Noise(torch.Generator().manual_seed(0))


def test_pooled_rows_are_standard_normal(noise: Noise) -> None:
    rows = noise.normal_rows(400, 300)
    assert abs(float(rows.mean())) < 0.03
    assert abs(float(rows.std()) - 1) < 0.03
    assert abs(float((rows.abs() < 1.96).float().mean()) - 0.95) < 0.01


def test_a_row_longer_than_the_pool_gets_a_larger_pool(noise: Noise) -> None:
    assert noise.normal_rows(2, 50_000).shape == (2, 50_000)


def test_sparse_rows_have_the_share_of_zeros_of_their_level(noise: Noise) -> None:
    for level, share in enumerate(SPARSITY):
        rows = noise.sparse_rows(torch.full((300,), level), 40)
        assert abs(float((rows == 0).float().mean()) - share) < 0.03


def test_choice_follows_its_weights(noise: Noise) -> None:
    drawn = noise.choice([1, 0, 3], 20_000)
    assert torch.allclose(
        torch.bincount(drawn, minlength=3) / 20_000, torch.tensor([0.25, 0.0, 0.75]), atol=0.02
    )


def test_below_stays_below_every_limit(noise: Noise) -> None:
    limit = torch.tensor([1, 2, 7])
    drawn = noise.below(limit, 500)
    assert torch.equal(drawn.amax(1), limit - 1)
    assert drawn.min() == 0


def test_moments_are_those_of_the_closed_form(noise: Noise) -> None:
    values, mask = noise.normal(5, 40) * 3 + 2, noise.flags(0.6, 5, 40)
    mean, deviation = row_moments(values)
    torch.testing.assert_close(mean, values.mean(1))
    torch.testing.assert_close(deviation, values.std(1, correction=0))
    mean, deviation = row_moments(values, mask)
    torch.testing.assert_close(mean[0], values[0][mask[0]].mean())
    torch.testing.assert_close(deviation[0], values[0][mask[0]].std(correction=0))


def test_only_the_given_rows_change() -> None:
    values = torch.zeros(4, 3)
    change_rows(values, torch.tensor([2]), lambda rows: rows + 1)
    assert torch.equal(values.sum(1), torch.tensor([0.0, 0, 3, 0]))


def test_causes_are_standardised_and_clusters_move_them(noise: Noise) -> None:
    causes = draw_causes(4, 400, torch.full((200,), 3), noise)
    assert torch.allclose(causes.values.mean(2), torch.zeros(200, 4), atol=1e-3)
    assert (causes.n_clusters == 1).any()
    assert (causes.n_clusters >= 3).any()
    assert (causes.clusters.amax(1) < causes.n_clusters).all()
    clustered = causes.n_clusters > 1
    in_first = (causes.clusters == 0).unsqueeze(1)
    shift = ((causes.values * in_first).sum(2) / in_first.sum(2)).abs().mean(1)
    assert shift[clustered].mean() > 0.3
    assert shift[~clustered].mean() < 0.01  # one cluster is everything, and everything has mean 0


def test_every_kind_of_activation_is_finite_and_all_but_the_identity_change_something(
    noise: Noise,
) -> None:
    activations = Activations(noise)
    activations._names = list(KINDS)
    for number, name in enumerate(KINDS):
        z = noise.normal(3, 500) * 10
        before = z.clone()
        activations.apply(z, torch.full((3,), number))
        assert z.isfinite().all(), name
        assert torch.equal(z, before) == (name == "identity"), name


def test_random_functions_are_smooth_and_vary(noise: Noise) -> None:
    table = random_functions(noise).view(N_FUNCTIONS, N_CELLS)
    assert table.diff(dim=1).abs().max() < 0.5
    assert (table.std(dim=1) > 0.005).all()
    assert table.std(dim=0).min() > 0.2


def graphs_of(noise: Noise, n_columns: int) -> Graphs:
    return draw_graphs(
        (2, 8),
        (20, 60),
        0.5,
        n_columns,
        torch.randint(1, n_columns + 1, (40,), generator=noise.generator),
        noise,
    )


@pytest.mark.parametrize("n_columns", [1, 12, 90])
def test_picked_nodes_exist_and_differ(n_columns: int, noise: Noise) -> None:
    graphs = graphs_of(noise, n_columns)
    picks = pick_nodes(graphs, n_columns, noise).view(40, N_READINGS, n_columns + N_SCORES)
    causes, width = graphs.most_causes, graphs.most_width
    for graph in range(40):
        layer = torch.where(picks[graph] < causes, 0, (picks[graph] - causes) // width + 1)
        unit = torch.where(picks[graph] < causes, picks[graph], (picks[graph] - causes) % width)
        assert (layer <= graphs.depth[graph]).all()
        assert (unit < torch.where(layer == 0, graphs.n_causes[graph], graphs.width[graph])).all()
        assert all(len(reading.unique()) == len(reading) for reading in picks[graph])


def test_direct_tasks_read_their_causes_and_score_the_last_layer(noise: Noise) -> None:
    graphs = graphs_of(noise, 6)
    picks = pick_nodes(graphs, 6, noise).view(40, N_READINGS, 6 + N_SCORES)
    for graph in graphs.direct.nonzero().squeeze(1).tolist():
        n_causes = int(graphs.n_causes[graph])
        assert (picks[graph, :, :n_causes] < graphs.most_causes).all()
        assert (
            (picks[graph, :, 6:] - graphs.most_causes) // graphs.most_width + 1
            == graphs.depth[graph]
        ).all()


def test_the_reader_copies_exactly_the_picked_nodes(noise: Noise) -> None:
    """Nodes that hold their own place as value: what is read is the picks."""
    graphs = graphs_of(noise, 5)
    reader = Reader(graphs, 5, 3, noise)
    first = 0
    for n_left, n_places in zip(
        [40, *graphs.left],
        [graphs.most_causes] + [graphs.most_width] * len(graphs.left),
        strict=True,
    ):
        reader.read((first + torch.arange(n_places)).float().view(1, -1, 1).expand(n_left, -1, 3))
        first += n_places
    expected = reader.picks.view(40, N_READINGS, -1, 1).expand(-1, -1, -1, 3).float()
    assert torch.equal(reader.readings, expected)
