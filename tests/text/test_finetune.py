"""Laws of fine-tuning: what is adapted, that it learns, that the seed decides, that time is
kept."""

from __future__ import annotations

import re
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from openpfn.configs.text import FineTuneConfig
from openpfn.models.text.network import TextTableNetwork
from openpfn.text.cells import batch_of, outputs_of
from openpfn.text.finetune import _Adaptation, adapter_modules, finetune, split_rows, with_adapters
from tests.models.text.test_network import TinyEncoder
from tests.text.cell_tables import SMALL, cell_table, frozen_texts

QUICK = FineTuneConfig(
    adapt="all", max_epochs=12, batch_size=16, accumulation=1, patience=15, learning_rate=0.01
)
LAYER = [f"layers.0.{name}" for name in ("query", "key", "value", "out", "up", "down")]
ALWAYS = ["text_projection", "number_encoder.up", "number_encoder.down", *LAYER]


def made(task: str = "classification", config: FineTuneConfig = QUICK, **options):
    torch.manual_seed(0)
    network = TextTableNetwork(SMALL)
    texts = frozen_texts()
    tuned = finetune(
        network,
        lambda _network: texts,
        cell_table(task),
        cell_table(task, seed=1),
        config,
        **options,
    )
    return network, tuned


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "head"), [("classification", "class_head"), ("regression", "number_head")]
)
@pytest.mark.parametrize("matching", [False, True])
def test_exactly_these_modules_get_an_adapter(task, head, matching):
    network = TextTableNetwork(replace(SMALL, matching=matching))
    expected = {*ALWAYS, f"{head}.up", f"{head}.down"}
    if matching and task == "classification":
        expected |= {"matching.of_class", "matching.of_row"}
    assert set(adapter_modules(network, task)) == expected
    model = with_adapters(network, FineTuneConfig(lora_rank=2), task)
    adapted = {
        name.partition(".lora_A")[0] for name, _ in network.named_modules() if "lora_A" in name
    }
    assert adapted == expected
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(re.search(r"\.lora_[AB]\.", name) for name in trained)


@pytest.mark.slow
def test_of_the_text_encoder_the_unfrozen_layers_alone_get_an_adapter():
    config = replace(SMALL, unfrozen_layers=1)
    network = TextTableNetwork(config, TinyEncoder(width=8, n_layers=3))
    named = adapter_modules(network, "classification")
    assert [name for name in named if name.startswith("encoder.")] == ["encoder.layer.2"]
    with_adapters(network, FineTuneConfig(lora_rank=2), "classification")
    adapted = {name for name, _ in network.named_modules() if name.endswith("lora_A")}
    assert {name for name in adapted if "encoder.layer" in name} == {"encoder.layer.2.lora_A"}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_training_lowers_the_loss_and_leaves_the_network_as_it_was(task):
    torch.manual_seed(0)
    before = TextTableNetwork(SMALL).state_dict()
    network, tuned = made(task)
    assert tuned.validation_loss < 0.95 * tuned.losses[0]
    assert tuned.validation_loss <= min(tuned.losses)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.slow
def test_adapters_are_merged_into_a_network_of_the_same_parts():
    network, tuned = made(config=replace(QUICK, adapt="lora", lora_rank=4, max_epochs=5))
    assert tuned.validation_loss < tuned.losses[0]
    assert tuned.network.state_dict().keys() == network.state_dict().keys()
    frozen = {"norm.weight", "layers.0.attention_norm.weight", "layers.0.up.bias"}
    for name in frozen:
        assert torch.equal(tuned.network.state_dict()[name], network.state_dict()[name])
    table = cell_table(seed=1)
    loss = tuned.network.loss(
        outputs_of(tuned.network, frozen_texts(), table), batch_of(table, np.arange(len(table)))[0]
    )
    assert float(loss) == pytest.approx(tuned.validation_loss, abs=1e-5)


@pytest.mark.slow
def test_the_text_encoder_is_trained_with_the_network_where_it_is_unfrozen():
    config = replace(SMALL, unfrozen_layers=1)
    network = TextTableNetwork(config, TinyEncoder(width=8, n_layers=2))
    ids = torch.arange(1, 16).unsqueeze(1)

    def texts(adapted):
        return lambda places: adapted.encode(
            ids[torch.as_tensor(places)], torch.ones(len(places), 1).long()
        )

    short = replace(QUICK, adapt="lora", lora_rank=2, max_epochs=2)
    tuned = finetune(network, texts, cell_table(), cell_table(seed=1), short)
    weights, before = tuned.network.state_dict(), network.state_dict()
    assert not torch.equal(weights["encoder.layer.1.weight"], before["encoder.layer.1.weight"])
    assert weights.keys() == before.keys()
    frozen, same = (dict(n.named_parameters()) for n in (tuned.network, network))
    assert torch.equal(frozen["encoder.layer.0.weight"], same["encoder.layer.0.weight"])


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights():
    config = replace(QUICK, max_epochs=2)
    runs = [made("regression", config, seed=seed)[1] for seed in (3, 3, 4)]
    states = [tuned.network.state_dict()["layers.0.up.weight"] for tuned in runs]
    assert torch.equal(states[0], states[1])
    assert runs[0].losses == runs[1].losses != runs[2].losses


def test_training_leaves_the_global_random_state_as_it_was():
    torch.manual_seed(5)
    expected = torch.rand(1)
    network, texts = TextTableNetwork(SMALL), frozen_texts()
    torch.manual_seed(5)
    finetune(
        network,
        lambda _network: texts,
        cell_table(n=8),
        cell_table(n=8),
        replace(QUICK, max_epochs=1),
    )
    assert torch.equal(torch.rand(1), expected)


def test_a_deadline_that_has_passed_leaves_the_network_untrained():
    network, tuned = made(deadline=time.monotonic() - 1)
    assert tuned.averaged_epochs == (0,)
    for name, tensor in tuned.network.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])


def test_patience_ends_training():
    _, tuned = made(config=replace(QUICK, learning_rate=1e-12, patience=2, max_epochs=9))
    assert len(tuned.losses) <= 5


@pytest.mark.slow
def test_patience_waits_for_the_end_of_the_warm_up():
    config = replace(QUICK, learning_rate=1e-12, patience=1, max_epochs=40)
    _, tuned = made(config=config)
    assert len(tuned.losses) >= 1 + 0.1 * 40


def test_a_small_table_has_several_steps_in_an_epoch():
    torch.manual_seed(0)
    texts, config = frozen_texts(), replace(QUICK, batch_size=64, accumulation=2)
    sizes = {}
    for n in (10, 60, 5000):
        table = cell_table(n=n)
        run = _Adaptation(TextTableNetwork(SMALL), lambda _: texts, table, table, config, 0, None)
        sizes[n] = run.batch_size, run.steps_per_epoch
    assert sizes == {10: (8, 1), 60: (8, 4), 5000: (64, 40)}


@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_rows_are_split_without_loss(n):
    labels = torch.randint(3, (n,)).numpy()
    trained, held = split_rows(labels, n, FineTuneConfig(), 0)
    assert min(len(trained), len(held)) > 0
    assert set(trained) | set(held) == set(range(n))
    assert n <= 2 or not set(trained) & set(held)


def test_every_class_has_its_share_of_both_parts():
    labels = torch.arange(100).numpy() % 4
    trained, held = split_rows(labels, 100, FineTuneConfig(validation_share=0.2), 0)
    assert set(labels[held]) == set(labels[trained]) == {0, 1, 2, 3}


def test_a_class_with_a_single_row_is_trained_on():
    labels = np.array([0] * 30 + [1] * 30 + [2])
    for seed in range(20):
        trained, held = split_rows(labels, 61, FineTuneConfig(), seed)
        assert 2 in labels[trained]
        assert len(held) > 0
