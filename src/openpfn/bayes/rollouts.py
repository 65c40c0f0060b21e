"""`Resampling`: the rollouts behind a martingale posterior, in blocks of fixed randomness."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openpfn.bayes.believers.base import Believer
from openpfn.bayes.context import Context
from openpfn.bayes.copula import (
    at_given_rows,
    at_new_rows,
    evolved_classes,
    evolved_levels,
    quantiles_by_place,
    standardised,
    without_x,
)
from openpfn.bayes.functionals import Functional, OfEstimator, Rolled
from openpfn.bayes.martingale import MartingalePosterior, Trajectories
from openpfn.bayes.new_rows import (
    ROLLOUTS_PER_BLOCK,
    check_x_sampler,
    rows_drawn_again,
    rows_of_distribution,
)
from openpfn.heads.bars import BarDistribution
from openpfn.heads.base import OverLogits, Predictive, Rescaled
from openpfn.heads.categorical import Categorical
from openpfn.heads.gaussian import GaussianMixture

Method = Literal["rollout", "copula"]
Sampling = Literal["density", "centres"]
Progress = Callable[[int, int], None]
QUERIES_AT_ONCE = 512
"""Rows that a network is asked about at once where a copula goes on alone."""


@dataclass(frozen=True)
class Block:
    """What one block of rollouts gave."""

    trace: Float[np.ndarray, "H R P"]
    """The functional at each horizon."""
    x: np.ndarray | None = None
    """Completed inputs, or places of rows, where trajectories are kept."""
    y: np.ndarray | None = None
    """Completed targets, where trajectories are kept."""


@dataclass(frozen=True)
class CompletedRows:
    """Given rows and drawn ones of R rollouts."""

    prompts: Int[Tensor, " R"]
    """The context that each rollout continues."""
    features: Float[Tensor, "R N V"] | None
    """Inputs as the model reads them."""
    x: Float[Tensor, "R N D"] | None
    """Inputs as functionals read them."""
    y: Float[Tensor, "R N"]
    """Targets, or class indices."""


class Resampling:
    """The work of `predictive_resample`, checked and ready to be done block by block."""

    def __init__(
        self,
        believer: Believer,
        context: Context,
        functional: Functional,
        *,
        n_samples: int = 1000,
        horizon: int = 64,
        x_sampler: Any = "bootstrap",
        method: str = "rollout",
        sampling: str = "density",
        correlation: float = 0.5,
        n_trace: int | None = None,
        trajectories: bool = False,
        memory_limit: int = 2**30,
        generator: torch.Generator | None = None,
    ) -> None:
        for name, value in (("n_samples", n_samples), ("horizon", horizon)):
            if int(value) != value or value < 1:
                raise ValueError(f"{name} is {value}, must be a whole number of at least 1.")
        for name, value, kind in (("method", method, Method), ("sampling", sampling, Sampling)):
            if value not in get_args(kind):
                choices = " or ".join(map(repr, get_args(kind)))
                raise ValueError(f"{name} is {value!r}, must be {choices}.")
        if not 0 < correlation < 1:
            raise ValueError(f"correlation is {correlation}, must lie between 0 and 1.")
        if not memory_limit > 0:
            raise ValueError(f"memory_limit is {memory_limit}, must be a number of bytes above 0.")
        if believer.reads_x:
            check_x_sampler(x_sampler, context.n_rows, context.is_table)
        check_functional(functional, believer, context)
        self.believer, self.context, self.functional = believer, context, functional
        self.n_samples, self.horizon, self.x_sampler = int(n_samples), int(horizon), x_sampler
        self.method, self.sampling, self.correlation = method, sampling, float(correlation)
        self.keep, self.memory_limit = trajectories, int(memory_limit)
        self.n_columns = self._n_columns()
        self.horizons = self._horizons(n_trace)
        n_rows, most = context.n_rows + self.horizon, believer.most_rows
        if method == "rollout" and most is not None and n_rows > most:
            raise ValueError(
                f"context and horizon together have {n_rows} rows, but the network has positions"
                f" for {most} (n_ctx). Lower the horizon, or train with a larger n_ctx or with"
                " use_pos_emb=False."
            )
        device = "cpu" if generator is None else generator.device
        seeds = torch.randint(2**63 - 1, (self.n_blocks,), generator=generator, device=device)
        self.seeds: list[int] = seeds.tolist()

    @property
    def n_rollouts(self) -> int:
        return len(self.context.y) * self.n_samples

    @property
    def n_blocks(self) -> int:
        return -(-self.n_rollouts // ROLLOUTS_PER_BLOCK)

    def block(self, index: int, progress: Progress | None = None) -> Block:
        """Roll out the block `index` and take the functional; the same however the others go."""
        made = self.rolled(index, progress)
        data = Rolled(made.x, made.y, self.context.table, self._labels())
        n = self.context.n_rows
        trace = np.stack([self.functional(data.first(n + int(h))) for h in self.horizons])
        return Block(trace, *self._kept(data)) if self.keep else Block(trace)

    def rolled(self, index: int, progress: Progress | None = None) -> CompletedRows:
        """The completed rows of the block `index`."""
        first = index * ROLLOUTS_PER_BLOCK
        size = min(ROLLOUTS_PER_BLOCK, self.n_rollouts - first)
        prompts = torch.arange(first, first + size) // self.n_samples
        generator = torch.Generator().manual_seed(self.seeds[index])
        places, new = self._new_rows(prompts, generator)
        uniform = torch.rand(size, self.horizon, generator=generator, dtype=torch.float64)
        done = first * self.horizon

        def tell(n_rows: int) -> None:
            if progress is not None:
                progress(done + n_rows, self.n_rollouts * self.horizon)

        shown = None
        if new is not None:
            shown = self.believer.features(new.flatten(0, 1)).unflatten(0, new.shape[:2])
        features = self._completed(self.context.features, prompts, places, shown)
        if self.method == "copula":
            drawn = self._by_copula(prompts, places, shown, uniform)
            tell(uniform.numel())
        else:
            drawn = self._by_rollout(features, self.context.y[prompts], uniform, tell)
        x = self._completed(self.context.x, prompts, places, new)
        y = torch.cat([self.context.y[prompts], drawn], dim=1)
        return CompletedRows(prompts, features, x, y)

    def posterior(self, blocks: Sequence[Block]) -> MartingalePosterior:
        """Return the posterior that all blocks make together."""
        trace = np.concatenate([block.trace for block in blocks], axis=1)  # (H, B·S, P)
        shape = (len(trace), len(self.context.y), self.n_samples, trace.shape[-1])
        trace = np.moveaxis(trace.reshape(shape), 0, 1)  # (B, H, S, P)
        names = self.functional.names(self.context.columns or self._column_names())
        if names is None:
            n = trace.shape[-1]
            names = ["value"] if n == 1 else [f"value {i}" for i in range(n)]
        kept = None
        if self.keep:
            x = None if blocks[0].x is None else np.concatenate([b.x for b in blocks])  # pyright: ignore
            kept = Trajectories(x, np.concatenate([b.y for b in blocks]))  # pyright: ignore
        approximation = self.believer.approximation
        if self.method == "copula":
            approximation = "copula updates, started by the model"
        samples = trace[:, -1]
        return MartingalePosterior(
            samples if self.context.batched else samples[0],
            names,
            trace if self.context.batched else trace[0],
            self.horizons,
            self.context.n_rows,
            approximation,
            self.believer.approximation_error if self.method == "rollout" else None,
            kept,
        )

    # the rows

    def _n_columns(self) -> int:
        """Columns of new rows as a distribution must give them."""
        if not self.believer.reads_x or self.context.is_table:
            return 0
        if self.context.x is not None:
            return self.context.x.shape[-1]
        model: Any = getattr(self.believer, "model", None)
        if model is not None:
            return model.config.input_dim
        return _columns_of(self.x_sampler)

    def _column_names(self) -> list[str]:
        return [f"x{i}" for i in range(self.n_columns)]

    def _new_rows(
        self, prompts: Int[Tensor, " R"], generator: torch.Generator
    ) -> tuple[Int[Tensor, "R T"] | None, Float[Tensor, "R T D"] | None]:
        """Places of the rows that are drawn again, or rows from a distribution."""
        if not self.believer.reads_x:
            return None, None
        n, size = self.context.n_rows, len(prompts)
        if isinstance(self.x_sampler, str):
            return rows_drawn_again(self.x_sampler, size, n, self.horizon, generator), None
        return None, rows_of_distribution(
            self.x_sampler, size, self.horizon, self.n_columns, generator
        )

    def _completed(
        self,
        given: Float[Tensor, "B n V"] | None,
        prompts: Int[Tensor, " R"],
        places: Int[Tensor, "R T"] | None,
        new: Float[Tensor, "R T V"] | None,
    ) -> Float[Tensor, "R N V"] | None:
        """Given rows and those that follow, of each rollout."""
        if given is None:
            return new
        mine = given[prompts]
        if places is not None:
            new = mine.gather(1, places.unsqueeze(-1).expand(-1, -1, mine.shape[-1]))
        assert new is not None
        return torch.cat([mine, new.to(mine)], dim=1)

    def _by_rollout(
        self,
        rows: Float[Tensor, "R N V"] | None,
        y: Float[Tensor, "R n"],
        uniform: Float[Tensor, "R T"],
        tell: Callable[[int], None],
    ) -> Float[Tensor, "R T"]:
        """Targets of the rows that follow, each from what is believed given all rows before."""
        n = self.context.n_rows + self.horizon
        width = 0 if rows is None else rows.shape[-1]
        size = max(1, self.memory_limit // self.believer.bytes_per_rollout(n, width))
        drawn = []
        for start in range(0, len(y), size):
            part = slice(start, start + size)
            u = uniform[part].to(self.believer.device)

            def choose(step: int, belief: Predictive, start: int = start, u: Tensor = u) -> Tensor:
                tell(start * self.horizon + len(u) * (step + 1))
                return picked(belief, u[:, step], self.sampling)

            x_part = None if rows is None else rows[part]
            rolled = self.believer.roll(x_part, y[part], self.horizon, choose)
            drawn.append(rolled[:, -self.horizon :].double().cpu())
        return torch.cat(drawn)

    def _by_copula(
        self,
        prompts: Int[Tensor, " R"],
        places: Int[Tensor, "R T"] | None,
        shown: Float[Tensor, "R T V"] | None,
        uniform: Float[Tensor, "R T"],
    ) -> Float[Tensor, "R T"]:
        drawn = torch.empty_like(uniform)
        for b in prompts.unique().tolist():
            mine = prompts == b
            drawn[mine] = self._copula_of(
                b,
                None if places is None else places[mine],
                None if shown is None else shown[mine],
                uniform[mine],
            )
        return drawn

    def _copula_of(
        self, b: int, rows: Tensor | None, shown: Tensor | None, u: Float[Tensor, "S T"]
    ) -> Float[Tensor, "S T"]:
        """Targets of the rollouts of one context, whose new rows repeat given `rows`, or are
        `shown`."""
        y, rho, n = self.context.y[b : b + 1], self.correlation, self.context.n_rows
        given = None if self.context.features is None else self.context.features[b]
        if given is None and shown is not None:
            given = shown.new_zeros(0, shown.shape[-1])
        if given is None:
            places, asked = without_x(*u.shape), None
        elif rows is not None:
            places, asked = at_given_rows(standardised(given, given), rows, rho), given
        else:
            assert shown is not None
            places, asked = at_new_rows(standardised(shown, given), rho), shown.flatten(0, 1)
        parts = [None] if asked is None else [p[None] for p in asked.split(QUERIES_AT_ONCE)]
        context = None if given is None else given[None]
        beliefs = [self.believer.ask(context, y, part) for part in parts]
        if isinstance(beliefs[0], Categorical):
            probs = torch.cat([one.probs[0].double().cpu() for one in beliefs])  # pyright: ignore
            start = probs.view(-1, places.n_places, probs.shape[-1]).expand(len(u), -1, -1)
            return evolved_classes(u, start, places, n, rho).double()
        levels = evolved_levels(u, places, n, rho)
        if shown is not None:
            flat = levels.flatten().split(QUERIES_AT_ONCE)
            drawn = [one.icdf(p[None])[0] for one, p in zip(beliefs, flat, strict=True)]
            return torch.cat(drawn).double().cpu().view(u.shape)
        return quantiles_by_place(beliefs, places.of_rows, levels)

    # the functional

    def _labels(self) -> np.ndarray | None:
        """Return the labels of classes where the functional reads them as they are called."""
        if self.functional.needs_numbers:
            return None
        return self.believer.labels

    def _kept(self, data: Rolled) -> tuple[np.ndarray | None, np.ndarray]:
        y = data.y.numpy()
        labels = self.believer.labels
        y = y if labels is None else labels[y.astype(int)]
        if data.x is None:
            return None, y
        return (data.x[..., 0].long() if data.table is not None else data.x).numpy(), y

    def _horizons(self, n_trace: int | None) -> Int[np.ndarray, " H"]:
        n_points = self.functional.n_trace if n_trace is None else n_trace
        if n_points < 1:
            raise ValueError(f"n_trace is {n_trace}, must be at least 1.")
        columns = self.context.n_columns or self.n_columns
        least = self.functional.least_rows(columns) - self.context.n_rows
        if self.horizon < least:
            raise ValueError(
                f"horizon is {self.horizon} and the context has {self.context.n_rows} rows:"
                f" too few for {columns} coefficients. Raise horizon to {least} at least."
            )
        spread = np.linspace(self.horizon / n_points, self.horizon, n_points).round().astype(int)
        return np.unique(np.clip(spread, max(1, least), self.horizon))


def picked(belief: Predictive, u: Float[Tensor, " S"], sampling: str) -> Float[Tensor, " S"]:
    """A draw from each distribution made of one uniform number, or the middle of a bucket."""
    p = u.view(belief.shape)
    within = belief.standardised if isinstance(belief, Rescaled) else belief
    if sampling == "density":
        if isinstance(within, GaussianMixture):
            return _restored(belief, _of_component(within, p))
        return belief.icdf(p).reshape(-1)
    if not isinstance(within, BarDistribution | Categorical):
        raise ValueError(
            f"sampling is 'centres', but the predictive is a {type(within).__name__}, which has no"
            " buckets. Use sampling='density'."
        )
    return _restored(belief, within.y_grid[_part(within, p)[0]])


def _restored(belief: Predictive, values: Float[Tensor, "..."]) -> Float[Tensor, " S"]:
    """Values in the units of the belief."""
    if isinstance(belief, Rescaled):
        values = belief.shift + belief.scale * values
    return values.reshape(-1)


def _of_component(belief: GaussianMixture, p: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A draw from a mixture: `p` picks the component, and its place within the component's share
    the value. Quantiles of the whole take a bisection, some ten times as long."""
    k, share = _part(belief, p)
    z = torch.special.ndtri(share.clamp(1e-12, 1 - 1e-12))
    mean = belief.means.gather(-1, k.unsqueeze(-1)).squeeze(-1)
    variance = belief.variances.gather(-1, k.unsqueeze(-1)).squeeze(-1)
    return mean + variance.sqrt() * z


def _part(
    belief: OverLogits, p: Float[Tensor, "..."]
) -> tuple[Int[Tensor, "..."], Float[Tensor, "..."]]:
    """The part of the distribution that holds the level `p`, and where in the part it lies."""
    reached = belief.logits.double().softmax(dim=-1).cumsum(dim=-1)
    k = (reached[..., :-1] < p.unsqueeze(-1)).sum(dim=-1)
    before = torch.nn.functional.pad(reached, (1, 0)).gather(-1, k.unsqueeze(-1)).squeeze(-1)
    mass = reached.gather(-1, k.unsqueeze(-1)).squeeze(-1) - before
    return k, ((p - before) / mass.clamp(min=1e-300)).clamp(0, 1)


def _columns_of(x_sampler: Any) -> int:
    """Columns of the rows that a distribution gives. Raises ValueError where it does not tell."""
    if isinstance(x_sampler, torch.distributions.Distribution):
        shape = tuple(x_sampler.batch_shape + x_sampler.event_shape)
        if len(shape) == 1:
            return shape[0]
    raise ValueError(
        "the context is empty, so x_sampler must say how many columns there are: give a"
        " distribution of a whole row, such as"
        " torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2)), or x and y of no"
        " rows, of shapes (0, D) and (0,)."
    )


def check_functional(functional: Functional, believer: Believer, context: Context) -> None:
    """Raise ValueError where the functional cannot be taken of the model's data."""
    if functional.needs_columns and not believer.reads_x:
        raise ValueError("functional is 'ols', but this model has no x. Use 'mean' or a function.")
    if isinstance(functional, OfEstimator):
        _check_estimator(functional.estimator, believer)
    if not functional.needs_numbers or believer.n_classes is None:
        return
    labels = believer.labels
    as_numbers = (
        believer.n_classes == 2
        if labels is None
        else len(labels) == 2 and labels.dtype.kind in "biuf" and set(labels.tolist()) == {0, 1}
    )
    if not as_numbers:
        told = f"{believer.n_classes} classes"
        if labels is not None:
            told = "the classes " + ", ".join(map(str, labels[:4].tolist()))
        raise ValueError(
            f"the functional needs numbers, but the model is a classifier of {told}. Name the"
            " classes 0 and 1, or give a function of labels, such as"
            " lambda x, y: (y == 'yes').mean()."
        )


def _check_estimator(estimator: Any, believer: Believer) -> None:
    from sklearn.base import is_classifier, is_regressor

    if believer.n_classes is None and is_classifier(estimator):
        raise ValueError(
            f"functional is the classifier {type(estimator).__name__}, but the model predicts"
            " numbers. Give a regressor, or a function (x, y)."
        )
    if (
        believer.labels is not None
        and is_regressor(estimator)
        and believer.labels.dtype.kind not in "biuf"
    ):
        raise ValueError(
            f"functional is the regressor {type(estimator).__name__}, but the model is a classifier"
            f" of {', '.join(map(str, believer.labels[:4].tolist()))}. Give a classifier, or a"
            " function (x, y)."
        )
