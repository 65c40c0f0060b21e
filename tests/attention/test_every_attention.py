"""Laws that every row attention must keep; a new file in the folder is tested with no edit here."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from openpfn import registry
from openpfn.attention import RowAttention

G, N, Q, E, H = 6, 9, 4, 16, 4
MECHANISMS = {
    name: registry.find("attention", name, RowAttention) for name in registry.names("attention")
}
SWITCHES = [
    (name, separate, qassmax)
    for name, mechanism in MECHANISMS.items()
    for separate in (False, True)
    for qassmax in (False, True)
    if mechanism.has_softmax_over_rows or not qassmax
]


def lively(mechanism: type[RowAttention], d_model: int = E, **switches) -> RowAttention:
    """The mechanism with random weights, and its counts (of points, of rows in a block) so small
    that they bind here."""
    torch.manual_seed(0)
    small = {name: 2 for name, default in mechanism.options().items() if type(default) is int}
    module = mechanism.build(d_model, H, small, **switches)
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return module


@pytest.fixture(params=SWITCHES, ids=lambda s: s[0] + "-separate" * s[1] + "-qassmax" * s[2])
def attention(request) -> RowAttention:
    name, separate, qassmax = request.param
    return lively(MECHANISMS[name], separate_query_weights=separate, qassmax=qassmax)


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(G, N + Q, E, generator=torch.Generator().manual_seed(1))


def state_of(attention: RowAttention, context: torch.Tensor):
    return attention.finalize(attention.summarize(context))


def test_one_joint_pass_equals_reading_the_kept_state(attention, rows):
    joint, _ = attention(rows, N)
    state = state_of(attention, rows[:, :N])
    torch.testing.assert_close(
        joint[:, N:], attention.read(rows[:, N:], state), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(
        joint[:, :N], attention.mix(rows[:, :N], state), atol=1e-5, rtol=1e-5
    )


def test_an_answer_does_not_depend_on_the_other_query_rows(attention, rows):
    state = state_of(attention, rows[:, :N])
    together = attention.read(rows[:, N:], state)
    alone = torch.cat([attention.read(rows[:, i : i + 1], state) for i in range(N, N + Q)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_columns_and_tasks_do_not_read_each_other(attention, rows):
    together, _ = attention(rows, N)
    alone = torch.cat([attention(group, N)[0] for group in rows.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_row_order_of_the_context_does_not_matter_to_queries(attention, rows):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    plain = attention.read(rows[:, N:], state_of(attention, rows[:, :N]))
    shuffled = attention.read(rows[:, N:], state_of(attention, rows[:, order]))
    torch.testing.assert_close(plain, shuffled, atol=1e-5, rtol=1e-5)


def test_row_order_matters_to_the_context_only_where_the_mechanism_says_so(attention, rows):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(2))
    plain = attention.mix(rows[:, :N], state_of(attention, rows[:, :N]))[:, order]
    shuffled = attention.mix(rows[:, order], state_of(attention, rows[:, order]))
    assert torch.allclose(plain, shuffled, atol=1e-5, rtol=1e-5) is not attention.order_matters


def test_rows_mix_in_portions_only_where_the_mechanism_says_so(attention, rows):
    context = rows[:, :N]
    state = state_of(attention, context)
    whole = attention.mix(context, state)
    if attention.mixes_rows_alone:
        portions = torch.cat(
            [attention.mix(part, state) for part in context.split(2, dim=1)], dim=1
        )
        torch.testing.assert_close(whole, portions, atol=1e-5, rtol=1e-5)
    else:
        alone, _ = attention(context[:, :3], 3)
        assert not torch.allclose(whole[:, :3], alone, atol=1e-5)


def test_merging_parts_equals_summarizing_the_whole(attention, rows):
    parts = [attention.summarize(part) for part in rows[:, :N].split((1, 5, 3), dim=1)]
    if not attention.can_merge:
        with pytest.raises(TypeError, match="cannot be merged"):
            attention.merge(*parts[:2])
        return
    whole = attention.read(rows[:, N:], state_of(attention, rows[:, :N]))
    merged = attention.finalize(attention.merge(attention.merge(parts[0], parts[1]), parts[2]))
    torch.testing.assert_close(attention.read(rows[:, N:], merged), whole, atol=1e-5, rtol=1e-5)


def test_the_context_changes_the_answer(attention, rows):
    other = attention.read(rows[:, N:], state_of(attention, rows[:, 2:N] * 3))
    plain = attention.read(rows[:, N:], state_of(attention, rows[:, :N]))
    assert (other - plain).abs().max() > 1e-3


def test_every_context_row_changes_the_answer(attention, rows):
    plain = attention.read(rows[:, N:], state_of(attention, rows[:, :N]))
    for i in range(N):
        changed = rows[:, :N].clone()
        changed[:, i] += 1
        assert (
            attention.read(rows[:, N:], state_of(attention, changed)) - plain
        ).abs().max() > 1e-4


def test_gradients_are_finite_and_reach_every_weight(attention, rows):
    out, _ = attention(rows, N)
    out.square().mean().backward()
    for name, weight in attention.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("n_groups", "n_context", "n_query"), [(2, 1, 1), (2, 1, 3), (1, 5, 1), (1, 2, 2), (2, 5, 0)]
)
def test_single_rows_and_columns_work(attention, n_groups, n_context, n_query):
    out, _ = attention(torch.randn(n_groups, n_context + n_query, E), n_context)
    assert out.shape == (n_groups, n_context + n_query, E)
    assert out.isfinite().all()


def test_equal_rows_and_huge_rows_give_finite_answers(attention):
    for rows in (torch.ones(2, N + Q, E), torch.zeros(2, N + Q, E), 1e4 * torch.randn(2, N + Q, E)):
        out, _ = attention(rows, N)
        assert out.isfinite().all()


def test_bfloat16_is_close(attention, rows):
    exact, _ = attention(rows, N)
    with torch.autocast("cpu", torch.bfloat16):
        rough, _ = attention(rows, N)
    assert (rough.float() - exact).abs().mean() < 0.03 * exact.abs().mean()


def test_float64_is_close(attention, rows):
    exact, _ = copy.deepcopy(attention).double()(rows.double(), N)
    plain, _ = attention(rows, N)
    assert exact.dtype is torch.float64
    torch.testing.assert_close(plain.double(), exact, atol=1e-4, rtol=1e-4)


class LargestTensor(TorchDispatchMode):
    """Counts the elements of the largest tensor that any operation inside makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@pytest.mark.slow
@pytest.mark.parametrize("name", MECHANISMS)
def test_scores_of_all_rows_against_all_rows_never_exist_at_once(name):
    n, largest = 2048, LargestTensor()
    with largest:
        out, _ = MECHANISMS[name](8, 2, separate_query_weights=True)(torch.randn(1, n + n, 8), n)
        out.sum().backward()
    assert 2 * n * 8 <= largest.elements < n * n / 4


def test_the_same_weights_give_the_same_answers_again(attention, rows):
    torch.testing.assert_close(
        attention(rows, N)[0], copy.deepcopy(attention)(rows, N)[0], atol=0, rtol=0
    )


def test_heads_must_divide_the_width(attention):
    with pytest.raises(ValueError, match="not a multiple of n_heads"):
        type(attention)(E, 3)


@pytest.mark.parametrize("name", MECHANISMS)
def test_an_unknown_option_lists_those_that_there_are(name):
    known = MECHANISMS[name].options()
    with pytest.raises(ValueError, match="has no option 'depth'.*" + ".*".join(known or ["none"])):
        MECHANISMS[name].build(E, H, {"depth": 3})


@pytest.mark.parametrize(
    ("name", "option"),
    [(name, option) for name, found in MECHANISMS.items() for option in found.options()],
)
def test_a_bad_value_of_an_option_is_named(name, option):
    default = MECHANISMS[name].options()[option]
    for value in ("no-such-thing", -1):
        with pytest.raises(ValueError, match=r"no-such-thing|-1"):
            MECHANISMS[name].build(E, H, {option: value})
    assert MECHANISMS[name].build(E, H, {option: default}) is not None


@pytest.mark.parametrize(
    "name", [name for name, mechanism in MECHANISMS.items() if not mechanism.has_softmax_over_rows]
)
def test_qassmax_needs_a_softmax_over_rows(name):
    with pytest.raises(ValueError, match="has none"):
        MECHANISMS[name](E, H, qassmax=True)
