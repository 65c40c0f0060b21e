"""A layer that goes through a long context a few rows at a time does what it does in one piece."""

import pytest
import torch

from openpfn import registry
from openpfn.configs import TabularConfig
from openpfn.models import layers
from openpfn.models.layers import TwoWayLayer

EVERY = registry.names("attention")
N = 60


def lively(config: TabularConfig, is_last: bool = False) -> TwoWayLayer:
    """A layer whose zero-initialised outputs are drawn at random, so that every part shows."""
    torch.manual_seed(0)
    layer = TwoWayLayer(config, is_last)
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return layer


def tensors(state) -> list[torch.Tensor]:
    return [state] if isinstance(state, torch.Tensor) else [tensor for part in state for tensor in tensors(part)]


@pytest.fixture(params=EVERY)
def config(request) -> TabularConfig:
    return TabularConfig(d_model=16, n_heads=4, d_mlp=16, attention_type=request.param)


@pytest.fixture
def cells() -> torch.Tensor:
    return torch.randn(2, 4, N, 16)


@pytest.fixture(params=[None, [[True, True, True, True], [True, False, False, True]]], ids=["all columns", "padded columns"])
def columns(request) -> torch.Tensor | None:
    return None if request.param is None else torch.tensor(request.param)


def test_tiles_give_what_one_pass_gives(config, cells, columns, monkeypatch):
    layer = lively(config)
    expected, state = layer(cells, columns, N)
    monkeypatch.setattr(layers, "BYTES_PER_TILE", 7 * cells[:, :, 0].numel() * 4)    # 7 rows, and 4 in the last tile
    with torch.no_grad():
        given = cells.clone()
        tiled, tiled_state = layer.tiled(given, columns)
    assert tiled is given, "a long context must not exist twice"
    present = torch.ones(2, 4, dtype=torch.bool) if columns is None else columns
    torch.testing.assert_close(tiled[present], expected[present], atol=2e-5, rtol=1e-4)
    for a, b in zip(tensors(tiled_state), tensors(state), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_tiles_of_the_last_layer_leave_its_state(config, cells, columns, monkeypatch):
    layer = lively(config, is_last=True)
    _, state = layer.last(cells, columns, N)
    monkeypatch.setattr(layers, "BYTES_PER_TILE", 7 * cells[:, :, 0].numel() * 4)
    with torch.no_grad():
        tiled = layer.last_tiled(cells, columns)
    for a, b in zip(tensors(tiled), tensors(state), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_with_gradients_a_context_goes_in_one_piece(config, cells):
    layer = lively(config)
    out, _ = layer.tiled(cells, None)
    torch.testing.assert_close(out, layer(cells, None, N)[0])
    out.sum().backward()
    assert layer.mlp.hidden.weight.grad.abs().max() > 0
