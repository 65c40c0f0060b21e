"""Coherence: does a model believe now what it expects to believe later, and does the order of what
it saw matter?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import stats
from torch import Tensor

from openpfn.bayes.believers import Believer, believer_of
from openpfn.bayes.context import context_of
from openpfn.bayes.diagnostics.uniformity import of_all
from openpfn.bayes.functionals import Functional
from openpfn.bayes.resampling import prepared
from openpfn.heads.base import Predictive
from openpfn.heads.categorical import Categorical

AT_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Levels of a number's first predictive at whose quantiles its probabilities are followed."""
JOINT_ROWS = 4
"""Last rows whose joint log-probability is found in several orders where each takes a pass."""
TOLERANCE = 1e-4
"""Difference of probabilities up to which two predictions are the same, to float32's rounding."""


@dataclass(frozen=True)
class Martingale:
    """How a model's beliefs drift on average as it reads its own predictions; a Bayesian's do
    not."""

    horizons: Int[np.ndarray, " H"]
    """Rows drawn before asking again."""
    drift: Float[np.ndarray, " H"]
    """Root mean square of the average change of a probability, over contexts and probabilities,
    what chance adds taken off; 0 for a martingale."""
    error: Float[np.ndarray, " H"]
    """Standard error of `drift`, over contexts; NaN for a single one."""
    change: Float[np.ndarray, "H B G"]
    """Average change of each probability in each context."""
    p_values: Float[np.ndarray, " H"]
    """That the average changes are chance, by horizon."""
    p_value: float
    """That all are (Bonferroni)."""

    def passes(self, alpha: float = 0.05) -> bool:
        """Whether nothing speaks against a martingale at the level `alpha`."""
        return self.p_value >= alpha

    def plot(self) -> Any:
        """Return a figure of the drift along the horizon."""
        from openpfn.plots.diagnostics import drift_figure

        return drift_figure(self.horizons, self.drift, self.error, self.p_values)


@dataclass(frozen=True)
class Exchangeability:
    """How much predictions change when the rows of their context come in another order."""

    distances: Float[np.ndarray, "B K"]
    """Largest difference of a probability, for each context and permutation."""
    mean: float
    """Its mean."""
    error: float
    """Standard error of the mean, over contexts; over permutations where there is one context."""
    largest: float
    """The largest of all."""
    p_value: float
    """That the mean is no more than rounding (a one-sided t-test)."""
    log_prob_spread: float
    """Standard deviation, over orders, of the log-probability of several targets one after another,
    in nats: of all, or of the context's last four for models that need a pass for each."""

    def passes(self, alpha: float = 0.05) -> bool:
        """Whether nothing speaks against exchangeability at the level `alpha`."""
        return self.p_value >= alpha

    def plot(self) -> Any:
        """Return a figure of the distances."""
        from openpfn.plots.diagnostics import exchangeability_figure

        return exchangeability_figure(self.distances.reshape(-1), self.p_value)


class _Nothing(Functional):
    """The functional of those who want the rows alone."""

    n_trace = 1


def martingale(
    model: Any,
    x: Any = None,
    y: Any = None,
    x_query: Any = None,
    *,
    horizon: int = 16,
    n_samples: int = 128,
    n_horizons: int = 4,
    x_sampler: Any = "bootstrap",
    generator: torch.Generator | None = None,
    **options: Any,
) -> Martingale:
    """Test whether the model's predictions are a martingale (Falck et al. 2024): whether what it
    believes about `x_query` is what it will believe, on average, after `horizon` rows of its own.

    `x`, `y`, `x_sampler` and `options` are as in `predictive_resample`; `x_query` (Q, D), or
    (B, Q, D) for a batch of contexts, are the rows asked about, the first given rows by default.
    Followed are the probabilities of classes, or of a number's lying below the quantiles of the
    first prediction. In each context the average change over rollouts is compared with its
    standard error.
    """
    work = prepared(
        model, x, y, _Nothing(), horizon=horizon, n_samples=n_samples, x_sampler=x_sampler,
        generator=generator, **options,
    )  # fmt: skip
    believer, context = work.believer, work.context
    if n_samples < 2:
        raise ValueError(f"n_samples is {n_samples}; a drift needs 2 rollouts at least.")
    queries = _queries(believer, context.features, x_query)
    blocks = [work.rolled(i) for i in range(work.n_blocks)]
    rows = None
    if blocks[0].features is not None:
        rows = torch.cat([block.features for block in blocks])  # pyright: ignore
    targets = torch.cat([block.y for block in blocks])
    prompts = torch.cat([block.prompts for block in blocks])
    first = believer.ask(context.features if queries is not None else None, context.y, queries)
    at = None if isinstance(first, Categorical) else first.quantile(AT_LEVELS)  # (L, B, Q)
    before = _probabilities(first, at)  # (B, G)
    horizons = np.unique(np.linspace(horizon / n_horizons, horizon, n_horizons).round().astype(int))
    changes, p_values, drifts, errors = [], [], [], []
    for h in horizons.tolist():
        n = context.n_rows + h
        after = believer.ask(
            None if rows is None else rows[:, :n],
            targets[:, :n],
            None if queries is None else queries[prompts],
        )
        moved = _probabilities(after, None if at is None else at[:, prompts]) - before[prompts]
        by_context = moved.view(len(before), n_samples, -1).numpy()  # (B, S, G)
        change, p, drift, error = _drift_of(by_context)
        changes.append(change)
        p_values.append(p)
        drifts.append(drift)
        errors.append(error)
    return Martingale(
        horizons, np.array(drifts), np.array(errors), np.stack(changes), np.array(p_values),
        of_all(p_values),
    )  # fmt: skip


def exchangeability(
    model: Any,
    x: Any = None,
    y: Any = None,
    x_query: Any = None,
    *,
    n_permutations: int = 16,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Exchangeability:
    """Test whether the order of the context matters to predictions, which it does not to a
    Bayesian's of exchangeable rows.

    `x`, `y` and `options` (`refit`, `n_classes`) are as in `predictive_resample`; `x_query` as in
    `martingale`.
    """
    if n_permutations < 1:
        raise ValueError(f"n_permutations is {n_permutations}, must be at least 1.")
    believer = believer_of(model, x, y, **options)
    context = context_of(believer, x, y, as_numbers=False)
    if context.n_rows < 2:
        raise ValueError(
            f"the context has {context.n_rows} rows: there is no other order. Give 2 at least."
        )
    source = generator or torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    queries = _queries(believer, context.features, x_query)
    rows, y_seen = context.features, context.y
    first = believer.ask(rows, y_seen, queries)
    at = None if isinstance(first, Categorical) else first.quantile(AT_LEVELS)
    before, apart = _probabilities(first, at), []
    n_given = 0
    if not believer.reads_prefixes:
        n_given = max(believer.least_rows, context.n_rows - JOINT_ROWS)
    joint = [believer.joint_log_prob(rows, y_seen, n_given)]
    for _ in range(n_permutations):
        order = torch.randperm(context.n_rows, generator=source)
        shuffled = None if rows is None else rows[:, order]
        again = believer.ask(shuffled, y_seen[:, order], queries)
        apart.append((_probabilities(again, at) - before).abs().amax(dim=-1))
        later = n_given + torch.randperm(context.n_rows - n_given, generator=source)
        order = torch.cat([torch.arange(n_given), later])
        shuffled = None if rows is None else rows[:, order]
        joint.append(believer.joint_log_prob(shuffled, y_seen[:, order], n_given))
    distances = torch.stack(apart, dim=1).numpy()  # (B, K)
    units = distances.mean(axis=1) if len(distances) > 1 else distances[0]
    spread = float(torch.stack(joint).std(0).mean())
    error = float(units.std(ddof=1) / len(units) ** 0.5) if len(units) > 1 else np.nan
    p = _above(units, TOLERANCE)
    return Exchangeability(
        distances, float(distances.mean()), error, float(distances.max()), p, spread
    )


def _above(values: Float[np.ndarray, " n"], bound: float) -> float:
    """The p-value that the mean of `values` is at most `bound`."""
    if len(values) < 2 or values.std() == 0:
        return 0.0 if values.mean() > bound else 1.0
    return float(stats.ttest_1samp(values, bound, alternative="greater").pvalue)


def _queries(
    believer: Believer, features: Float[Tensor, "B n V"] | None, x_query: Any
) -> Float[Tensor, "B Q V"] | None:
    """The rows asked about, as the model reads them."""
    if not believer.reads_x:
        return None
    if x_query is None:
        if features is None or features.shape[1] == 0:
            raise ValueError("x_query is missing, and the context has no rows to ask about.")
        return features[:, : min(4, features.shape[1])]
    found = believer.features(x_query).double()
    n_contexts = 1 if features is None else len(features)
    if found.dim() == 2:
        return found.expand(n_contexts, *found.shape)
    if len(found) != n_contexts:
        raise ValueError(
            f"x_query has shape {tuple(found.shape)} for {n_contexts} contexts; expected (Q, D) or"
            f" ({n_contexts}, Q, D)."
        )
    return found


def _probabilities(belief: Predictive, at: Tensor | None) -> Float[Tensor, "B G"]:
    """The probabilities that are followed: of classes, or of lying below the numbers `at`."""
    if isinstance(belief, Categorical):
        return belief.probs.double().cpu().flatten(1)
    assert at is not None
    return belief.cdf(at).double().cpu().movedim(0, -1).flatten(1)


def _drift_of(
    moved: Float[np.ndarray, "B S G"],
) -> tuple[Float[np.ndarray, "B G"], float, float, float]:
    """Average change, its p-value, and the drift with its standard error."""
    n_contexts, n = moved.shape[:2]
    change = moved.mean(axis=1)  # (B, G)
    noise = moved.var(axis=1, ddof=1) / n
    error = np.sqrt(noise)
    rounding = 1e-7
    t = change / np.maximum(error, rounding)
    z = stats.norm.isf(np.clip(stats.t.sf(np.abs(t), n - 1), 1e-300, 0.5))
    # contexts are independent; the probabilities of one are not
    p = of_all(stats.chi2.sf(np.square(z).sum(axis=0), n_contexts))
    excess = (np.square(change) - noise).mean(axis=1)  # (B,)
    drift = float(np.sqrt(max(0.0, excess.mean())))
    if n_contexts < 2:
        return change, p, drift, float("nan")
    of_mean = excess.std(ddof=1) / np.sqrt(n_contexts)
    return change, p, drift, float(of_mean / (2 * drift) if drift > 0 else np.sqrt(of_mean))
