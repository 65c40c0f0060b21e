"""Predictive resampling: exact rollouts recover exact posteriors, caches and memory change nothing,
and bad input is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot
from sequence_networks import MASKS, classification, regression, rows, unsupervised
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from torch.distributions import Normal

from openpfn.bayes import exact, predictive_resample
from openpfn.bayes.rollouts import picked
from openpfn.heads.base import Rescaled
from openpfn.heads.gaussian import GaussianMixture

NORMAL = Normal(0.0, 1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def line(n: int = 8, d: int = 3):
    draw = seeded(1)
    x, beta = (torch.randn(*size, generator=draw).double() for size in ((n, d), (d,)))
    return x, x @ beta + 0.5 * torch.randn(n, generator=draw)


@pytest.mark.slow
def test_exact_rollouts_of_least_squares_recover_the_posterior():
    x, y = line()
    model = exact.ConjugateLinear(noise_variance=0.25)
    found = predictive_resample(
        model, x, y, "ols", n_samples=2000, horizon=64, x_sampler=NORMAL, generator=seeded()
    )
    truth = model.posterior(x, y)
    trace = float(truth.covariance.trace())
    assert abs(np.trace(found.covariance) / trace - 1) < 0.08  # draws err by 3%
    np.testing.assert_allclose(found.mean, truth.mean, atol=0.02)
    assert found.names == ["x0", "x1", "x2"]
    assert found.samples.shape == (2000, 3)
    assert found.trace.shape == (16, 2000, 3)
    assert found.horizons[-1] == 64


def test_rank_one_updates_are_the_inference_anew():
    x, y = line()
    plain = exact.ConjugateLinear(0.25, prior_variance=2.0, with_bias=True)

    class Anew(exact.ExactPosterior):
        def posterior(self, x, y):
            return plain.posterior(x, y)

        def predictive(self, x, y, xq=None):
            return plain.predictive(x, y, xq)

        def prefixes(self, x, y):
            return plain.prefixes(x, y)

    made = [
        predictive_resample(
            model, x, y, "mean", n_samples=7, horizon=5, trajectories=True, generator=seeded()
        )
        for model in (plain, Anew())
    ]
    np.testing.assert_allclose(made[0].trajectories.y, made[1].trajectories.y, atol=1e-9)


def test_an_empty_context_draws_from_the_prior():
    model = exact.ConjugateLinear(noise_variance=0.25)
    sampler = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    found = predictive_resample(
        model, functional="ols", n_samples=1000, horizon=40, x_sampler=sampler, generator=seeded()
    )
    assert found.n_context == 0
    np.testing.assert_allclose(found.covariance, np.eye(2), atol=0.15)


@pytest.mark.slow
def test_flips_are_resampled_to_their_beta_posterior():
    flips = torch.tensor([1.0, 1, 0, 1])
    found = predictive_resample(
        exact.BetaBernoulli(), None, flips, "mean", n_samples=500, horizon=150, generator=seeded()
    )
    truth = exact.BetaBernoulli().posterior(None, flips)
    assert abs(found.mean[0] - float(truth.mean)) < 0.02
    assert abs(found.std[0] / float(truth.stddev) - 1) < 0.1
    low, high = found.interval(0.9)
    assert 0 < low[0] < found.mean[0] < high[0] < 1
    assert abs(found.still_moving()[0]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("n", [0, 4])
def test_cached_draws_are_those_of_the_whole_sequence(mask, n):
    model, (x, y) = regression(mask_type=mask), rows()
    context = (x[0, :n], y[0, :n]) if n else (None, None)
    made = [
        predictive_resample(
            model,
            *context,
            n_samples=5,
            horizon=9,
            x_sampler=NORMAL,
            trajectories=True,
            cached=cached,
            generator=seeded(),
        )
        for cached in (True, False)
    ]
    np.testing.assert_allclose(made[0].trajectories.y, made[1].trajectories.y, atol=1e-5)
    np.testing.assert_allclose(made[0].trajectories.x, made[1].trajectories.x)


def test_draws_do_not_depend_on_memory():
    model, (x, y) = regression(), rows()
    options = {"n_samples": 300, "horizon": 4, "x_sampler": NORMAL}
    wide = predictive_resample(model, x[0], y[0], generator=seeded(), **options)
    narrow = predictive_resample(
        model, x[0], y[0], generator=seeded(), memory_limit=500_000, **options
    )
    np.testing.assert_allclose(wide.samples, narrow.samples, atol=1e-6)
    other = predictive_resample(model, x[0], y[0], generator=seeded(1), **options)
    assert not np.allclose(wide.samples, other.samples)


def test_a_batch_of_contexts_gives_a_posterior_for_each():
    model, (x, y) = regression(), rows()
    found = predictive_resample(model, x, y, n_samples=6, horizon=4, generator=seeded())
    assert found.samples.shape == (2, 6, 1)
    assert found.interval()[0].shape == (2, 1)
    assert found.covariance.shape == (2, 1, 1)
    with pytest.raises(ValueError, match="batch"):
        found.plot()


@pytest.mark.parametrize(
    ("functional", "names"),
    [
        ("ols", ["x0", "x1", "x2"]),
        ("mean", ["mean"]),
        ("median", ["median"]),
        ("quantile", ["median"]),
        ("quantile:0.9", ["quantile 0.9"]),
        (Ridge(), ["coef_0", "coef_1", "coef_2", "intercept"]),
        (lambda x, y: (x[:, 0] * y).mean(), ["value"]),
        (lambda x, y: [y.min(), y.max()], ["value 0", "value 1"]),
    ],
)
def test_functionals_are_taken_of_complete_data(functional, names):
    x, y = line()
    found = predictive_resample(
        exact.ConjugateLinear(0.25),
        x,
        y,
        functional,
        n_samples=5,
        horizon=6,
        trajectories=True,
        generator=seeded(),
    )
    assert found.names == names
    kept = found.trajectories
    assert kept.x.shape == (5, 14, 3)
    np.testing.assert_allclose(kept.y[:, :8], np.tile(y, (5, 1)))
    if functional == "ols":
        wanted = np.linalg.lstsq(kept.x[2], kept.y[2])[0]
    elif isinstance(functional, Ridge):
        fitted = Ridge().fit(kept.x[2], kept.y[2])
        wanted = [*fitted.coef_, fitted.intercept_]
    elif callable(functional):
        wanted = np.atleast_1d(np.asarray(functional(kept.x[2], kept.y[2])))
    else:
        named = {"mean": kept.y[2].mean(), "quantile:0.9": np.quantile(kept.y[2], 0.9)}
        wanted = [named.get(functional, np.median(kept.y[2]))]
    np.testing.assert_allclose(found.samples[2], wanted, atol=1e-9)


def test_a_quantile_is_at_its_levels():
    found = predictive_resample(
        exact.ConjugateLinear(0.25),
        *line(),
        "quantile",
        level=[0.1, 0.9],
        n_samples=4,
        horizon=5,
        generator=seeded(),
    )
    assert found.names == ["quantile 0.1", "quantile 0.9"]
    assert (found.samples[:, 0] < found.samples[:, 1]).all()


def test_centres_are_the_middles_of_buckets():
    model, (x, y) = regression(), rows()
    found = predictive_resample(
        model,
        x,
        y,
        sampling="centres",
        n_samples=8,
        horizon=4,
        trajectories=True,
        generator=seeded(),
    )
    drawn = found.trajectories.y[:, 6:]
    middles = model.bucketizer.bucket_representatives.double().numpy()
    assert np.abs(drawn[..., None] - middles).min(axis=-1).max() < 1e-6
    with pytest.raises(ValueError, match="buckets"):
        predictive_resample(
            exact.ConjugateLinear(0.25), *line(), sampling="centres", n_samples=2, horizon=2
        )


def test_draws_of_a_mixture_follow_it():
    mixture = GaussianMixture(
        torch.tensor([0.0, 1.0, -torch.inf]),
        torch.tensor([-2.0, 1.0, 50.0]),
        torch.tensor([0.25, 2.0, 1.0]),
    )
    u = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    belief = GaussianMixture(*(part.expand(4000, 3) for part in (
        mixture.logits, mixture.means, mixture.variances
    )))  # fmt: skip
    for shift, scale in ((0.0, 1.0), (100.0, 3.0)):
        told = Rescaled(belief, torch.tensor(shift), torch.tensor(scale))
        drawn = (picked(told, u, "density").sort()[0] - shift) / scale
        levels = mixture.cdf(drawn.unsqueeze(-1)).view(-1)
        torch.testing.assert_close(levels.double(), u, atol=2e-3, rtol=0)


def test_bootstrap_draws_given_rows_and_the_empirical_sampler_forgets_those_drawn():
    x, y = line()
    for sampler in ("bootstrap", "empirical"):
        found = predictive_resample(
            exact.ConjugateLinear(0.25),
            x,
            y,
            n_samples=1000,
            horizon=40,
            x_sampler=sampler,
            n_trace=1,
            functional=lambda x, y: x[:, 0].mean(),
            generator=seeded(),
        )
        of_rows = float(x[:, 0].var(unbiased=False))
        n, t = 8, 40
        urn = of_rows / (n + 1) * t / (n + t)  # the share of each row is Dirichlet in the end
        known = of_rows * t / (n + t) ** 2
        expected = urn if sampler == "bootstrap" else known
        assert abs(found.std[0] ** 2 / expected - 1) < 0.2


def test_networks_of_classes_and_of_sequences_without_inputs():
    coins = predictive_resample(
        unsupervised(d_vocab=2), functional="mean", n_samples=6, horizon=5, generator=seeded()
    )
    assert ((coins.samples >= 0) & (coins.samples <= 1)).all()
    model, (x, _) = classification(num_classes=2), rows()
    y = torch.tensor([0.0, 1, 1, 0, 1, 0])
    share = predictive_resample(model, x[0], y, n_samples=6, horizon=5, generator=seeded())
    assert ((share.samples >= 0) & (share.samples <= 1)).all()


def test_any_classifier_is_fitted_anew_for_each_row():
    x, y = line(12)
    labels = np.where(y.numpy() > y.numpy().mean(), "yes", "no")
    found = predictive_resample(
        GaussianNB(),
        x.numpy(),
        labels,
        lambda x, y: (y == "yes").mean(),
        n_samples=4,
        horizon=3,
        trajectories=True,
        generator=seeded(),
    )
    assert set(found.trajectories.y.ravel()) <= {"yes", "no"}
    table = pd.DataFrame(x.numpy(), columns=["a", "b", "c"])
    again = predictive_resample(
        GaussianNB(),
        table,
        labels,
        LogisticRegression(),
        n_samples=3,
        horizon=3,
        generator=seeded(),
    )
    assert again.names == ["coef_0", "coef_1", "coef_2", "intercept"]


def test_progress_tells_rows_up_to_all():
    told: list[tuple[int, int]] = []
    predictive_resample(
        exact.BetaBernoulli(),
        n_samples=300,
        horizon=3,
        progress=lambda *row: told.append(row),
        generator=seeded(),
    )
    assert told == sorted(told)
    assert told[-1] == (900, 900)


def test_a_posterior_is_pictured_and_told():
    found = predictive_resample(
        exact.ConjugateLinear(0.25), *line(), "ols", n_samples=50, horizon=8, generator=seeded()
    )
    figure = found.plot(0.95, truth=[0.0, 0.0, 0.0])
    assert len(figure.axes) == 6
    assert {axes.get_title(loc="left") for axes in figure.axes} == {
        "x0",
        "x1",
        "x2",
        "along the horizon",
    }
    pyplot.close("all")
    assert "x1: " in repr(found)
    assert "50 draws, 8 rows given, horizon 8" in repr(found)


X, Y = line()
BAD = {
    "horizon is 0": {"horizon": 0},
    "n_samples is 0": {"n_samples": 0},
    "unknown functional 'mode'.*ols, mean, median, quantile": {"functional": "mode"},
    "functional is the class Ridge": {"functional": Ridge},
    "level is 0.9, which goes with": {"functional": "mean", "level": 0.9},
    "quantiles lie at levels": {"functional": "quantile", "level": 1.5},
    "x holds NaN": {"x": torch.full_like(X, torch.nan)},
    "y holds NaN": {"y": torch.full_like(Y, torch.nan)},
    "y is constant": {"y": torch.ones_like(Y)},
    "x has shape": {"y": Y[:-1]},
    "x and y belong together": {"x": None},
    "the context is empty: there is no row": {"x": X[:0], "y": Y[:0]},
    "the context is empty, so x_sampler must": {"x": None, "y": None, "x_sampler": NORMAL},
    "x_sampler is 'uniform'": {"x_sampler": "uniform"},
    "x_sampler is a int": {"x_sampler": 3},
    "method is 'copulas'": {"method": "copulas"},
    "sampling is 'bins'": {"sampling": "bins"},
    "refit is 'never'": {"refit": "never"},
    "refit is 'frozen', which is for": {"refit": "frozen"},
    "correlation is 1": {"correlation": 1.0, "method": "copula"},
    "memory_limit is 0": {"memory_limit": 0},
    "n_trace is 0": {"n_trace": 0},
    "LogisticRegression, but the model predicts numbers": {"functional": LogisticRegression()},
    "model is a str": {"model": "nano"},
    "LinearRegression predicts numbers without": {"model": LinearRegression()},
    "GaussianNB is a classifier": {"model": GaussianNB()},
    "too few for 3 coefficients": {
        "x": X[:1],
        "y": Y[:1],
        "functional": "ols",
        "horizon": 1,
    },
    "gave 'a'; expected a number": {"functional": lambda x, y: "a"},
    "x is given, but this model has no inputs": {"model": exact.BetaBernoulli()},
}


@pytest.mark.parametrize("told", BAD)
def test_bad_input_is_told(told):
    options = {"model": exact.ConjugateLinear(0.25), "x": X, "y": Y, "n_samples": 3, "horizon": 4}
    with pytest.raises((ValueError, TypeError), match=told):
        predictive_resample(**options | BAD[told])


def test_a_classifier_where_numbers_are_needed_is_told():
    labels = np.array(["a", "b"] * 4)
    with pytest.raises(ValueError, match="needs numbers, but the model is a classifier of the cl"):
        predictive_resample(GaussianNB(), X.numpy(), labels, "mean", n_samples=2, horizon=2)
    y = torch.tensor([0.0, 1, 2, 0, 1, 2])
    with pytest.raises(ValueError, match="needs numbers, but the model is a classifier of 3"):
        predictive_resample(classification(), rows()[0][0], y, "ols", n_samples=2, horizon=2)


def test_rollouts_longer_than_the_positions_are_told_before_they_begin():
    model, (x, y) = regression(n_ctx=16), rows()
    with pytest.raises(ValueError, match="have 9 rows, but the network has positions for 8"):
        predictive_resample(model, x[0], y[0], n_samples=2, horizon=3)


def test_point_predictions_have_no_distribution():
    model = regression(
        prediction_type="point", bucket_type=None, d_vocab=None, y_min=None, y_max=None
    )
    with pytest.raises(ValueError, match="predicts the mean alone"):
        predictive_resample(model, *(part[0] for part in rows()), n_samples=2, horizon=2)
