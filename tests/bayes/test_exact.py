"""Exact posteriors against formulas by hand, quadrature, GPyTorch and the laws that tie prefixes,
predictives and posteriors."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import gpytorch
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from openpfn.bayes import exact
from openpfn.bayes.exact import GP, BetaBernoulli, ConjugateLinear, TaskPool

BATCH, ROWS, COLUMNS = 3, 9, 2


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, Y, XQ = rows(BATCH, ROWS, COLUMNS), rows(BATCH, ROWS, seed=1), rows(BATCH, 4, COLUMNS, seed=2)
POOL = rows(5, COLUMNS, seed=3)
LABELS = (Y > 0).double()
MODELS: dict[str, tuple[Any, Tensor]] = {
    "linear": (ConjugateLinear(0.3, 2.0), Y),
    "linear with bias": (
        ConjugateLinear(0.3, torch.tensor([1.0, 2.0, 0.5]), prior_mean=0.4, with_bias=True),
        Y,
    ),
    "linear, correlated": (
        ConjugateLinear(0.3, torch.tensor([[1.0, 0.5], [0.5, 2.0]]), torch.tensor([1.0, -1.0])),
        Y,
    ),
    "linear, singular": (ConjugateLinear(0.3, torch.tensor([[1.0, 1.0], [1.0, 1.0]])), Y),
    "pool": (TaskPool(POOL, 0.3), Y),
    "pool of curves": (
        TaskPool(POOL, 0.3, lambda x, w: torch.sin(x @ w), log_weights=torch.arange(5.0)),
        Y,
    ),
    "pool of odds": (TaskPool(POOL, family="bernoulli"), LABELS),
    "pool of classes": (TaskPool(rows(5, COLUMNS, 3, seed=4), family="categorical"), 2 * LABELS),
    "coin": (BetaBernoulli(2.0, 0.7), LABELS),
    "gp rbf": (GP("rbf", 0.8, 1.3, 0.2), Y),
    "gp matern": (GP("matern32", torch.tensor([0.5, 2.0]), 1.3, 0.2, mean=0.7), Y),
}
every_model = pytest.mark.parametrize("name", MODELS)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance)


@every_model
def test_each_prefix_is_the_predictive_given_the_rows_before(name: str) -> None:
    model, y = MODELS[name]
    prefixes = model.prefixes(X, y).log_prob(y)
    assert prefixes.shape == y.shape
    for i in range(ROWS):
        one = model.predictive(X[:, :i], y[:, :i], X[:, i : i + 1]).log_prob(y[:, i : i + 1])
        assert close(prefixes[:, i : i + 1], one)


@every_model
def test_tasks_do_not_see_each_other(name: str) -> None:
    model, y = MODELS[name]
    together = model.predictive(X, y, XQ)
    alone = model.predictive(X[1], y[1], XQ[1])
    target = torch.zeros(4)
    assert close(together.log_prob(target.expand(BATCH, 4))[1], alone.log_prob(target))
    stacked = model.prefixes(X.expand(2, *X.shape), y.expand(2, *y.shape)).log_prob(
        y.expand(2, *y.shape)
    )
    assert close(stacked[1], model.prefixes(X, y).log_prob(y))


@every_model
def test_the_order_of_the_context_does_not_matter(name: str) -> None:
    model, y = MODELS[name]
    order = torch.randperm(ROWS)
    a, b = model.predictive(X, y, XQ), model.predictive(X[:, order], y[:, order], XQ)
    assert close(a.log_prob(torch.ones(BATCH, 4)), b.log_prob(torch.ones(BATCH, 4)))
    assert close(
        model.prefixes(X, y).log_prob(y).sum(-1),
        model.prefixes(X[:, order], y[:, order]).log_prob(y[:, order]).sum(-1),
    )


@every_model
def test_single_precision_goes_in_and_double_comes_out(name: str) -> None:
    model, y = MODELS[name]
    predictive = model.predictive(X.float(), y.float(), XQ.float())
    assert predictive.log_prob(torch.ones(BATCH, 4)).dtype == torch.float64


def test_one_coefficient_by_hand() -> None:
    """β ~ N(m, v), y = xβ + N(0, s): precision 1/v + Σx²/s, mean from the weighted sum; the noise
    is in the covariance."""
    m, v, s = 0.3, 1.7, 0.4
    x, y = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.7, -1.0, 2.0])
    precision = 1 / v + float((x * x).sum()) / s
    mean = (m / v + float((x * y).sum()) / s) / precision
    model = ConjugateLinear(s, v, m)
    posterior = model.posterior(x[:, None], y)
    assert math.isclose(float(posterior.mean), mean, rel_tol=1e-6)
    assert math.isclose(float(posterior.covariance), 1 / precision, rel_tol=1e-6)
    predictive = model.predictive(x[:, None], y, torch.tensor([[3.0]]))
    assert math.isclose(float(predictive.mean), 3 * mean, rel_tol=1e-6)
    assert math.isclose(float(predictive.variance), 9 / precision + s, rel_tol=1e-6)


def test_before_any_row_the_variance_has_the_input_in_it() -> None:
    x = rows(6, 4, seed=5)
    first = ConjugateLinear(0.25, 1.0).prefixes(x, torch.zeros(6)).variance[0]
    assert close(first, x[0] @ x[0] + 0.25)


def test_the_posterior_mean_is_the_ridge_estimate() -> None:
    for task in range(BATCH):
        x, y = X[task], Y[task]
        ridge = torch.linalg.solve(x.T @ x + 0.3 / 2.0 * torch.eye(COLUMNS), x.T @ y)
        assert close(ConjugateLinear(0.3, 2.0).posterior(x, y).mean, ridge)


def test_the_trace_of_the_posterior_covariance_counts_the_noise() -> None:
    """With orthogonal inputs of norm² n, every coefficient has variance 1 / (1 + n / σ²)."""
    n, s = 8, 0.25
    x = math.sqrt(n) * torch.eye(4)
    covariance = ConjugateLinear(s, 1.0).posterior(x, torch.zeros(4)).covariance
    assert close(covariance.trace(), torch.tensor(4 / (1 + n / s)))


def test_a_singular_prior_keeps_its_constraint() -> None:
    posterior = ConjugateLinear(0.3, torch.ones(2, 2)).posterior(X, Y)
    assert close(posterior.mean[:, 0], posterior.mean[:, 1])
    single = ConjugateLinear(0.3, 1.0).posterior(X.sum(-1, keepdim=True), Y)
    assert close(posterior.mean[:, :1], single.mean)


def test_a_bias_is_a_column_of_ones() -> None:
    ones = torch.cat([X, torch.ones(BATCH, ROWS, 1)], -1)
    a, b = (
        ConjugateLinear(0.3, 2.0, with_bias=True).posterior(X, Y),
        ConjugateLinear(0.3, 2.0).posterior(ones, Y),
    )
    assert close(a.mean, b.mean)
    assert close(a.covariance, b.covariance)


def test_many_rows_give_the_truth() -> None:
    x, truth = rows(4000, 3, seed=7), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    y = x @ truth + 0.1 * rows(4000, seed=8)
    posterior = ConjugateLinear(0.01, 1.0).posterior(x, y)
    assert close(posterior.mean, truth, 1e-2)
    assert posterior.covariance.trace() < 1e-4
    pool = TaskPool(torch.stack([truth, truth + 0.05, -truth]), 0.01).posterior(x, y)
    assert pool.probs[0] > 0.999
    assert close(pool.mean, truth, 1e-2)


def test_draws_of_the_posterior_have_its_moments() -> None:
    posterior = MODELS["linear, correlated"][0].posterior(X, Y)
    draws = posterior.sample(40_000, torch.Generator().manual_seed(0))
    assert draws.shape == (40_000, BATCH, COLUMNS)
    error = (
        posterior.covariance.diagonal(dim1=-2, dim2=-1).sqrt() / 200
    )  # the mean's standard error
    assert ((draws.mean(0) - posterior.mean).abs() < 5 * error).all()
    assert torch.allclose(
        draws[:, 0].T.cov(),
        posterior.covariance[0],
        atol=0.05 * float(posterior.covariance[0].max()),
    )


def test_the_linear_evidence_is_that_of_the_joint_normal() -> None:
    noise = 0.3 * torch.eye(ROWS, dtype=torch.float64)
    joint = MultivariateNormal(torch.zeros(BATCH, ROWS).double(), 2.0 * X @ X.mT + noise)
    assert close(ConjugateLinear(0.3, 2.0).prefixes(X, Y).log_prob(Y).sum(-1), joint.log_prob(Y))


def test_a_pool_is_bayes_rule() -> None:
    x, y = X[0], Y[0]
    likelihood = torch.stack(
        [Normal(x @ task, math.sqrt(0.3)).log_prob(y).sum().exp() for task in POOL]
    )
    posterior = likelihood / likelihood.sum()
    model = TaskPool(POOL, 0.3)
    assert close(model.posterior(x, y).probs, posterior)
    assert close(
        model.predictive(x, y, XQ[0]).mean, XQ[0] @ (posterior @ POOL)
    )  # the discrete MMSE estimate


def test_a_pool_of_odds_is_bayes_rule() -> None:
    x, y = X[0], LABELS[0]
    likelihood = torch.stack([Bernoulli(logits=x @ task).log_prob(y).sum().exp() for task in POOL])
    posterior = likelihood / likelihood.sum()
    model: Any = TaskPool(POOL, family="bernoulli")
    assert close(model.posterior(x, y).probs, posterior)
    assert close(
        model.predictive(x, y, XQ[0]).probs[:, 1], torch.sigmoid(XQ[0] @ POOL.T) @ posterior
    )


def test_far_rows_do_not_underflow_a_pool() -> None:
    posterior = TaskPool(torch.tensor([[1.0], [1.1]]), 1e-4).posterior(
        torch.full((50, 1), 100.0), torch.zeros(50)
    )
    assert torch.isfinite(posterior.logits[0])
    assert posterior.probs[0] == 1


def test_a_large_pool_from_the_prior_approaches_the_conjugate_posterior() -> None:
    pool = TaskPool(rows(20_000, 1, seed=11), 0.5)
    ridge = ConjugateLinear(0.5, 1.0)
    x, y = X[0, :4, :1], Y[0, :4]
    assert close(pool.posterior(x, y).mean, ridge.posterior(x, y).mean, 0.03)
    assert close(
        pool.predictive(x, y, XQ[0, :, :1]).variance,
        ridge.predictive(x, y, XQ[0, :, :1]).variance,
        0.03,
    )


def test_the_coin_by_quadrature() -> None:
    alpha, beta, flips = 2.0, 3.0, torch.tensor([1.0, 0.0, 1.0, 1.0])
    p = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    density = p ** (alpha - 1 + 3) * (1 - p) ** (beta - 1 + 1)
    model = BetaBernoulli(alpha, beta)
    assert close(
        model.predictive(None, flips).probs[0, 1], (p * density).sum() / density.sum(), 1e-7
    )
    assert close(model.posterior(None, flips).mean, (p * density).sum() / density.sum(), 1e-7)


def test_laplaces_rule_of_succession() -> None:
    flips = torch.tensor([[1.0, 1.0, 0.0, 1.0]])
    assert close(
        BetaBernoulli().prefixes(None, flips).probs[0, :, 1],
        torch.tensor([1 / 2, 2 / 3, 3 / 4, 3 / 5]).double(),
        1e-7,
    )
    counts = math.lgamma(4) + math.lgamma(2) - math.lgamma(6)  # log B(1 + 3, 1 + 1)
    assert math.isclose(
        float(BetaBernoulli().prefixes(None, flips).log_prob(flips).sum()), counts, rel_tol=1e-9
    )


@pytest.mark.parametrize("kernel", ["rbf", "matern12", "matern32", "matern52"])
def test_a_gaussian_process_agrees_with_gpytorch(kernel: str) -> None:
    nu = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5}
    base = (
        gpytorch.kernels.RBFKernel(ard_num_dims=2)
        if kernel == "rbf"
        else gpytorch.kernels.MaternKernel(nu[kernel], ard_num_dims=2)
    )
    base.lengthscale = torch.tensor([0.6, 1.9])
    theirs = _TheirGP(X[0], Y[0], gpytorch.kernels.ScaleKernel(base.double()).double())
    theirs.covar_module.outputscale, theirs.likelihood.noise, theirs.mean_module.constant = (
        1.4,
        0.05,
        0.3,
    )
    ours = GP(kernel, torch.tensor([0.6, 1.9]), 1.4, 0.05, mean=0.3)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        evidence = gpytorch.mlls.ExactMarginalLogLikelihood(theirs.likelihood, theirs.train())(
            theirs(X[0]), Y[0]
        )
        expected = theirs.eval().likelihood.eval()(theirs(XQ[0]))
        latent = theirs(XQ[0])
    got = ours.predictive(X[0], Y[0], XQ[0])
    assert close(got.mean, expected.mean, 1e-6)
    assert close(got.variance, expected.variance, 1e-6)
    assert close(ours.posterior(X[0], Y[0]).at(XQ[0]).covariance, latent.covariance_matrix, 1e-6)
    assert close(ours.prefixes(X[0], Y[0]).log_prob(Y[0]).sum() / ROWS, evidence, 1e-6)


class _TheirGP(gpytorch.models.ExactGP):
    """GPyTorch's exact regression."""

    def __init__(self, x: Tensor, y: Tensor, kernel: Any) -> None:
        super().__init__(x, y, gpytorch.likelihoods.GaussianLikelihood().double())
        self.mean_module, self.covar_module = gpytorch.means.ConstantMean().double(), kernel

    def forward(self, x: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def test_a_gaussian_process_far_from_its_rows_is_the_prior_and_at_them_the_data() -> None:
    gp = GP("rbf", 0.5, 2.0, 1e-6)
    x, y = torch.linspace(-1, 1, 5)[:, None], torch.tensor([1.0, -1.0, 0.5, 2.0, 0.0])
    far = gp.predictive(x, y, torch.tensor([[100.0]]))
    assert close(far.mean, torch.zeros(1))
    assert close(far.variance, torch.tensor([2.0 + 1e-6]).double(), 1e-7)
    assert close(gp.predictive(x, y, x).mean, y, 1e-4)


def test_draws_of_a_gaussian_process_have_its_covariance() -> None:
    gp, x = GP("matern52", 0.7, 1.5, 0.1, mean=2.0), torch.linspace(0, 2, 4)[:, None]
    draws = gp.sample(x.expand(40_000, 4, 1), torch.Generator().manual_seed(0))
    assert torch.allclose(draws.mean(0), torch.full((4,), 2.0).double(), atol=0.04)
    assert torch.allclose(draws.T.cov(), gp.covariance(x, x) + 0.1 * torch.eye(4), atol=0.06)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: ConjugateLinear(0.0), "noise_variance"),
        (lambda: ConjugateLinear(1.0, torch.ones(3)).posterior(X, Y), "2 coefficients"),
        (lambda: ConjugateLinear(1.0).posterior(None, Y), "expected"),
        (lambda: ConjugateLinear(1.0).predictive(X, Y), "xq is missing"),
        (lambda: TaskPool(POOL), "noise_variance"),
        (lambda: TaskPool(POOL, 1.0, family="bernoulli"), "noise_variance"),
        (lambda: TaskPool(POOL, 1.0, log_weights=torch.zeros(2)), "log_weights"),
        (lambda: TaskPool(POOL, 1.0, lambda x, w: x * w).posterior(X, Y), "one task"),
        (lambda: BetaBernoulli(0.0), "alpha"),
        (lambda: BetaBernoulli().posterior(None, torch.tensor([0.5])), "0 and 1"),
        (lambda: GP("cubic"), "matern12"),
        (lambda: GP(lengthscale=-1.0), "lengthscale"),
        (
            lambda: GP(noise_variance=1e-30).posterior(torch.zeros(3, 1), torch.zeros(3)),
            "positive definite",
        ),
        (lambda: GP().posterior(torch.full((2, 1), torch.nan), torch.zeros(2)), "NaN"),
        (
            lambda: ConjugateLinear(1.0).predictive(X, Y, torch.zeros(2, X.shape[-1] + 1)),
            "xq has shape",
        ),
        (lambda: GP().predictive(X, Y, None), "xq is missing"),
        (lambda: ConjugateLinear(1.0).posterior(X, Y[..., :-1]), "expected"),
        (
            lambda: ConjugateLinear(1.0).posterior(X, Y * torch.inf),
            "y holds NaN or infinite values",
        ),
        (lambda: ConjugateLinear(1.0).predictive(X, Y, X * torch.nan), "xq holds NaN"),
        (lambda: ConjugateLinear(1.0).posterior(rows(3, 4, 2), rows(2, 4)), "expected"),
        (lambda: ConjugateLinear(1.0, -1.0), "none may be negative"),
        (
            lambda: ConjugateLinear(1.0, torch.tensor([[1.0, 2.0], [2.0, 1.0]])),
            "the variance -1 in some direction",
        ),
        (lambda: ConjugateLinear(1.0, torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: ConjugateLinear(1.0, math.nan), "prior_variance must be finite"),
        (lambda: ConjugateLinear(1.0, 1.0, math.inf), "prior_mean"),
        (lambda: GP(lengthscale=torch.ones(7)).posterior(X, Y), "lengthscale has 7 numbers"),
        (
            lambda: TaskPool(POOL, 1.0, log_weights=torch.full((5,), -torch.inf)),
            "log_weights holds",
        ),
        (lambda: TaskPool(POOL, 1.0).posterior(rows(4, 7), rows(4)), "x has 7 columns"),
        (lambda: TaskPool(torch.zeros(5), 1.0), "expected at least one task"),
        (
            lambda: TaskPool(POOL, family="bernoulli").posterior(X, 2 + LABELS),
            "whole numbers from 0 to 1",
        ),
        (
            lambda: TaskPool(POOL, family="bernoulli").posterior(X, LABELS / 2),
            "whole numbers from 0 to 1",
        ),
    ],
)
def test_what_cannot_be_is_refused(make: Any, match: str) -> None:
    with pytest.raises((ValueError, TypeError), match=match):
        make()


def test_the_public_names_are_there() -> None:
    assert {"ConjugateLinear", "TaskPool", "BetaBernoulli", "GP"} <= set(exact.__all__)


def in_fractions(x: Tensor, y: Tensor, query: Tensor, noise: float) -> tuple[float, float]:
    """Mean and variance of the prediction with two coefficients ~ N(0, I), in exact arithmetic."""
    rows = [[Fraction(v) for v in row] for row in x.tolist()]
    a, b, d = (
        sum(row[i] * row[j] for row in rows) + Fraction(noise) * (i == j)
        for i, j in ((0, 0), (0, 1), (1, 1))
    )
    first, second = (
        sum(row[i] * Fraction(v) for row, v in zip(rows, y.tolist(), strict=True)) for i in (0, 1)
    )
    u, v = (Fraction(value) for value in query.tolist())
    determinant = a * d - b * b
    mean = (u * (d * first - b * second) + v * (a * second - b * first)) / determinant
    spread = (u * u * d - 2 * u * v * b + v * v * a) / determinant
    return float(mean), float(Fraction(noise) * (1 + spread))


@pytest.mark.parametrize("noise", [1e-30, 1e-20, 1e-12, 1e-8, 1.0, 1e12])
@pytest.mark.parametrize("n_rows", [1, 2, 9])
def test_predictions_are_those_of_exact_arithmetic_however_small_the_noise(noise, n_rows):
    x = rows(n_rows, 2, seed=5)
    y, query = x @ torch.tensor([0.7, -1.3], dtype=torch.float64), rows(2, seed=6)
    mean, variance = in_fractions(x, y, query, noise)
    found = ConjugateLinear(noise).predictive(x, y, query[None])
    assert float(found.mean) == pytest.approx(mean, rel=1e-9)
    assert float(found.variance) == pytest.approx(variance, rel=1e-9)
    prefixes = ConjugateLinear(noise).prefixes(
        torch.cat([x, query[None]]), torch.cat([y, torch.zeros(1, dtype=torch.float64)])
    )
    assert float(prefixes.mean[-1]) == pytest.approx(mean, rel=1e-9)
    assert float(prefixes.variance[-1]) == pytest.approx(variance, rel=1e-9)


@pytest.mark.parametrize("noise", [1e-24, 1e-10])
def test_the_variance_of_repeated_rows_falls_with_their_number_at_little_noise(noise):
    ones, y = torch.ones(5, 1), torch.zeros(5)
    expected = noise * (1 + 1 / (torch.arange(5, dtype=torch.float64) + noise))
    found = ConjugateLinear(noise).prefixes(ones, y).variance
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=0)
