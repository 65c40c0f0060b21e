"""Diagnostics: exact posteriors pass, posteriors that are wrong in a known way do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from sequence_networks import classification, regression, rows
from torch.distributions import Normal

from openpfn.bayes import diagnostics, exact
from openpfn.bayes.diagnostics.uniformity import clustered_test, legendre_scores, smooth_test
from openpfn.generators import Deterministic
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import Gaussian


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lines(d: int = 2) -> Deterministic:
    return Deterministic(Normal(torch.zeros(d), 1.0), torch.mv, input_dim=d, noise_std=0.5)


def test_scores_of_uniform_numbers_have_mean_zero_and_variance_one():
    u = (np.arange(20000) + 0.5) / 20000
    scores = legendre_scores(u)
    np.testing.assert_allclose(scores.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.T @ scores / len(u), np.eye(4), atol=1e-4)


def test_p_values_of_uniform_numbers_are_uniform():
    random = np.random.default_rng(0)
    p = np.array([smooth_test(random.random(200)) for _ in range(400)])
    assert abs((p < 0.05).mean() - 0.05) < 0.035
    shared = random.random((400, 150, 1)) * np.ones((1, 1, 5))  # rows of five equal numbers
    p = np.array([clustered_test(each) for each in shared])
    assert abs((p < 0.05).mean() - 0.05) < 0.035


@pytest.mark.slow
@pytest.mark.parametrize(("noise_variance", "least"), [(0.25, 0.85), (0.25 * 1.25, 0.0)])
def test_sbc_passes_exact_posteriors_and_rejects_wrong_noise(noise_variance, least):
    prior, posterior = lines(), exact.ConjugateLinear(noise_variance)
    passed = [
        diagnostics.sbc(
            *diagnostics.simulated(prior, posterior, n_tasks=1000, generator=seeded(100 + i)),
            seed=i,
        ).passes()
        for i in range(20)
    ]
    share = sum(passed) / len(passed)
    assert share >= least
    assert least or share <= 0.15


def test_a_belief_that_is_too_narrow_has_spread_above_one():
    random = np.random.default_rng(0)
    truth, draws = random.normal(size=1000), random.normal(scale=0.5, size=(1000, 99))
    found = diagnostics.sbc(truth, draws)
    assert found.spread[0] > 1.3
    assert found.p_value < 1e-6


def test_levels_of_targets_under_their_own_predictive_are_uniform():
    batch = lines().of_length(12).sample(300, seeded())
    predictive = exact.ConjugateLinear(0.25).prefixes(batch.x, batch.y)
    found = diagnostics.pit(batch.y, predictive)
    assert found.passes(0.01)
    wrong = exact.ConjugateLinear(0.5).prefixes(batch.x, batch.y)
    assert diagnostics.pit(batch.y, wrong).p_value < 1e-4
    assert diagnostics.coverage(batch.y, wrong).p_value < 1e-4


def test_levels_of_classes_are_spread_over_their_step():
    probs = torch.tensor([0.2, 0.5, 0.3]).expand(2000, 3)
    y = torch.multinomial(probs, 1, generator=seeded()).squeeze(1).float()
    assert diagnostics.pit(y, Categorical(probs.log())).passes(0.01)
    assert not diagnostics.pit(y, Categorical(torch.zeros(2000, 3))).passes(0.01)


def test_coverage_counts_truths_within_intervals():
    random = np.random.default_rng(0)
    truth, draws = random.normal(size=2000), random.normal(size=(2000, 199))
    found = diagnostics.coverage(truth, draws)
    share, error = found.at(0.9)
    assert abs(share - 0.9) < 4 * error
    assert found.passes(0.01)
    narrow = diagnostics.coverage(truth, 0.5 * draws)
    assert narrow.at(0.9)[0] < 0.65
    with pytest.raises(ValueError, match="coverage was measured at"):
        found.at(0.33)


def test_tarp_sees_a_wrong_correlation_that_margins_hide():
    random = np.random.default_rng(0)
    n, rho = 1500, 0.9
    truth = random.normal(size=(n, 2))
    truth[:, 1] = rho * truth[:, 0] + (1 - rho**2) ** 0.5 * truth[:, 1]
    right = random.normal(size=(n, 99, 2))
    right[..., 1] = rho * right[..., 0] + (1 - rho**2) ** 0.5 * right[..., 1]
    wrong = random.normal(size=(n, 99, 2))
    assert diagnostics.sbc(truth, wrong).passes(0.001)
    assert diagnostics.tarp(truth, right).passes(0.01)
    assert diagnostics.tarp(truth, wrong).p_value < 1e-4


def contexts(n_tasks: int = 6, n: int = 5):
    batch = lines().of_length(n).sample(n_tasks, seeded(2))
    return batch.x, batch.y


def test_exact_posteriors_are_martingales_and_exchangeable():
    x, y = contexts()
    model = exact.ConjugateLinear(0.25)
    found = diagnostics.martingale(
        model, x, y, x[:, :2], x_sampler=Normal(0.0, 1.0), n_samples=200, generator=seeded()
    )
    assert found.passes(0.01)
    assert (found.drift < 0.03).all()
    order = diagnostics.exchangeability(model, x, y, x[:, :2], generator=seeded())
    assert order.passes()
    assert order.largest < 1e-9
    assert order.log_prob_spread < 1e-9


class Forgetful(exact.ConjugateLinear):
    """Reads the last three rows alone."""

    def predictive(self, x, y, xq=None):
        return super().predictive(x[..., -3:, :], y[..., -3:], xq)


class Overconfident(exact.ConjugateLinear):
    """Believes in more than it read."""

    def predictive(self, x, y, xq=None):
        found = super().predictive(x, y, xq)
        return Gaussian(found.mean + 0.02 * y.shape[-1], found.variance)


def test_drift_and_order_are_seen_where_they_are():
    x, y = contexts()

    class Drifting(exact.ExactPosterior):
        posterior, prefixes = None, None  # type: ignore[assignment]

        def predictive(self, x, y, xq=None):
            return Overconfident(0.25).predictive(x, y, xq)

    Drifting.__abstractmethods__ = frozenset()
    found = diagnostics.martingale(
        Drifting(), x, y, x[:, :2], x_sampler=Normal(0.0, 1.0), n_samples=100, generator=seeded()
    )
    assert found.p_value < 1e-3
    assert found.drift[-1] > 3 * found.error[-1]
    order = diagnostics.exchangeability(Forgetful(0.25), x, y, x[:, :2], generator=seeded())
    assert not order.passes()
    assert order.mean > 0.01


@pytest.mark.slow
def test_sequence_networks_are_asked_the_same():
    x, y = rows()
    model = regression()
    order = diagnostics.exchangeability(model, x, y, n_permutations=4, generator=seeded())
    assert order.distances.shape == (2, 4)
    assert order.largest > 1e-4
    of_set = diagnostics.exchangeability(regression(mask_type="set"), x, y, generator=seeded())
    assert of_set.passes()
    found = diagnostics.martingale(
        classification(), x, torch.zeros(2, 6), horizon=3, n_samples=4, generator=seeded()
    )
    assert found.change.shape == (3, 2, 12)


def test_energy_distance_is_zero_for_the_same_belief_and_known_for_another():
    a = Gaussian(torch.zeros(40), torch.tensor(1.0))
    b = Gaussian(torch.ones(40), torch.tensor(1.0))
    same = diagnostics.energy_distance(a, a, generator=seeded())
    assert same.p_value > 0.01
    assert abs(same.value) < 4 * same.error
    apart = diagnostics.energy_distance(a, b, generator=seeded())
    # 2 E|N(1, 2)| − 2 E|N(0, 2)|
    to_other = 2 / np.pi**0.5 * np.exp(-0.25) + math.erf(0.5)
    known = 2 * to_other - 4 / np.pi**0.5
    assert abs(apart.value - known) < 4 * apart.error
    assert apart.p_value < 0.01
    draws = np.random.default_rng(0).normal(size=(3, 50, 2))
    assert diagnostics.energy_distance(draws, draws + 1, generator=seeded()).value > 0.3


@pytest.mark.slow
def test_every_diagnostic_is_pictured():
    random = np.random.default_rng(0)
    truth, draws = random.normal(size=(60, 2)), random.normal(size=(60, 20, 2))
    x, y = contexts(3)
    model = exact.ConjugateLinear(0.25)
    made = [
        diagnostics.sbc(truth, draws),
        diagnostics.coverage(truth, draws),
        diagnostics.tarp(truth, draws),
        diagnostics.energy_distance(draws[:5], draws[5:10], n_permutations=9),
        diagnostics.martingale(model, x, y, horizon=2, n_samples=4, generator=seeded()),
        diagnostics.exchangeability(model, x, y, n_permutations=2),
    ]
    for each in made:
        figure = each.plot()
        assert any(axes.get_xlabel() for axes in figure.axes)
    pyplot.close("all")


BAD = {
    "truth is empty": lambda: diagnostics.sbc(np.zeros((0, 2)), np.zeros((0, 5, 2))),
    "expected \\(R, P\\) and \\(R, S, P\\)": lambda: diagnostics.sbc(np.zeros(3), np.zeros((2, 5))),
    "hold NaN": lambda: diagnostics.sbc(np.full(3, np.nan), np.zeros((3, 5))),
    "they must agree": lambda: diagnostics.pit(
        torch.zeros(2), Gaussian(torch.zeros(3), torch.ones(3))
    ),
    "there is no prompt": lambda: diagnostics.energy_distance(np.zeros((0, 5)), np.zeros((0, 5))),
    "needs 2 of each": lambda: diagnostics.energy_distance(np.zeros((2, 1)), np.zeros((2, 5))),
    "there is no other order": lambda: diagnostics.exchangeability(
        exact.ConjugateLinear(0.25), torch.ones(1, 2), torch.ones(1)
    ),
    "x_query is missing": lambda: diagnostics.martingale(
        regression(), x_sampler=Normal(0.0, 1.0), horizon=2, n_samples=2
    ),
    "no latent 'beta'; it has: params": lambda: diagnostics.simulated(
        lines(), exact.ConjugateLinear(0.25), parameter="beta"
    ),
    "shares must lie between": lambda: diagnostics.coverage(
        np.zeros(3), np.zeros((3, 5)), levels=[1.5]
    ),
}


@pytest.mark.parametrize("told", BAD)
def test_bad_input_is_told(told):
    with pytest.raises(ValueError, match=told):
        BAD[told]()
