"""Laws of every prior that the registry finds, and of those that draw synthetic tables as a
`PriorConfig` says."""

from __future__ import annotations

import importlib
import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from openpfn import registry
from openpfn.batch import TaskBatch
from openpfn.configs.prior import PriorConfig
from openpfn.priors.base import TaskPrior
from openpfn.scm.graphs import draw_graphs
from openpfn.scm.learnability.gain import explained_variance, gain_over_majority
from openpfn.scm.noise import Noise

SMALL = PriorConfig(max_features=7, min_seq_len=20, max_seq_len=60)
CORNERS = {
    "usual": SMALL,
    "one column": PriorConfig(max_features=1, max_seq_len=40, max_classes=3),
    "two classes": PriorConfig(max_features=4, max_seq_len=50, max_classes=2),
    "many classes": PriorConfig(max_features=4, max_seq_len=80, min_classes=10, max_classes=10),
    "few rows": PriorConfig(max_features=3, min_seq_len=4, max_seq_len=4, max_classes=10),
    "many columns": PriorConfig(min_features=150, max_features=160, max_seq_len=30),
    "unfiltered": replace(SMALL, learnable=False),
    "every blemish": replace(
        SMALL, categorical_share=1, missing_share=1, blemish_share=1, label_noise_share=1
    ),
}
CLASSES = {name: registry.find("priors", name, TaskPrior) for name in registry.names("priors")}
every_prior = pytest.mark.parametrize("name", CLASSES)
every_table_prior = pytest.mark.parametrize(
    "name", [name for name, prior in CLASSES.items() if prior.config_class is not None]
)
REAL = ("table_pool",)
"""Priors whose shapes a `PriorConfig` asks for, but whose tables decide."""
every_synthetic_prior = pytest.mark.parametrize(
    "name",
    [
        name
        for name, prior in CLASSES.items()
        if prior.config_class is PriorConfig and name not in REAL
    ],
)
every_corner = pytest.mark.parametrize("corner", CORNERS)


def made(name: str, config: Any = None) -> TaskPrior:
    """The prior with `config`, or with a small one."""
    prior: Any = CLASSES[name]
    return prior(config or (SMALL if prior.config_class is PriorConfig else prior.config_class()))


def draw(name: str, config: Any = None, n_tasks: int = 12, seed: int = 0) -> TaskBatch:
    return made(name, config).sample(n_tasks, torch.Generator().manual_seed(seed))


def same(a: TaskBatch, b: TaskBatch) -> bool:
    pairs = [
        (getattr(a, field), getattr(b, field))
        for field in ("x", "y", "n_features", "n_classes", "categorical")
    ]
    pairs += [(a.latents[name], b.latents.get(name)) for name in a.latents]
    return a.n_train == b.n_train and all(
        (p is None and q is None)
        or (p.shape == q.shape and torch.equal(p.nan_to_num(-7.5), q.nan_to_num(-7.5)))
        for p, q in pairs
    )


@pytest.mark.slow
@every_synthetic_prior
@every_corner
def test_shapes_and_ranges_keep_to_the_configuration(name: str, corner: str) -> None:
    config = CORNERS[corner]
    for n_tasks in (1, 9):
        batch = draw(name, config, n_tasks)
        n_rows = batch.y.shape[1]
        assert batch.x.shape[:2] == (n_tasks, n_rows)
        assert (config.min_seq_len or config.max_seq_len) <= n_rows <= config.max_seq_len
        assert 1 <= batch.n_train < n_rows
        assert batch.n_features.min() >= config.min_features
        assert batch.n_features.max() <= min(config.max_features, batch.n_columns)
        assert batch.categorical.shape == (n_tasks, batch.n_columns)
        assert 2 <= batch.n_classes.min() <= batch.n_classes.max() <= config.max_classes
        assert batch.n_classes.min() >= min(config.min_classes, n_rows)


@pytest.mark.slow
@every_synthetic_prior
@every_corner
def test_labels_are_whole_and_every_class_has_rows(name: str, corner: str) -> None:
    batch = draw(name, CORNERS[corner])
    for y, k in zip(batch.y, batch.n_classes, strict=True):
        assert torch.equal(y.unique(), torch.arange(int(k)).to(y.dtype))


@pytest.mark.slow
@every_synthetic_prior
@every_corner
def test_every_class_is_in_the_context_where_there_is_room(name: str, corner: str) -> None:
    batch = draw(name, CORNERS[corner])
    for y, k in zip(batch.y_context, batch.n_classes, strict=True):
        if batch.n_train >= k:
            assert len(y.unique()) == k


@pytest.mark.slow
@every_synthetic_prior
@every_corner
def test_padding_is_zero_and_values_are_finite_or_missing(name: str, corner: str) -> None:
    batch = draw(name, CORNERS[corner])
    padding = torch.arange(batch.n_columns) >= batch.n_features.unsqueeze(1)
    assert (batch.x.transpose(1, 2)[padding] == 0).all()
    assert not batch.categorical[padding].any()
    assert not batch.x.isinf().any()
    if CORNERS[corner].missing_share == 0:
        assert not batch.x.isnan().any()


@pytest.mark.slow
@every_synthetic_prior
def test_without_gaps_nothing_is_missing_and_with_gaps_something_is(name: str) -> None:
    assert not draw(name, replace(SMALL, missing_share=0)).x.isnan().any()
    assert draw(name, replace(SMALL, missing_share=1)).x.isnan().any()


@pytest.mark.slow
@every_synthetic_prior
@pytest.mark.parametrize("regression_share", [0.0, 1.0])
def test_rows_are_repeated_exactly_where_it_is_asked_for(
    name: str, regression_share: float
) -> None:
    config = PriorConfig(
        min_features=5,
        max_features=5,
        max_seq_len=120,
        categorical_share=0,
        learnable=False,
        min_context_share=0.5,
        max_context_share=0.5,
        regression_share=regression_share,
    )

    def repeats(share: float) -> tuple[Tensor, Tensor]:
        """Pairs of a context and a query row with equal columns, of each task, and how many of them
        have equal targets."""
        batch = draw(name, replace(config, repeated_rows_share=share), n_tasks=40)
        x = batch.x.nan_to_num(-7.5)
        same_x = (x[:, :60, None] == x[:, None, 60:]).all(3)
        same_y = batch.y[:, :60, None] == batch.y[:, None, 60:]
        return same_x.sum((1, 2)), (same_x & same_y).sum((1, 2))

    pairs, with_target = repeats(1.0)
    assert (pairs > 0).float().mean() > 0.85
    continuous = repeats(0.0)[0] == 0  # not a table of two values here and there
    assert continuous.float().mean() > 0.5
    assert (with_target >= 0.6 * pairs).float().mean() > 0.75
    if regression_share == 0:
        batch = draw(name, replace(config, repeated_rows_share=1.0), n_tasks=40)
        for y, k in zip(batch.y, batch.n_classes, strict=True):
            assert torch.equal(y.unique(), torch.arange(int(k)).to(y.dtype))


@pytest.mark.slow
@every_synthetic_prior
def test_category_codes_are_small_whole_numbers(name: str) -> None:
    batch = draw(name, replace(SMALL, categorical_share=1))
    assert batch.categorical.any()
    codes = batch.x.transpose(1, 2)[batch.categorical].nan_to_num(0.0)
    assert torch.equal(codes, codes.round())
    assert 0 <= codes.min() <= codes.max() < 50
    assert not draw(name, replace(SMALL, categorical_share=0)).categorical.any()


@pytest.mark.slow
@every_table_prior
def test_a_batch_is_whole(name: str) -> None:
    batch = draw(name, n_tasks=9)
    padding = torch.arange(batch.n_columns) >= batch.n_features.unsqueeze(1)
    assert (batch.x.transpose(1, 2)[padding] == 0).all()
    assert not batch.x.isinf().any()
    assert 1 <= batch.n_train < batch.n_rows
    for y, y_context, k in zip(batch.y, batch.y_context, batch.n_classes, strict=True):
        assert torch.equal(y.unique(), torch.arange(int(k)).to(y.dtype))
        assert k >= 2
        assert batch.n_train < k or len(y_context.unique()) == k
    assert not batch.x.is_inference()  # autograd must accept the tensors
    assert batch.x.is_contiguous()


@pytest.mark.slow
@every_prior
def test_the_generator_decides_everything(name: str) -> None:
    assert same(draw(name, seed=3), draw(name, seed=3))
    assert not same(draw(name, seed=3), draw(name, seed=4))
    torch.manual_seed(99)  # the global generator plays no part
    assert same(draw(name, seed=3), draw(name, seed=3))


@pytest.mark.slow
@every_prior
def test_a_pickled_prior_draws_the_same(name: str) -> None:
    prior = made(name)
    copy = pickle.loads(pickle.dumps(prior))
    assert same(
        prior.sample(4, torch.Generator().manual_seed(1)),
        copy.sample(4, torch.Generator().manual_seed(1)),
    )


@every_prior
def test_drawing_leaves_the_global_random_state_alone(name: str) -> None:
    prior, generator = made(name), torch.Generator().manual_seed(1)
    before = torch.get_rng_state()
    prior.sample(3, generator)
    assert torch.equal(torch.get_rng_state(), before)


@every_prior
def test_latents_have_an_axis_of_tasks(name: str) -> None:
    assert all(len(value) == 5 for value in draw(name, n_tasks=5).latents.values())


@pytest.mark.slow
@every_synthetic_prior
def test_tasks_report_their_graph(name: str) -> None:
    batch = draw(name, SMALL)
    assert batch.latents["hidden_width"].min() >= 1
    assert batch.latents["depth"].min() >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least_depth"), [("scm_mlp", 4.8), ("scm_tree", 3.2)])
def test_graphs_are_wide_and_deep(name: str, least_depth: float) -> None:
    """Mean hidden width ≥ 42 and several layers, as in the slow generators; for few columns, which
    ask for the least width."""
    prior, noise = (
        importlib.import_module(f"openpfn.priors.{name}"),
        Noise(torch.Generator().manual_seed(0)),
    )
    graphs = [
        draw_graphs(prior.DEPTHS, prior.WIDTHS, 0.3, 5, torch.full((8,), 5), noise)
        for _ in range(1500)
    ]
    assert torch.cat([g.width.float() for g in graphs]).mean() > 42
    assert torch.cat([g.depth.float() for g in graphs]).mean() > least_depth


@pytest.mark.slow
@every_synthetic_prior
def test_the_filter_makes_tasks_learnable(name: str) -> None:
    def flat(learnable: bool) -> float:
        batch = draw(
            name,
            PriorConfig(max_features=8, min_features=8, max_seq_len=120, learnable=learnable),
            n_tasks=150,
        )
        columns, labels = batch.x.transpose(1, 2).contiguous(), batch.y.long().unsqueeze(1)
        gain = gain_over_majority(columns, labels, 10, batch.categorical)
        return float((gain < 0.08).float().mean())

    assert flat(True) < 0.15
    assert flat(True) < 0.6 * flat(False)


@pytest.mark.slow
@every_synthetic_prior
@every_corner
def test_regression_tasks_have_finite_numbers_and_no_classes(name: str, corner: str) -> None:
    config = replace(CORNERS[corner], regression_share=1.0)
    batch = draw(name, config, n_tasks=9)
    assert batch.n_classes is None
    assert batch.y.shape == (9, batch.n_rows)
    assert batch.y.dtype == torch.float32
    assert batch.y.isfinite().all()
    assert batch.n_features.min() >= config.min_features
    assert len(batch.y.unique(dim=0)) == 9
    assert same(batch, draw(name, config, n_tasks=9))


@pytest.mark.slow
@every_synthetic_prior
def test_a_share_of_the_batches_is_regression_and_each_is_of_one_kind(name: str) -> None:
    config = replace(SMALL, regression_share=0.4, learnable=False)
    kinds = [draw(name, config, n_tasks=2, seed=seed).n_classes is None for seed in range(20)]
    assert 3 <= sum(kinds) <= 14


@pytest.mark.slow
@every_synthetic_prior
def test_the_filter_makes_numbers_predictable(name: str) -> None:
    def explained(learnable: bool) -> torch.Tensor:
        config = PriorConfig(
            min_features=6, max_features=8, max_seq_len=120, learnable=learnable, regression_share=1
        )
        batch = draw(name, config, n_tasks=80)
        columns = batch.x.transpose(1, 2).contiguous()
        return explained_variance(columns, batch.y.unsqueeze(1), batch.categorical)[:, 0]

    filtered, unfiltered = explained(True), explained(False)
    assert (filtered > 0.08).float().mean() > 0.8
    assert filtered.mean() > unfiltered.mean() + 0.05


@pytest.mark.slow
def test_a_table_with_its_own_columns_holds_categories_of_many_levels() -> None:
    config = PriorConfig(
        min_features=6, max_features=6, max_seq_len=200, learnable=False, missing_share=0
    )
    batch = draw("scm_direct", config, n_tasks=100)
    codes = batch.x.transpose(1, 2)[batch.categorical]
    n_levels = torch.tensor([len(column.unique()) for column in codes])
    assert (n_levels <= 50).all()
    assert (n_levels == 2).float().mean() > 0.05
    assert (n_levels > 20).float().mean() > 0.05
    shares = batch.categorical[:, :6].float().mean(1)
    assert (shares == 1).any()
    assert ((shares > 0) & (shares < 1)).any()
    assert (shares == 0).any()


@pytest.mark.slow
@every_synthetic_prior
def test_half_of_the_tasks_are_binary_and_few_have_many_classes(name: str) -> None:
    batch = draw(
        name,
        PriorConfig(
            max_features=6, min_seq_len=60, max_seq_len=60, learnable=False, min_context_share=0.5
        ),
        n_tasks=500,
    )
    assert 0.35 < float((batch.n_classes == 2).float().mean()) < 0.65
    assert 0.02 < float((batch.n_classes >= 7).float().mean()) < 0.2


@pytest.mark.slow
def test_a_mixture_takes_its_parts_by_name_and_weight() -> None:
    only_trees = replace(SMALL, parts=("scm_tree",), part_weights=(1.0,))
    weightless = replace(
        SMALL, parts=("scm_mlp", "openpfn.priors.scm_tree:TreePrior"), part_weights=(0.0, 2.0)
    )
    a, b = draw("mixture", only_trees), draw("mixture", weightless)
    assert a.n_train == b.n_train
    assert a.y.shape == b.y.shape
    assert a.latents["depth"].max() <= 6


def test_a_mixture_of_unknown_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="scm_mlp"):
        draw("mixture", replace(SMALL, parts=("scm_graf",), part_weights=(1.0,)))


@pytest.mark.slow
def test_the_parts_of_a_mixture_share_rows_and_context() -> None:
    shapes = {
        (batch.n_rows, batch.n_train)
        for batch in (draw("mixture", SMALL, 6, seed) for seed in range(8))
    }
    assert (
        len(shapes) > 4
    )  # vary from call to call; joining them would fail if they varied within one


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("min_features", 0),
        ("max_classes", 1),
        ("min_seq_len", 3),
        ("max_context_share", 1.0),
        ("feature_band", 0.5),
        ("missing_share", 1.5),
        ("regression_share", -0.5),
        ("min_gain", -0.1),
        ("part_weights", (1.0,)),
        ("part_weights", (-1.0, 1.0)),
    ],
)
def test_an_impossible_field_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        replace(PriorConfig(), **{field: value})
