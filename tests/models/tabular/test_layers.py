"""The two-way layer: long contexts a few rows at a time, every attention between rows and between
columns."""

import pytest
import torch

from openpfn import checkpoint, registry
from openpfn.attention import RowAttention
from openpfn.batch import TaskBatch
from openpfn.cli import train
from openpfn.configs import TabularConfig
from openpfn.models import PFN
from openpfn.models.tabular import layers
from openpfn.models.tabular.layers import ColumnAttention, SwappedColumnAttention, TwoWayLayer

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
    return (
        [state]
        if isinstance(state, torch.Tensor)
        else [tensor for part in state for tensor in tensors(part)]
    )


@pytest.fixture(params=EVERY)
def config(request) -> TabularConfig:
    return TabularConfig(d_model=16, n_heads=4, d_mlp=16, attention_type=request.param)


@pytest.fixture
def cells() -> torch.Tensor:
    return torch.randn(2, 4, N, 16)


@pytest.fixture(
    params=[None, [[True, True, True, True], [True, False, False, True]]],
    ids=["all columns", "padded columns"],
)
def columns(request) -> torch.Tensor | None:
    return None if request.param is None else torch.tensor(request.param)


def test_tiles_give_what_one_pass_gives(config, cells, columns, monkeypatch):
    layer = lively(config)
    expected, state = layer(cells, columns, N)
    monkeypatch.setattr(
        layers, "BYTES_PER_TILE", 7 * cells[:, :, 0].numel() * 4
    )  # 7 rows, and 4 in the last tile
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


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_padded_columns_are_never_read_and_get_nothing_wrong(name):
    layer = lively(TabularConfig(d_model=16, n_heads=4, d_mlp=16, column_attention_type=name))
    columns = torch.tensor(
        [
            [True, True, True, True, True],
            [True, True, False, False, True],
            [True, False, False, False, True],
        ]
    )
    cells = torch.randn(3, 5, 7, 16)
    other = torch.where(columns[:, :, None, None], cells, 100.0)
    together, _ = layer(cells, columns, 4)
    torch.testing.assert_close(
        layer(other, columns, 4)[0][columns], together[columns], atol=1e-5, rtol=1e-5
    )
    for task, present in enumerate(columns):
        alone, _ = layer(cells[task : task + 1, present], None, 4)
        torch.testing.assert_close(alone[0], together[task, present], atol=2e-5, rtol=1e-4)
        target, _ = layer.last(cells[task : task + 1, present], None, 4)
        torch.testing.assert_close(
            layer.last(cells, columns, 4)[0][task], target[0], atol=2e-5, rtol=1e-4
        )
        torch.testing.assert_close(target[0], alone[0, -1, 4:], atol=2e-5, rtol=1e-4)


def test_softmax_between_columns_through_the_interface_equals_the_fast_one():
    mechanism = registry.find("attention", "softmax", RowAttention)(16, 4)
    fast, general = ColumnAttention(16, 4), SwappedColumnAttention(mechanism)
    for weight in fast.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    mechanism.load_state_dict(fast.state_dict())
    cells, columns = (
        torch.randn(2, 4, 5, 16),
        torch.tensor([[True, True, True, True], [True, False, False, True]]),
    )
    for last in (False, True):
        expected, given = fast(cells, columns, last), general(cells, columns, last)
        present = columns[:, -1:] if last else columns
        torch.testing.assert_close(given[present], expected[present], atol=1e-5, rtol=1e-5)


def test_the_default_keeps_the_fast_attention_between_columns():
    for name in ("softmax", "Original"):
        assert isinstance(
            TwoWayLayer(TabularConfig(column_attention_type=name)).column_attention, ColumnAttention
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_switch_trains_and_survives_saving(name, tmp_path):
    found = registry.find("attention", name, RowAttention)
    options = {option: 3 for option, default in found.options().items() if type(default) is int}
    config = TabularConfig(
        d_model=8,
        n_heads=2,
        n_layers=2,
        d_mlp=8,
        attention_type=name.upper(),
        attention_options=options,
        column_attention_type=name,
        column_attention_options=options,
        qassmax=found.has_softmax_over_rows,
    )
    model = PFN(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    y = torch.randint(0, 2, (2, 14)).float()
    batch = TaskBatch(
        x=torch.randn(2, 14, 4),
        y=y,
        n_train=9,
        n_features=torch.tensor([4, 2]),
        n_classes=torch.full((2,), 2),
    )
    model.loss(batch).backward()
    assert all(
        weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None
    )
    loaded = checkpoint.load(checkpoint.save(tmp_path / "model.safetensors", model)).model
    assert loaded.config == model.config
    torch.testing.assert_close(loaded(batch), model(batch), atol=0, rtol=0)


def test_layers_know_their_place():
    model = PFN(
        TabularConfig(
            d_model=8,
            n_heads=2,
            n_layers=3,
            d_mlp=8,
            attention_type="local",
            column_attention_type="sparse",
        )
    )
    assert [layer.row_attention.layer for layer in model.stack] == [0, 1, 2]
    assert [layer.column_attention.mechanism.layer for layer in model.stack] == [0, 1, 2]


def test_options_reach_the_mechanism_from_the_command_line():
    options = train.parse(
        "--attention-type local --model.attention-options window 5 --model.qassmax".split()
    )
    assert options.model.attention_options == {"window": 5}
    assert options.model.qassmax
    assert TwoWayLayer(options.model).row_attention.window == 5


def test_an_unknown_option_is_refused_when_the_network_is_built():
    with pytest.raises(
        ValueError, match=r"LinearAttention has no option 'window'\. Its options: features"
    ):
        PFN(TabularConfig(attention_type="linear", attention_options={"window": 5}))
    with pytest.raises(
        ValueError, match=r"SoftmaxAttention has no option 'window'\. Its options: none"
    ):
        PFN(TabularConfig(column_attention_options={"window": 5}))


def test_a_configuration_can_be_hashed_with_options():
    options = {"n_points": 8}
    assert hash(TabularConfig(attention_options=options)) == hash(
        TabularConfig(attention_options=dict(options))
    )
    assert TabularConfig(attention_options=options) != TabularConfig()
