"""QASSMax: queries scaled by the number of rows and by themselves."""

import math

import pytest
import torch

from openpfn import registry
from openpfn.attention import RowAttention
from openpfn.attention.base import QueryScale

WITH_SOFTMAX = [
    name
    for name in registry.names("attention")
    if registry.find("attention", name, RowAttention).has_softmax_over_rows
]


@pytest.mark.parametrize("name", WITH_SOFTMAX)
def test_before_training_it_changes_nothing(name):
    mechanism = registry.find("attention", name, RowAttention)
    plain, sharpened = mechanism(16, 4), mechanism(16, 4, qassmax=True)
    for weight in plain.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    missing, unexpected = sharpened.load_state_dict(plain.state_dict(), strict=False)
    assert missing
    assert all("query_scale" in weight for weight in missing)
    assert not unexpected
    rows = torch.randn(2, 11, 16)
    torch.testing.assert_close(sharpened(rows, 8)[0], plain(rows, 8)[0], atol=1e-6, rtol=1e-5)


def test_it_is_the_published_formula():
    scale = QueryScale(2, 4)
    for weight in scale.parameters():
        torch.nn.init.normal_(weight)
    q = torch.randn(3, 2, 5, 4)
    by_length = scale.by_length(torch.tensor([math.log(70)])).reshape(2, 4)
    for head in range(2):
        expected = q[:, head] * by_length[head] * (1 + torch.tanh(scale.by_query(q[:, head])))
        torch.testing.assert_close(scale(q, 70)[:, head], expected)


def test_a_scale_of_log_n_keeps_one_matching_row_among_many_distractors():
    """With q·log n a row that scores c above the others keeps its weight while n grows; without, it
    drowns."""
    mechanism = registry.find("attention", "softmax", RowAttention)
    kept = {}
    for qassmax in (False, True):
        attention = mechanism(4, 1, qassmax=qassmax)
        for weight in (attention.to_query.weight, attention.to_out.weight):
            torch.nn.init.eye_(weight)
        with torch.no_grad():
            attention.to_key_value.weight.copy_(torch.eye(4).repeat(2, 1))
            if qassmax:  # the mean of eight hidden units, each GELU(log n), which is nearly log n
                first, last = attention.query_scale.by_length[0], attention.query_scale.by_length[2]
                for part, weight in ((first, 1.0), (last, 1 / 8)):
                    part.weight.fill_(weight)
                    part.bias.zero_()
        for n in (10, 1000):
            context = torch.zeros(1, n, 4)
            context[:, 0, 0] = 1.0
            rows = torch.tensor([[[3.0, 0, 0, 0]]])
            kept[qassmax, n] = attention.read(rows, attention.summarize(context))[0, 0, 0].item()
    assert kept[False, 1000] < 0.02
    assert kept[True, 1000] > kept[True, 10] > 0.7
