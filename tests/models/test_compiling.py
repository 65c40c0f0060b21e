"""The parts of the table network can be traced whole by the compiler, and give the same answers."""

import pytest
import torch

from openpfn.configs import TabularConfig
from openpfn.models.tabular.layers import TwoWayLayer

pytestmark = pytest.mark.compile


@pytest.mark.parametrize("attention_type", ["softmax", "linear"])
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_a_layer_compiles_without_a_break_and_changes_nothing(attention_type, norm):
    torch.manual_seed(0)
    layer = TwoWayLayer(
        TabularConfig(d_model=16, d_mlp=16, attention_type=attention_type, norm=norm)
    )
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    cells = torch.randn(2, 4, 9, 16)
    plain, _ = layer(cells, None, 6)
    compiled, _ = torch.compile(layer, fullgraph=True, backend="aot_eager")(cells, None, 6)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
