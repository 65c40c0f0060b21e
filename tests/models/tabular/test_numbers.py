"""Laws of table networks that predict numbers: units, states, and heads chosen by name."""

import dataclasses

import pytest
import torch

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs import TabularConfig
from openpfn.heads.bars import BarDistribution
from openpfn.heads.base import Head, Rescaled
from openpfn.heads.gaussian import Gaussian
from openpfn.models import PFN
from openpfn.models.tabular.encoders import TargetScale

SMALL = TabularConfig(d_model=16, d_mlp=16, n_layers=2, n_thinking_rows=2, use_ranks=True)
HEADS = ("bars", "gaussian", "quantiles", f"{__name__}:LaplaceHead")


class LaplaceHead(Head):
    """A user's own: a normal distribution, two numbers."""

    def __init__(self, d_model, d_hidden, floor: float = 0.1):
        super().__init__(d_model, d_hidden, 2)
        self.floor = floor

    def predictive(self, logits):
        return Gaussian(logits[..., 0], logits[..., 1].exp() + self.floor)


def lively(config):
    torch.manual_seed(0)
    model = PFN(config)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def numbers(n_tasks=3, n_rows=12, n_train=8, seed=0) -> TaskBatch:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n_tasks, n_rows, 4, generator=draw)
    return TaskBatch(x, x.sum(dim=2) + torch.randn(n_tasks, n_rows, generator=draw), n_train)


@pytest.fixture(params=HEADS)
def model(request):
    return lively(dataclasses.replace(SMALL, regression_head=request.param))


def test_a_head_chosen_by_name_predicts_in_the_units_of_the_targets(model):
    batch = numbers()
    moved = dataclasses.replace(batch, y=batch.y.double() * 1e6 - 1e9)
    one, other = model.predictive(batch), model.predictive(moved)
    close = {"atol": 1e-5, "rtol": 1e-4, "check_dtype": False}
    for name in ("mean", "median", "mode"):
        expected = getattr(one, name).double() * 1e6 - 1e9
        torch.testing.assert_close((getattr(other, name) - expected) / 1e6, 0 * expected, **close)
    torch.testing.assert_close(other.std, one.std * 1e6, **close)
    torch.testing.assert_close(
        other.log_prob(moved.y_query),
        one.log_prob(batch.y_query) - torch.tensor(1e6).log(),
        **close,
    )
    torch.testing.assert_close(other.crps(moved.y_query), one.crps(batch.y_query) * 1e6, **close)


def test_one_joint_pass_equals_reading_the_kept_state(model):
    batch = numbers()
    with torch.no_grad():
        state = model.summarize(batch)
        read = model.predictive_of(model.read(batch.x[:, batch.n_train :], state), state.scale)
        torch.testing.assert_close(read.quantile(0.3), model.predictive(batch).quantile(0.3))


def test_targets_of_query_rows_and_the_order_of_the_context_do_not_matter(model):
    batch = numbers()
    order = torch.cat(
        [torch.randperm(8, generator=torch.Generator().manual_seed(1)), torch.arange(8, 12)]
    )
    y = batch.y.clone()
    y[:, 8:] = torch.nan
    shuffled = TaskBatch(batch.x[:, order], y[:, order], 8)
    torch.testing.assert_close(model(shuffled), model(batch), atol=1e-4, rtol=1e-4)


def test_it_trains_and_survives_saving(model, tmp_path):
    model.train()
    model.loss(numbers()).backward()
    reached = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert {"number_encoder.unknown", "number_hint_encoder.unknown"} <= reached
    loaded = checkpoint.load(checkpoint.save(tmp_path / "model.safetensors", model)).model
    torch.testing.assert_close(loaded(numbers()), model.eval()(numbers()), atol=0, rtol=0)


def test_one_network_predicts_classes_where_the_batch_counts_them_and_numbers_elsewhere():
    both = lively(dataclasses.replace(SMALL, regression_head="bars"))
    y = torch.randint(0, 3, (3, 12), generator=torch.Generator().manual_seed(0)).float()
    batch = dataclasses.replace(numbers(), y=y)
    counted = dataclasses.replace(batch, n_classes=torch.full((3,), 3))
    assert both(counted).shape == (3, 4, 10)
    assert both(batch).shape == (3, 4, 100)
    classes = lively(SMALL)
    classes.load_state_dict(both.state_dict(), strict=False)
    torch.testing.assert_close(classes(counted), both(counted), atol=0, rtol=0)


def test_a_network_of_numbers_alone_says_so_when_it_is_asked_for_classes():
    alone = PFN(dataclasses.replace(SMALL, head=None, regression_head="quantiles"))
    assert not hasattr(alone, "target_encoder")
    assert alone.loss(numbers()).isfinite()
    with pytest.raises(ValueError, match="numbers alone"):
        alone(dataclasses.replace(numbers(), n_classes=torch.full((3,), 3)))


@pytest.mark.parametrize("value", [0.0, 0.1, -7e20, 1e-30])
def test_equal_context_targets_are_predicted_around_their_value(model, value):
    batch = dataclasses.replace(numbers(), y=torch.full((3, 12), value, dtype=torch.float64))
    answer = model.predictive(batch)
    assert (answer.std.isfinite() & answer.mean.isfinite()).all()
    torch.testing.assert_close(answer.scale, torch.ones_like(answer.scale))
    torch.testing.assert_close(answer.shift, batch.y[:, :1])
    assert model.loss(batch).isfinite()


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
def test_targets_of_any_size_are_centred_and_scaled_without_losing_digits(size):
    y = torch.tensor([[1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    z = TargetScale.of(y * size).standardised(y * size)
    torch.testing.assert_close(z, ((y - y.mean()) / y.std()).float())


def test_years_and_timestamps_keep_their_differences():
    y = 1.7e9 + torch.tensor([[0.0, 1, 2, 3]], dtype=torch.float64)
    torch.testing.assert_close(
        TargetScale.of(y).standardised(y), TargetScale.of(y - 1.7e9).standardised(y - 1.7e9)
    )


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_targets_that_are_not_known_are_refused(wrong):
    model, batch = PFN(dataclasses.replace(SMALL, regression_head="bars")), numbers()
    for row in (2, 10):
        y = batch.y.clone()
        y[1, row] = wrong
        with pytest.raises(ValueError, match="targets must be known"):
            model.loss(dataclasses.replace(batch, y=y))


@pytest.mark.parametrize("y", [-1.0, torch.nan, 0.5, 10.0])
def test_labels_that_are_no_class_are_refused(y):
    batch = dataclasses.replace(numbers(), y=torch.zeros(3, 12))
    for row in (2, 10):
        batch.y[:, row] = y
        with pytest.raises(ValueError, match="y holds"):
            PFN(SMALL).loss(batch)
        batch.y[:, row] = 0


def test_a_head_in_the_wrong_place_and_an_option_it_does_not_have_are_refused():
    with pytest.raises(ValueError, match="Set regression_head='bars'"):
        PFN(dataclasses.replace(SMALL, head="bars"))
    with pytest.raises(ValueError, match="Set head='categorical'"):
        PFN(dataclasses.replace(SMALL, regression_head="categorical"))
    with pytest.raises(ValueError, match=r"n_buckets \(default 100\)"):
        PFN(
            dataclasses.replace(
                SMALL, regression_head="bars", regression_head_options={"buckets": 3}
            )
        )
    with pytest.raises(ValueError, match="there is no regression_head"):
        dataclasses.replace(SMALL, regression_head_options={"n_buckets": 3})
    with pytest.raises(ValueError, match="both None"):
        dataclasses.replace(SMALL, head=None)


def test_options_of_the_head_are_used_and_aliases_are_settled():
    options = {"n_buckets": 7, "support": "bounded"}
    model = PFN(
        dataclasses.replace(SMALL, regression_head="Riemann", regression_head_options=options)
    )
    assert model.config.regression_head == "bars"
    answer = model.predictive(numbers())
    assert isinstance(answer, Rescaled)
    assert isinstance(answer.standardised, BarDistribution)
    assert answer.standardised.logits.shape == (3, 4, 7)
    assert answer.standardised.support == "bounded"
