"""`draw_tasks`: from the nodes of random graphs to a batch of accepted tasks; and the shapes of
a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.configs.real_table import RealTableConfig
from openpfn.scm.columns import dress_columns
from openpfn.scm.labels import class_counts, draw_labels, relabel, standardise
from openpfn.scm.learnability.gain import explained_variance, gain_over_majority
from openpfn.scm.noise import Noise
from openpfn.scm.targets import draw_targets

MAX_ROUNDS = 12
N_MORE = 3
"""Further targets that are tried on a graph whose first one is not learnable."""
REPEATED_ROWS = (0.02, 0.4)
"""Smallest and largest share of the rows that are copies, in a task that has any."""
CHUNK_CELLS = 1 << 14
"""Rows × tasks that are propagated together: larger chunks fall out of the cache."""


@dataclass(frozen=True)
class Nodes:
    """What one graph per task gives: R readings of its nodes, and the clusters of the rows."""

    readings: Float[Tensor, "B R P N"]
    """Per reading the nodes that become columns, then the scores that the target is made from."""
    n_columns: int
    clusters: Int[Tensor, "B N"]
    n_clusters: Int[Tensor, " B"]
    hidden_width: Float[Tensor, " B"]
    depth: Float[Tensor, " B"]
    is_level: Bool[Tensor, "B R D"] | None = None
    """Columns of each reading whose values stand for levels of a category; None where there are
    none."""


@dataclass(frozen=True)
class Shape:
    """What all tasks of a batch share."""

    n_rows: int
    n_train: int
    fewest: int
    most: int


Propagate = Callable[[Shape, Tensor, Tensor, Noise], Nodes]
"""(shape, n_features (B), n_classes (B), noise) -> Nodes with `shape.most` columns."""


def draw_shape(config: PriorConfig, noise: Noise) -> Shape:
    """Rows, context rows and the band of columns of one batch."""
    u = torch.rand(3, generator=noise.generator, device=noise.device).tolist()
    lowest = config.max_seq_len if config.min_seq_len is None else config.min_seq_len
    n_rows = _between(lowest, config.max_seq_len, config.rows_law, u[0])
    share = config.min_context_share + u[1] * (config.max_context_share - config.min_context_share)
    n_train = min(max(round(share * n_rows), config.min_classes), n_rows - 1)
    middle = _between(config.min_features, config.max_features, config.features_law, u[2])
    half = math.sqrt(config.feature_band)
    fewest, most = (
        max(config.min_features, math.floor(middle / half)),
        min(config.max_features, math.ceil(middle * half)),
    )
    return Shape(n_rows, n_train, fewest, most)


def draws_numbers(config: PriorConfig | RealTableConfig, noise: Noise) -> bool:
    """Whether the next batch is one of regression tasks."""
    if config.regression_share in (0, 1):  # certain: leaves the generator alone
        return config.regression_share == 1
    return bool(noise.flags(config.regression_share, 1))


def narrowed(config: PriorConfig, shape: Shape, numbers: bool) -> PriorConfig:
    """`config` with `shape` as its only shape, and with regression tasks alone or none."""
    share = shape.n_train / shape.n_rows
    return replace(
        config,
        min_seq_len=shape.n_rows,
        max_seq_len=shape.n_rows,
        min_features=shape.fewest,
        max_features=shape.most,
        min_context_share=share,
        max_context_share=share,
        feature_band=(shape.most / shape.fewest) ** 2 + 1,
        regression_share=float(numbers),
    )


def _between(low: int, high: int, law: str, u: float) -> int:
    if law == "uniform":
        return min(high, low + int(u * (high - low + 1)))
    return min(high, int(math.exp(math.log(low) + u * (math.log(high + 1) - math.log(low)))))


def draw_n_classes(config: PriorConfig, n_tasks: int, most: int, noise: Noise) -> Int[Tensor, " B"]:
    """Class counts: two with `binary_share`, else k in proportion to 1/(k − 1); at most `most`, the
    number of context rows."""
    low, high = config.min_classes, max(config.min_classes, min(config.max_classes, most))
    weights = [1 / (k - 1) for k in range(low, high + 1)]
    if low == 2 and high > 2:
        weights[0] = sum(weights[1:]) * config.binary_share / max(1 - config.binary_share, 1e-6)
    return noise.choice(weights, n_tasks) + low


def draw_tasks(
    propagate: Propagate, config: PriorConfig, n_tasks: int, generator: torch.Generator
) -> TaskBatch:
    """`n_tasks` accepted tasks of one shape, all classification or all regression.

    Graphs are drawn until enough tasks are accepted; after `MAX_ROUNDS` the filter lets everything
    pass, so that it always ends.
    """
    noise = Noise(generator)
    shape = draw_shape(config, noise)
    numbers = draws_numbers(config, noise)
    chunk = max(8, CHUNK_CELLS // shape.n_rows)
    last_round = MAX_ROUNDS * math.ceil(n_tasks / chunk)
    kept: list[TaskBatch] = []
    missing, attempt = n_tasks, 0
    while missing:
        demanding = config.learnable and attempt < last_round
        tasks = _attempt(
            propagate,
            shape,
            config,
            min(chunk, missing + missing // 2 + 3) if demanding else missing,
            noise,
            demanding,
            numbers,
        )
        kept.append(tasks.tasks(slice(0, missing)))
        missing -= kept[-1].n_tasks
        attempt += 1
    return joined(kept)


def joined(batches: list[TaskBatch]) -> TaskBatch:
    """Batches of equal rows and context as one, as wide as the widest; keeps the latents that all
    have."""
    width = max(batch.n_columns for batch in batches)

    def cat(name: str) -> Tensor:
        values = [getattr(batch, name) for batch in batches]
        return torch.cat(
            [_padded(value, width) for value in values] if name in ("x", "categorical") else values
        )

    shared = set.intersection(*(set(batch.latents) for batch in batches))
    latents = {
        name: torch.cat([batch.latents[name] for batch in batches]) for name in sorted(shared)
    }
    return TaskBatch(
        x=cat("x"),
        y=cat("y"),
        n_train=batches[0].n_train,
        n_features=cat("n_features"),
        n_classes=None if batches[0].n_classes is None else cat("n_classes"),
        categorical=cat("categorical"),
        latents=latents,
    )


def _padded(values: Tensor, width: int) -> Tensor:
    return (
        torch.nn.functional.pad(values, (0, width - values.shape[-1]))
        if values.shape[-1] < width
        else values
    )


@torch.inference_mode()
def _attempt(
    propagate: Propagate,
    shape: Shape,
    config: PriorConfig,
    n_tasks: int,
    noise: Noise,
    demanding: bool,
    numbers: bool,
) -> TaskBatch:
    """Draw `n_tasks` graphs and keep those on which a target is accepted."""
    n_features = noise.integers(shape.most - shape.fewest + 1, n_tasks) + shape.fewest
    n_classes = draw_n_classes(config, n_tasks, shape.n_train, noise)
    nodes = propagate(shape, n_features, n_classes, noise)
    targets = _Numbers(noise) if numbers else _Classes(nodes, n_classes, config, noise)
    columns, categorical, y, accepted = _read(nodes, n_features, targets, config, noise, demanding)
    order = noise.order(n_tasks)  # graphs come sorted by depth
    accepted = order[accepted[order]]
    columns, y = columns[accepted], y[accepted]
    if config.repeated_rows_share:  # without it the generator is left alone
        columns, y = repeat_rows(columns, y, config, numbers, noise)
    if not numbers:
        columns, y = every_class_in_context(columns, y, shape.n_train, config.max_classes)
    return TaskBatch(
        x=columns.transpose(1, 2).contiguous(),
        y=y.float(),
        n_train=shape.n_train,
        n_features=n_features[accepted],
        n_classes=None if numbers else y.amax(1) + 1,
        categorical=categorical[accepted],
        latents={"hidden_width": nodes.hidden_width[accepted], "depth": nodes.depth[accepted]},
    )


class _Classes:
    """Labels as targets, judged by their gain over the majority class."""

    def __init__(
        self, nodes: Nodes, n_classes: Int[Tensor, " B"], config: PriorConfig, noise: Noise
    ) -> None:
        self.nodes, self.n_classes, self.config, self.noise = nodes, n_classes, config, noise

    def draw(self, scores: Float[Tensor, "T S N"], tasks: Int[Tensor, " T"]) -> Tensor:
        n_classes, config = self.n_classes[tasks], self.config
        clusters, n_clusters = self.nodes.clusters[tasks], self.nodes.n_clusters[tasks]
        labels = draw_labels(
            scores, clusters, n_clusters, n_classes, self.noise, config.label_noise_share
        )
        labels = _enough_classes(labels, scores, n_classes, config, self.noise)
        return relabel(labels, config.max_classes)[0]

    def gain(self, columns: Tensor, targets: Tensor, categorical: Tensor, demanded: Tensor):
        n_classes = self.config.max_classes
        return gain_over_majority(columns, targets, n_classes, categorical, demanded)


class _Numbers:
    """Numeric targets, judged by the explained share of their variance."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def draw(self, scores: Float[Tensor, "T S N"], tasks: Int[Tensor, " T"]) -> Tensor:
        return draw_targets(scores, self.noise)

    def gain(self, columns: Tensor, targets: Tensor, categorical: Tensor, demanded: Tensor):
        return explained_variance(columns, targets, categorical, demanded)


def _read(
    nodes: Nodes,
    n_features: Tensor,
    targets: _Classes | _Numbers,
    config: PriorConfig,
    noise: Noise,
    demanding: bool,
) -> tuple[Float[Tensor, "B D N"], Bool[Tensor, "B D"], Num[Tensor, "B N"], Bool[Tensor, " B"]]:
    """One table of every graph: columns, which are categorical, target, and whether it is accepted.

    The first reading of a graph is tried with one target, the others with `N_MORE`: propagating the
    graph is what costs.
    """
    n_tasks, n_readings, _, n_rows = nodes.readings.shape
    width = nodes.n_columns
    columns, categorical = dress_columns(
        nodes.readings[:, :, :width].reshape(-1, width, n_rows),
        n_features.repeat_interleave(n_readings),
        config,
        noise,
        None if nodes.is_level is None else nodes.is_level.flatten(0, 1),
    )
    columns = columns.view(n_tasks, n_readings, width, n_rows)
    categorical = categorical.view(n_tasks, n_readings, width)

    def draw(tasks: Tensor, reading: int, times: int) -> Num[Tensor, "T K N"]:
        scores = standardise(nodes.readings[tasks, reading, width:]).repeat_interleave(times, 0)
        drawn = targets.draw(scores, tasks.repeat_interleave(times))
        return drawn.view(len(tasks), times, n_rows)

    tasks = torch.arange(n_tasks, device=noise.device)
    y = draw(tasks, 0, 1)[:, 0]
    kept_columns, kept_categorical = columns[:, 0], categorical[:, 0]
    if not demanding:
        return kept_columns, kept_categorical, y, tasks >= 0
    demanded = noise.uniform(config.min_gain, config.min_gain + config.gain_spread, n_tasks)
    gain = targets.gain(kept_columns, y.unsqueeze(1), kept_categorical, demanded)[:, 0]
    accepted = (gain > demanded) | noise.flags(config.unlearnable_share, n_tasks)
    for reading in range(1, n_readings):
        failed = (~accepted).nonzero().squeeze(1)
        if len(failed):
            others = draw(failed, reading, N_MORE)
            read_columns = columns[failed, reading], categorical[failed, reading]
            gain = targets.gain(read_columns[0], others, read_columns[1], demanded[failed])
            passes = gain > demanded[failed].unsqueeze(1)
            first = passes.int().argmax(1)
            y[failed] = others[torch.arange(len(failed), device=noise.device), first]
            kept_columns[failed], kept_categorical[failed] = read_columns
            accepted[failed] = passes.any(1)
    return kept_columns, kept_categorical, y, accepted


def _enough_classes(
    labels: Tensor, scores: Tensor, n_classes: Tensor, config: PriorConfig, noise: Noise
) -> Tensor:
    """Where a rule left fewer than `min_classes` classes with rows, cut the ranks of the first
    score instead, ties broken at random."""
    poor = (
        ((class_counts(labels, config.max_classes) > 0).sum(1) < config.min_classes)
        .nonzero()
        .squeeze(1)
    )
    if len(poor):
        first = scores[poor, 0]
        ranks = (first + 1e-3 * noise.normal(*first.shape)).argsort(1).argsort(1)
        labels = labels.clone()
        labels[poor] = ranks * n_classes[poor].unsqueeze(1) // first.shape[1]
    return labels


def repeat_rows(
    columns: Float[Tensor, "B D N"],
    y: Num[Tensor, "B N"],
    config: PriorConfig,
    numbers: bool,
    noise: Noise,
) -> tuple[Float[Tensor, "B D N"], Num[Tensor, "B N"]]:
    """Make, in a share of the tasks, some rows copies of others, target included.

    A task of classes that would keep fewer than `min_classes` stays as it is; classes that lose all
    their rows are dropped.
    """
    n_tasks, _, n_rows = columns.shape
    rate = noise.log_uniform(*REPEATED_ROWS, n_tasks, 1)
    rate = rate * noise.flags(config.repeated_rows_share, n_tasks, 1)
    own = torch.arange(n_rows, device=y.device).expand(n_tasks, -1)
    is_copy = noise.flags(rate, n_tasks, n_rows)
    source = torch.where(is_copy, noise.integers(n_rows, n_tasks, n_rows), own)
    copied = y.gather(1, source)
    if not numbers:
        kept = (class_counts(copied, config.max_classes) > 0).sum(1, keepdim=True)
        source = torch.where(kept >= config.min_classes, source, own)
        copied = relabel(y.gather(1, source), config.max_classes)[0]
    return columns.gather(2, source.unsqueeze(1).expand_as(columns)), copied


def every_class_in_context(
    columns: Num[Tensor, "B D N"], labels: Int[Tensor, "B N"], n_train: int, n_classes: int
) -> tuple[Num[Tensor, "B D N"], Int[Tensor, "B N"]]:
    """Reorder, in place, the rows of those tasks that have a class without context rows, so that
    its first row comes first."""
    inside, everywhere = (
        class_counts(labels[:, :n_train], n_classes),
        class_counts(labels, n_classes),
    )
    short = ((inside == 0) & (everywhere > 0)).any(1).nonzero().squeeze(1)
    if len(short):
        y = labels[short]
        place = torch.arange(y.shape[1], device=y.device).expand_as(y)
        first = torch.full((len(y), n_classes), y.shape[1], device=y.device).scatter_reduce_(
            1, y, place, "amin"
        )
        is_first = first.gather(1, y) == place
        order = torch.where(is_first, place - y.shape[1], place).argsort(1)
        labels[short] = y.gather(1, order)
        columns[short] = columns[short].gather(
            2, order.unsqueeze(1).expand(-1, columns.shape[1], -1)
        )
    return columns, labels
