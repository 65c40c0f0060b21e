"""Laws of the sequence networks: what a prediction depends on, and that every way to it gives the
same."""

from __future__ import annotations

import math

import pytest
import torch
from sequence_networks import MASKS, classification, regression, rows, unsupervised

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs import RegressionConfig, UnsupervisedConfig
from openpfn.heads import BarDistribution, Categorical, Gaussian, GaussianMixture, Head
from openpfn.models import PFN


def same(a: torch.Tensor, b: torch.Tensor, atol: float = 1e-5) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=0)


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_a_row_is_predicted_from_the_rows_before_and_no_others(mask):
    model, (x, y) = regression(mask_type=mask), rows()
    logits = model(x, y)
    changed = y.clone()
    changed[:, 3:] += 1
    same(model(x, changed)[:, :4], logits[:, :4], atol=1e-6)  # row 3 does not see its own y
    assert (model(x, changed)[:, 4:] - logits[:, 4:]).abs().amax(dim=(0, 2)).min() > 1e-3


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_asking_after_a_context_is_the_same_as_going_along_the_sequence(mask):
    model, (x, y) = regression(mask_type=mask), rows()
    asked = [model(x[:, :i], y[:, :i], x[:, i : i + 1]) for i in range(6)]
    same(torch.cat(asked, dim=1), model(x, y))


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_queries_do_not_see_each_other(mask):
    model, (x, y) = regression(mask_type=mask), rows()
    together = model(x[:, :4], y[:, :4], x)
    same(model(x[:, :4], y[:, :4], x[:, [2]]), together[:, [2]])


@torch.no_grad()
def test_the_order_of_a_set_does_not_matter():
    model, (x, y) = regression(mask_type="set"), rows(n_rows=12)
    order = torch.randperm(12)
    query = torch.randn(2, 3, 3)
    first, second = (
        model.predictive_of(logits).probs
        for logits in (model(x, y, query), model(x[:, order], y[:, order], query))
    )
    assert (
        float((first - second).abs().sum(-1).max()) / 2 < 1e-6
    )  # total variation, to float rounding


@pytest.mark.parametrize(
    "options",
    [{}, {"use_pos_emb": False}, {"normalization_type": "RMS", "act_fn": "relu"}, {"d_head": 5}],
)
@torch.no_grad()
def test_two_streams_give_what_the_interleaved_tokens_give(options):
    model, (x, y) = regression(**options), rows()
    same(model.two_streams(x, y), model.unembed(model.interleave(x, y)[:, 0::2]))


@torch.no_grad()
def test_the_fused_kernel_gives_what_the_written_out_attention_gives(monkeypatch):
    model, (x, y) = regression(), rows()
    written = model(x, y)
    monkeypatch.setattr("openpfn.models.sequence.transformer.LONGEST_EXPLICIT", 0)
    same(model(x, y), written)


def test_the_predictive_is_of_the_kind_that_the_configuration_says():
    x, y = rows()
    batch = TaskBatch(x, y, n_train=0)
    for model, kind in [
        (regression(), BarDistribution),
        (regression(bucket_type="mixture", d_vocab=3, y_min=None, y_max=None), GaussianMixture),
        (regression(prediction_type="point", bucket_type=None, y_min=None, y_max=None), Gaussian),
        (classification(), Categorical),
    ]:
        if kind is Categorical:
            batch = TaskBatch(x, torch.randint(0, 3, (2, 6)).float(), n_train=0)
        assert type(model.prefixes(batch)) is kind
        assert model.prefixes(batch).shape == (2, 6)
        loss = model.loss(batch)
        expected = (
            (model(x, y).squeeze(-1) - y).square()
            if kind is Gaussian
            else -model.prefixes(batch).log_prob(batch.y)
        )
        torch.testing.assert_close(loss, expected.mean())
        loss.backward()
        unused = [name for name, weight in model.named_parameters() if weight.grad is None]
        assert not unused


@pytest.mark.parametrize("mask", MASKS)
@torch.no_grad()
def test_the_loss_of_a_task_with_a_context_is_of_its_query_rows(mask):
    model, (x, y) = regression(mask_type=mask), rows()
    batch = TaskBatch(x, y, n_train=4)
    expected = -model.predictive_of(model(x[:, :4], y[:, :4], x[:, 4:])).log_prob(y[:, 4:]).mean()
    same(model.loss(batch), expected)
    same(-model.predictive(batch).log_prob(batch.y_query).mean(), expected)


@pytest.mark.slow
def test_training_on_sets_cuts_them_at_every_length():
    model, (x, y) = regression(mask_type="set").train(), rows()
    lengths = []
    read = model.read
    model.read = lambda x, y, x_query: (lengths.append(x.shape[1]), read(x, y, x_query))[1]
    for _ in range(80):
        model.loss(TaskBatch(x, y, n_train=0))
    assert set(lengths) == set(range(6))


def test_an_untrained_network_believes_in_uniform_buckets_or_the_standard_mixture():
    x, y = rows()
    bars = PFN(
        RegressionConfig(
            d_model=8,
            n_layers=1,
            n_heads=1,
            input_dim=3,
            bucket_type="uniform",
            d_vocab=8,
            y_min=-3,
            y_max=3,
        )
    )
    same(bars.prefixes(TaskBatch(x, y, 0)).probs, torch.full((2, 6, 8), 1 / 8))
    mixture = PFN(
        RegressionConfig(
            d_model=8,
            n_layers=1,
            n_heads=1,
            input_dim=3,
            bucket_type="mixture",
            y_min=0.0,
            y_max=8.0,
        )
    )
    believed = mixture.prefixes(TaskBatch(x, y, 0))
    same(believed.mean, torch.full((2, 6), 4.0), atol=1e-3)
    assert 1.5 < float(believed.std.detach().max()) < 2.5


def test_classes_with_vectors_of_their_own_and_whole_numbers():
    model, (x, _) = classification(y_type="categorical"), rows()
    y = torch.randint(0, 3, (2, 6))
    assert model(x, y).shape == (2, 6, 3)
    same(model(x, y), model(x, y.float()))


@torch.no_grad()
def test_an_element_is_predicted_from_those_before():
    numbers = unsupervised(input_type="continuous", prediction_type="point", d_vocab=None)
    for model, y in [(unsupervised(), torch.randint(0, 4, (2, 6))), (numbers, rows()[1])]:
        logits = model(y)
        changed = y.clone()
        changed[:, 3:] = 0
        same(model(None, changed)[:, :4], logits[:, :4], atol=1e-6)
        assert (model(changed)[:, 5] - logits[:, 5]).abs().max() > 1e-4
        batch = TaskBatch(None, y.float(), n_train=2)
        assert model.predictive(batch).shape == (2, 4)
        same(model.loss(batch), model.losses(logits, y.float())[:, 2:].mean())


@pytest.mark.slow
@torch.no_grad()
def test_a_prompt_gives_what_the_whole_sequence_gives():
    model, (x, y) = regression(), rows()
    logits = model(x, y)
    same(model.predict_on_prompt(x, y, return_logits=True), logits)
    same(model.predict_on_prompt(x[0], y[0, :5]).mean, model.predictive_of(logits[0, 5]).mean)
    same(
        model.predict_on_prompt(x, y[:, :5], temperature=0.5, return_logits=True),
        logits[:, 5] / 0.5,
    )
    answer, cache = model.predict_on_prompt(x, y, return_cache=True)
    assert answer.shape == (2, 6)
    assert cache["blocks.0.attn.hook_pattern"].shape == (2, 2, 12, 12)
    chain = unsupervised()
    same(
        chain.predict_on_prompt(torch.tensor([1, 2]), return_logits=True),
        chain(torch.tensor([[1, 2, 0]]))[0, 2],
    )


def test_the_documented_way_from_logits_to_values():
    model, (x, y) = regression(), rows()
    logits = model(x, y)
    densities = model.bucketizer.log_bucket_densities(logits)
    same(densities, model.log_bucket_densities(logits))
    values = model.get_y_values(densities.argmax(dim=-1))
    assert values.shape == y.shape
    assert set(values.flatten().tolist()) <= set(model.get_bucket_values().tolist())


def test_errors_say_what_is_wrong():
    model, (x, y) = regression(n_ctx=10), rows()
    with pytest.raises(ValueError, match=r"position 11, but n_ctx is 10"):
        model(x, y)
    assert regression(n_ctx=10, use_pos_emb=False)(x, y).isfinite().all()
    with pytest.raises(ValueError, match="x has 2 columns, but input_dim is 3"):
        model(x[..., :2], y)
    with pytest.raises(TypeError, match="numpy"):
        model(x, y.numpy())
    with pytest.raises(ValueError, match="predicts no buckets"):
        _ = classification().bucketizer
    with pytest.raises(ValueError, match="no probability lies beyond"):
        regression(bucket_support="bounded").loss(TaskBatch(x, y + 10, n_train=0))
    with pytest.raises(ValueError, match="temperature is 0"):
        model.predictive_of(torch.zeros(8), temperature=0.0)


RIEMANN = {
    "bucket_type": "riemann",
    "y_min": None,
    "y_max": None,
    "riemann_borders": [-3.0, -1, 0, 0.5, 1, 1.5, 2, 2.5, 3],
}


@pytest.mark.parametrize(
    "make", [regression, classification, unsupervised, lambda: regression(**RIEMANN)]
)
def test_a_checkpoint_gives_back_the_network(make, tmp_path):
    model = make()
    checkpoint.save(tmp_path / "m.safetensors", model)
    assert (
        checkpoint.read_header(tmp_path / "m.safetensors").model
        == f"sequence.{type(model.config).__name__}"
    )
    loaded = checkpoint.load(tmp_path / "m.safetensors")
    assert loaded.model_config == model.config
    x, y = rows()
    y = y.abs().floor().clamp(0, 2)
    arguments = (y,) if make is unsupervised else (x, y)
    assert torch.equal(loaded.model(*arguments), model(*arguments))


@pytest.mark.slow
def test_a_small_network_learns_what_a_coin_shows():
    """Beta-Bernoulli: after k heads in n tosses, the next is heads with probability (k + 1) / (n +
    2)."""
    torch.manual_seed(0)
    model = PFN(UnsupervisedConfig(d_model=16, n_layers=1, n_heads=1, d_vocab=2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        y = (torch.rand(64, 8) < torch.rand(64, 1)).float()
        optimizer.zero_grad()
        model.loss(TaskBatch(None, y, n_train=0)).backward()
        optimizer.step()
    y = (torch.rand(2000, 8) < torch.rand(2000, 1)).float()
    heads = (y.cumsum(1) - y + 1) / (torch.arange(8) + 2)
    exact = torch.where(y == 1, heads, 1 - heads).log()
    gap = (exact - model.prefixes(TaskBatch(None, y, 0)).log_prob(y)).mean()
    assert gap.item() < 0.02 < float((exact + math.log(2)).mean())


class TwiceHead(Head):
    """A user's own: a normal distribution from two numbers for each unit of `width`."""

    def __init__(self, d_model, d_hidden, width: int = 1):
        super().__init__(d_model, d_hidden, 2 * width)

    def predictive(self, logits):
        return Gaussian(logits[..., 0], logits[..., 1].exp())


@pytest.mark.parametrize(
    ("bucket_type", "d_vocab", "n_outputs"),
    [
        ("quantiles", None, 199),
        ("quantiles", 9, 9),
        (f"{__name__}:TwiceHead", None, 2),
        (f"{__name__}:TwiceHead", 3, 6),
    ],
)
def test_any_head_of_numbers_is_chosen_by_name(bucket_type, d_vocab, n_outputs, tmp_path):
    config = RegressionConfig(
        d_model=16, n_layers=1, n_heads=2, input_dim=3, bucket_type=bucket_type, d_vocab=d_vocab
    )
    model = PFN(config)
    x, y = torch.randn(2, 5, 3), torch.randn(2, 5)
    assert model(x, y).shape == (2, 5, n_outputs)
    model.loss(TaskBatch(x, y, n_train=0)).backward()
    assert model.embed.weight.grad is not None
    assert model.predictive_of(model(x, y)).quantile(0.5).shape == (2, 5)
    loaded = checkpoint.load(checkpoint.save(tmp_path / "model.safetensors", model)).model
    torch.testing.assert_close(loaded(x, y), model(x, y), atol=0, rtol=0)


@torch.no_grad()
def test_predictions_on_a_prompt_go_by_their_names_elsewhere():
    x, y = rows()
    model = regression()
    answer = model.predict_on_prompt(x[0], y[0])
    assert answer.probs.shape == (6, len(answer.y_grid))
    same(answer.y_grid, model.get_bucket_values())
    assert torch.equal(model.get_bucket_values(y), model.bucketizer.bucketize(y))
    point = regression(prediction_type="point", bucket_type=None, y_min=None, y_max=None)
    same(point.predict_on_prompt(x, y).preds, point(x, y))
    labels = torch.randint(0, 3, (2, 6)).float()
    classes = classification().predict_on_prompt(x, labels)
    assert classes.probs.shape == (2, 6, 3)
    assert classes.y_grid.tolist() == [0, 1, 2]
    after = unsupervised().predict_on_prompt(torch.tensor([1.0, 0, 1]))
    assert after.probs.shape == after.y_grid.shape
