"""Laws of the columns: which blemish leaves what."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from openpfn.configs.prior import PriorConfig
from openpfn.scm.columns import dress_columns
from openpfn.scm.noise import Noise

CLEAN = replace(PriorConfig(), categorical_share=0, missing_share=0, blemish_share=0)
B, D, N = 200, 6, 120


def dress(config: PriorConfig, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    noise = Noise(torch.Generator().manual_seed(seed))
    nodes = noise.normal(B, D, N) * 3 + 1
    columns, categorical = dress_columns(nodes, torch.full((B,), D), config, noise)
    return nodes, columns, categorical


def test_a_clean_table_is_its_nodes_standardised() -> None:
    nodes, columns, categorical = dress(CLEAN)
    expected = (nodes - nodes.mean(2, keepdim=True)) / nodes.std(2, keepdim=True, correction=0)
    torch.testing.assert_close(columns, expected, rtol=1e-4, atol=1e-4)
    assert not categorical.any()


def test_a_constant_node_stays_finite() -> None:
    noise = Noise(torch.Generator().manual_seed(0))
    columns, _ = dress_columns(torch.full((3, 2, 9), 5.0), torch.full((3,), 2), CLEAN, noise)
    assert columns.isfinite().all()
    assert columns.abs().max() < 1e-3


def test_missing_values_befall_the_given_share_of_tasks() -> None:
    _, columns, _ = dress(replace(CLEAN, missing_share=0.4))
    hit = columns.isnan().any(2).any(1).float().mean()
    assert 0.25 < float(hit) < 0.45
    share = columns.isnan().float().mean(2)
    assert 0.05 < float(share[share > 0].mean()) < 0.35


def test_some_values_are_missing_because_they_are_large() -> None:
    nodes, columns, _ = dress(replace(CLEAN, missing_share=1))
    hidden = columns.isnan()
    mean_of_hidden = torch.where(hidden, nodes, 0).sum(2) / hidden.sum(2)
    kept = torch.where(hidden, 0, nodes).sum(2) / (~hidden).sum(2)
    gap = ((mean_of_hidden - kept) / 3)[hidden.sum(2) >= 5]
    assert 0.15 < float((gap > 1).float().mean()) < 0.55


def test_codes_are_cut_from_the_value_and_some_are_out_of_order() -> None:
    nodes, columns, categorical = dress(replace(CLEAN, categorical_share=1))
    values, codes = nodes[categorical], columns[categorical]
    order = values.argsort(1)
    sorted_codes = codes.gather(1, order)
    changes = (sorted_codes.diff(dim=1) != 0).sum(1)
    cardinality = torch.tensor([len(row.unique()) for row in codes])
    assert torch.equal(changes + 1, cardinality)  # every code is one interval of the value
    rising = (sorted_codes.diff(dim=1) >= 0).all(1)
    many = cardinality > 3
    assert 0.2 < float(rising[many].float().mean()) < 0.6
    assert 2 <= cardinality.float().median() <= 5
    assert cardinality.max() > 8


def test_every_blemish_shows() -> None:
    """With all blemishes there are constant, duplicated, rounded, heavy-tailed, irrelevant and
    far-off columns; clean tables have none."""
    for share, present in ((1.0, True), (0.0, False)):
        nodes, columns, _ = dress(replace(CLEAN, blemish_share=share), seed=1)
        mean, deviation = columns.mean(2), columns.std(2)
        constant = deviation == 0
        standard = (columns - mean.unsqueeze(2)) / deviation.clamp(min=1e-30).unsqueeze(2)
        related = (standard @ standard.transpose(1, 2) / N).abs() - torch.eye(D)
        base = (nodes - nodes.mean(2, keepdim=True)) / nodes.std(2, keepdim=True)
        kept = ((standard * base).mean(2).abs() > 0.3) | constant
        found = {
            "constant": constant.any(),
            "duplicated": (related > 0.9).any(),
            "whole": ((columns == columns.round()).all(2) & ~constant).any(),
            "tailed": (standard.abs().amax(2) > 7).any(),
            "irrelevant": (~kept).float().mean() > 0.05,
            "far": ((mean.abs() > 3 * deviation) & ~constant).any(),
            "scaled": (deviation > 50).any(),
        }
        assert {name: bool(value) for name, value in found.items()} == dict.fromkeys(found, present)


def test_shares_are_fields_of_the_configuration() -> None:
    assert {"categorical_share", "missing_share", "blemish_share"} <= {
        field.name for field in fields(PriorConfig)
    }
