"""Laws that every row attention must keep; a new file in the folder is tested with no edit here."""

import pytest
import torch

from openpfn import registry
from openpfn.attention import RowAttention

G, N, Q, E, H = 6, 9, 4, 16, 4


@pytest.fixture(params=[(name, separate) for name in registry.names("attention") for separate in (False, True)], ids=str)
def attention(request) -> RowAttention:
    name, separate = request.param
    torch.manual_seed(0)
    module = registry.find("attention", name, RowAttention)(E, H, separate_query_weights=separate)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return module


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(G, N + Q, E, generator=torch.Generator().manual_seed(1))


def test_one_joint_pass_equals_reading_the_kept_state(attention, rows):
    joint, _ = attention(rows, N)
    state = attention.finalize(attention.summarize(rows[:, :N]))
    torch.testing.assert_close(joint[:, N:], attention.read(rows[:, N:], state), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(joint[:, :N], attention.mix(rows[:, :N], state), atol=1e-5, rtol=1e-5)


def test_an_answer_does_not_depend_on_the_other_query_rows(attention, rows):
    state = attention.finalize(attention.summarize(rows[:, :N]))
    together = attention.read(rows[:, N:], state)
    alone = torch.cat([attention.read(rows[:, i : i + 1], state) for i in range(N, N + Q)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_row_order_of_the_context_does_not_matter(attention, rows):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    plain = attention.read(rows[:, N:], attention.finalize(attention.summarize(rows[:, :N])))
    shuffled = attention.read(rows[:, N:], attention.finalize(attention.summarize(rows[:, order])))
    torch.testing.assert_close(plain, shuffled, atol=1e-5, rtol=1e-5)


def test_merging_two_halves_equals_summarizing_the_whole(attention, rows):
    halves = attention.merge(attention.summarize(rows[:, :4]), attention.summarize(rows[:, 4:N]))
    whole = attention.read(rows[:, N:], attention.finalize(attention.summarize(rows[:, :N])))
    torch.testing.assert_close(attention.read(rows[:, N:], attention.finalize(halves)), whole, atol=1e-5, rtol=1e-5)


def test_the_context_changes_the_answer(attention, rows):
    other = attention.read(rows[:, N:], attention.finalize(attention.summarize(rows[:, 2:N] * 3)))
    plain = attention.read(rows[:, N:], attention.finalize(attention.summarize(rows[:, :N])))
    assert (other - plain).abs().max() > 1e-3


def test_gradients_are_finite_and_reach_every_weight(attention, rows):
    out, _ = attention(rows, N)
    out.square().mean().backward()
    for name, weight in attention.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(("n_context", "n_query"), [(1, 1), (1, 3), (5, 1)])
def test_single_rows_work(attention, n_context, n_query):
    out, _ = attention(torch.randn(2, n_context + n_query, E), n_context)
    assert out.shape == (2, n_context + n_query, E)
    assert out.isfinite().all()


def test_bfloat16_is_close(attention, rows):
    exact, _ = attention(rows, N)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = attention(rows, N)
    assert (rough.float() - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_heads_must_divide_the_width(attention):
    with pytest.raises(ValueError, match="not a multiple of n_heads"):
        type(attention)(E, 3)
