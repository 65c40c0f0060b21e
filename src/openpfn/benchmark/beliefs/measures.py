"""Speed, exactness and calibration of predictive resampling, each as a row of results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch.distributions import Normal

from openpfn.bayes import diagnostics, predictive_resample
from openpfn.bayes.exact import ConjugateLinear
from openpfn.benchmark.bayes.config import BayesConfig
from openpfn.benchmark.bayes.gap import Problem, lines, trained_within, truth_of_lines
from openpfn.benchmark.bayes.speed import (
    D,
    every_token_anew,
    in_turns,
    medians,
    random_network,
    ratio_row,
)
from openpfn.benchmark.beliefs.config import BeliefsConfig
from openpfn.estimators import PFNClassifier
from openpfn.tables.bundled import BUNDLED

TIMES_FASTER = {64: 20, 128: 40, 256: 60}
"""Ratio to reach for each number of rows."""
GIVEN, DRAWN = 4, 60
"""Rows given, and rows drawn, where coverage is measured. Least squares of n given rows and T drawn
ones vary by about T / (n + T) of the posterior's variance: few must be given."""
LINE = Problem(
    "linear regression, D = 2",
    GIVEN + DRAWN,
    15.0,
    0.01,
    lambda: lines(2),
    truth_of_lines,
    2.25**0.5,
    input_dim=2,
)
EXACT_COLUMNS, EXACT_GIVEN, EXACT_ROLLOUTS, EXACT_HORIZON = 16, 8, 20_000, 64
"""Sizes of exact rollouts. Least squares of complete data add the noise of the last rows to the
posterior, and shrink it by the share of rows that was given: here, both by very little."""
CONTEXT_ROWS, COPULA_HORIZON, COPULA_DRAWS = 100, 1000, 400
SHARES = {"breast_cancer": "malignant", "digits_3_8_9": 8, "digits": 0}
"""The class of each table whose share is asked for."""


def measured(name: str, config: BeliefsConfig) -> dict[str, Any]:
    """The row called `name`."""
    if name.startswith("resampling_"):
        return resampling(int(name.removeprefix("resampling_")), config)
    return {
        "least_squares": least_squares,
        "calibration_tests": calibration_tests,
        "coverage": coverage,
        "mean": mean,
    }[name](config)


def resampling(n_rows: int, config: BeliefsConfig) -> dict[str, Any]:
    """Rollouts with cached keys and values against the whole sequence anew for each row."""
    model = random_network("autoregressive-pfn", n_rows, config.seed)

    def rollouts(cached: bool) -> Float[np.ndarray, "S P"]:
        return predictive_resample(
            model,
            functional="mean",
            n_samples=config.rollouts,
            horizon=n_rows,
            x_sampler=Normal(torch.zeros(D), 1.0),
            cached=cached,
            generator=torch.Generator().manual_seed(config.seed),
        ).samples

    x = torch.randn(
        config.rollouts, n_rows, D, generator=torch.Generator().manual_seed(config.seed)
    )
    apart = float(np.abs(rollouts(cached=True) - rollouts(cached=False)).max())
    cached, every_token, two_streams = in_turns(
        [
            lambda: rollouts(cached=True),
            lambda: every_token_anew(model, x),
            lambda: rollouts(cached=False),
        ],
        config.repeats,
    )
    row = ratio_row(every_token, cached, bar=TIMES_FASTER[n_rows])
    times = medians({"cached": cached, "anew": every_token, "two streams": two_streams})
    return {
        "what": (
            f"{config.rollouts} rollouts of {n_rows} rows with cached keys and values, against all"
            " tokens anew for each row"
        ),
        **row,
        "reached": row["reached"] and apart <= 1e-5,
        "more": (
            f"cached {times['cached']:.2f} s; every token anew {times['anew']:.2f} s; two streams"
            f" anew {times['two streams']:.2f} s ({times['two streams'] / times['cached']:.1f}×);"
            f" means of the same draws apart by {apart:.0e}"
        ),
    }


def least_squares(config: BeliefsConfig) -> dict[str, Any]:
    """Covariance of exact rollouts against that of the closed-form posterior."""
    generator = torch.Generator().manual_seed(config.seed)
    batch = lines(EXACT_COLUMNS).of_length(EXACT_GIVEN).sample(1, generator)
    assert batch.x is not None
    x, y, exact = batch.x[0], batch.y[0], truth_of_lines()
    rolled = predictive_resample(
        exact,
        x,
        y,
        "ols",
        n_samples=EXACT_ROLLOUTS,
        horizon=EXACT_HORIZON,
        x_sampler=Normal(torch.zeros(EXACT_COLUMNS), 1.0),
        n_trace=1,
        generator=generator,
    )
    trace = float(exact.posterior(x, y).covariance.trace())
    value = abs(float(np.trace(rolled.covariance)) / trace - 1)
    return {
        "what": (
            f"trace of the covariance of {EXACT_ROLLOUTS:,} exact rollouts, D = {EXACT_COLUMNS},"
            f" {EXACT_GIVEN} rows given, horizon {EXACT_HORIZON}, against the closed-form posterior"
        ),
        **held(value, 0.02, "relative error"),
        "more": f"trace {np.trace(rolled.covariance):.3f}; exact {trace:.3f}",
    }


def calibration_tests(config: BeliefsConfig) -> dict[str, Any]:
    """How often simulation-based calibration passes the truth, and rejects a wrong noise."""
    passed, rejected = (
        np.array([passes(variance, i, config) for i in range(config.n_tests)])
        for variance in (0.25, 0.25 * 1.25)
    )
    right, wrong = float(passed.mean()), float(1 - rejected.mean())
    value = min(right, wrong)
    return {
        "what": (
            f"simulation-based calibration at α = .05 with {config.n_tasks:,} tasks: exact"
            " posteriors pass; those with 25% more noise variance are rejected"
        ),
        "value": value,
        "unit": "share",
        "bar": 0.9,
        "better": "higher",
        "reached": value >= 0.9,
        "more": f"passed {right:.0%}, rejected {wrong:.0%} of {config.n_tests}",
    }


def passes(noise_variance: float, i: int, config: BeliefsConfig) -> bool:
    truth, draws = diagnostics.simulated(
        lines(2),
        ConjugateLinear(noise_variance),
        n_tasks=config.n_tasks,
        generator=torch.Generator().manual_seed(config.seed + i),
    )
    return diagnostics.sbc(truth, draws).passes(0.05)


def coverage(config: BeliefsConfig) -> dict[str, Any]:
    """Coverage of the coefficients by a network's martingale posterior, over data sets of the
    prior that it was trained on."""
    training = BayesConfig(seed=config.seed)
    model, effort = trained_within(LINE, config.minutes, training)
    share, error = covered(model, config)
    exactly, _ = covered(truth_of_lines(), config)
    within = abs(share - 0.9) <= 0.02
    return {
        "what": (
            f"90% intervals of β by resampling: {LINE.title}, {GIVEN} rows given, horizon {DRAWN},"
            f" {config.n_tasks:,} data sets, {config.n_draws} draws"
        ),
        "value": share,
        "unit": "share",
        "bar": [0.88, 0.92],
        "reached": within and effort["processor_minutes"] <= 1.05 * config.minutes,
        "more": (
            f"± {error:.1%}; exact predictions {exactly:.1%}; trained"
            f" {effort['processor_minutes']:.1f} processor minutes, {effort['steps']:,} steps"
        ),
        **effort,
    }


def covered(model: Any, config: BeliefsConfig) -> tuple[float, float]:
    """Share of coefficients within the model's 90% intervals, and its standard error."""
    truth, draws = diagnostics.simulated(
        lines(2),
        model,
        n_tasks=config.n_tasks,
        n_context=GIVEN,
        n_draws=config.n_draws,
        horizon=DRAWN,
        x_sampler=Normal(torch.zeros(2), 1.0),
        generator=torch.Generator().manual_seed(config.seed + 1),
    )
    return diagnostics.coverage(truth, draws).at(0.9)


def mean(config: BeliefsConfig) -> dict[str, Any]:
    """Intervals of a class's share from 100 rows of a table: how often they hold the share of the
    whole table, and their width against the Bayesian bootstrap's."""
    held_by_us, held_by_them, ratios, parts = [], [], [], []
    for name, wanted in SHARES.items():
        ours, theirs, widths = np.array(list(intervals(name, wanted, config))).T
        held_by_us.append(ours.mean())
        held_by_them.append(theirs.mean())
        ratios.append(widths)
        parts.append(
            f"{name.replace('_', ' ')} {ours.mean():.2f} (bootstrap {theirs.mean():.2f}), width"
            f" {widths.mean():.2f} ± {widths.std(ddof=1):.2f} of the bootstrap's"
        )
    value = float(np.mean(held_by_us))
    return {
        "what": (
            f"90% intervals of a class's share from {CONTEXT_ROWS} rows of a real table,"
            f" {config.n_contexts} times, by the copula that {config.checkpoint} starts"
        ),
        "value": value,
        "unit": "share",
        "bar": [0.85, 0.95],
        "reached": all(0.85 <= share <= 0.95 for share in held_by_us),
        "width_ratio": float(np.concatenate(ratios).mean()),
        "bootstrap": float(np.mean(held_by_them)),
        "more": "; ".join(parts),
    }


def intervals(
    name: str, wanted: Any, config: BeliefsConfig
) -> Iterator[tuple[float, float, float]]:
    """For each context, whether our interval holds the table's share, whether the bootstrap's
    does, and the ratio of their widths. Rows are drawn with replacement: the table is the
    population."""
    X, y = BUNDLED[name]()
    is_wanted = y.to_numpy() == wanted
    truth = float(is_wanted.mean())
    random = np.random.default_rng(config.seed)
    for i in range(config.n_contexts):
        rows = random.integers(len(y), size=CONTEXT_ROWS)
        positive = is_wanted[rows].astype(int)
        ours = predictive_resample(
            PFNClassifier(checkpoint=config.checkpoint),
            X.iloc[rows],
            positive,
            functional="mean",
            method="copula",
            n_samples=COPULA_DRAWS,
            horizon=COPULA_HORIZON,
            generator=torch.Generator().manual_seed(config.seed + i),
        )
        low, high = (float(end[0]) for end in ours.interval(0.9))
        weights = random.dirichlet(np.ones(CONTEXT_ROWS), COPULA_DRAWS)
        a, b = np.quantile(weights @ positive, [0.05, 0.95])
        yield low <= truth <= high, a <= truth <= b, (high - low) / (b - a)


def held(value: float, bar: float, unit: str) -> dict[str, Any]:
    """A value that should be at most `bar`."""
    return {"value": value, "unit": unit, "bar": bar, "better": "lower", "reached": value <= bar}
