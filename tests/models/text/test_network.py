"""Laws of the network that reads text: order, independence of rows, gradients, distinct strings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from openpfn import checkpoint
from openpfn.configs.text import TEXT_PRESETS, TextConfig, TextTrainingConfig, text_preset
from openpfn.models import PFN
from openpfn.models.text.network import CellBatch, TextTableNetwork

TASKS = ("classification", "regression")
VERSIONS = ("v1", "v1.1")


def small(version: str = "v1.1", **changes) -> TextConfig:
    sizes = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_mlp": 24, "d_text": 12}
    options = {"n_buckets": 20, "dropout": 0.0, "encoder": "tiny"}
    return TextConfig(version=version, **sizes | options | changes)


class TinyEncoder(nn.Module):
    """Mean of token embeddings after two layers: padding does not count."""

    def __init__(self, width: int = 12, n_layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, width)
        self.layer = nn.ModuleList(nn.Linear(width, width) for _ in range(n_layers))
        self.n_encoded = 0

    def forward(self, ids, mask):
        self.n_encoded += len(ids)
        x = self.embedding(ids)
        for layer in self.layer:
            x = x + torch.tanh(layer(x))
        weight = mask.unsqueeze(-1).to(x)
        return (x * weight).sum(dim=1) / weight.sum(dim=1)


def batch_of(config: TextConfig, task: str, n_rows: int = 5, n_cells: int = 4) -> CellBatch:
    n_classes = 3 if task == "classification" else 1
    y = torch.randint(3, (n_rows,)) if task == "classification" else torch.randn(n_rows)
    return CellBatch(
        torch.randint(9, (n_rows, n_cells)),
        torch.randn(n_rows, n_cells, config.n_numbers),
        torch.arange(9, 9 + n_classes),
        task,
        y,
    )


def tokens_of(n_rows: int = 6, n_cells: int = 4) -> dict[str, torch.Tensor]:
    """Token ids as a data loader gives them: strings that repeat, of different lengths."""
    strings = torch.randint(1, 50, (5, 7))
    lengths = torch.tensor([3, 7, 5, 2, 6])
    masks = (torch.arange(7) < lengths.unsqueeze(1)).long()
    chosen = torch.randint(5, (n_rows, n_cells))
    targets = torch.randint(1, 50, (3, 4))
    return {
        "feature_input_ids": (strings * masks)[chosen],
        "feature_attention_mask": masks[chosen],
        "feature_num_values": torch.randn(n_rows, n_cells),
        "target_token_ids": targets,
        "target_attention_mask": torch.ones_like(targets),
    }


CASES = [(v, t, False) for v in VERSIONS for t in TASKS] + [("v1.1", t, True) for t in TASKS]


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case)))
def case(request):
    version, task, matching = request.param
    config = small(version, matching=matching)
    return TextTableNetwork(config).eval(), batch_of(config, task), torch.randn(12, 12)


def test_the_order_of_the_columns_does_not_matter(case):
    network, batch, texts = case
    order = torch.randperm(batch.cells.shape[1])
    shuffled = replace(batch, cells=batch.cells[:, order], numbers=batch.numbers[:, order])
    torch.testing.assert_close(
        network.answer(shuffled, texts), network.answer(batch, texts), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("matching", [False, True])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_order_of_the_target_tokens_orders_the_logits(version, matching):
    config = small(version, matching=matching)
    network, batch = TextTableNetwork(config).eval(), batch_of(config, "classification")
    texts, order = torch.randn(12, 12), torch.tensor([2, 0, 1])
    shuffled = network.answer(replace(batch, targets=batch.targets[order]), texts)
    expected = network.answer(batch, texts)[:, order]
    torch.testing.assert_close(shuffled, expected, atol=1e-5, rtol=1e-5)


def test_an_answer_does_not_depend_on_the_other_rows(case):
    network, batch, texts = case
    together = network.answer(batch, texts)
    alone = torch.cat(
        [
            network.answer(
                replace(batch, cells=batch.cells[i : i + 1], numbers=batch.numbers[i : i + 1]),
                texts,
            )
            for i in range(len(batch.cells))
        ]
    )
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_parameter_of_the_task(case):
    network, batch, texts = case
    network.loss(network.answer(batch, texts), batch).backward()
    other = {"number_head"} if batch.task == "classification" else {"class_head"}
    if network.matching is not None and batch.task == "regression":
        other.add("matching")
    unreached = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    }
    # a shift of all keys moves no attention, and one of all classes' scores no probability
    unmoved = "key.bias", "class_head.down.bias"
    unreached -= {name for name in unreached if name.endswith(unmoved)}
    assert {name.partition(".")[0] for name in unreached} == other


@pytest.mark.parametrize("unfrozen", [0, 1, 2])
def test_gradients_reach_the_unfrozen_layers_of_the_encoder_alone(unfrozen):
    network = TextTableNetwork(small("v1", unfrozen_layers=unfrozen), TinyEncoder())
    network(**tokens_of()).square().sum().backward()
    reached = {
        name.rpartition(".")[0]
        for name, parameter in network.encoder.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert reached == {f"layer.{i}" for i in range(2 - unfrozen, 2)}


def test_distinct_strings_give_the_outputs_and_gradients_of_all_cells():
    """What cached embeddings and each distinct string once are to be measured by: every cell
    encoded."""
    network: Any = TextTableNetwork(small("v1", unfrozen_layers=2), TinyEncoder())
    tokens, y = tokens_of(), torch.randint(3, (6,))
    ids, mask = tokens["feature_input_ids"], tokens["feature_attention_mask"]
    n_cells = ids.shape[0] * ids.shape[1]

    def step(every_cell: bool) -> tuple[torch.Tensor, list[torch.Tensor], int]:
        network.zero_grad()
        network.encoder.n_encoded = 0
        if every_cell:
            assert network.encoder is not None
            targets = network.encoder(tokens["target_token_ids"], tokens["target_attention_mask"])
            cells = network.encoder(ids.flatten(0, 1), mask.flatten(0, 1))
            places = torch.arange(n_cells + 3)
            batch = CellBatch(
                places[:n_cells].view(ids.shape[:2]),
                tokens["feature_num_values"].unsqueeze(-1),
                places[n_cells:],
                "classification",
            )
            outputs = network.answer(batch, torch.cat([cells, targets]))
        else:
            outputs = network(**tokens)
        nn.functional.cross_entropy(outputs, y).backward()
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        return outputs, gradients, network.encoder.n_encoded

    outputs, gradients, n_distinct = step(every_cell=False)
    expected, expected_gradients, n_all = step(every_cell=True)
    assert n_distinct <= 8 < n_all == 27
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected_gradient, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_gradient(case):
    network, batch, texts = case
    network.train()
    gradients = []
    for network.gradient_checkpointing in (False, True):
        network.zero_grad()
        network.loss(network.answer(batch, texts), batch).backward()
        gradients.append([p.grad for p in network.parameters() if p.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_a_number_is_estimated_within_the_reach_of_the_buckets():
    config = small("v1.1")
    network, batch = TextTableNetwork(config).eval(), batch_of(config, "regression")
    outputs = network.answer(batch, torch.randn(12, 12))
    assert outputs.shape == (5, 21)
    distribution = network.distribution(outputs)
    assert (distribution.mean.abs() <= 10).all()
    expected = (outputs[:, 0] + distribution.mean) / 2
    torch.testing.assert_close(network.estimate(outputs), expected)


def test_a_checkpoint_keeps_the_trained_layers_of_the_encoder_and_not_the_frozen_ones(tmp_path):
    config, encoder = small("v1", unfrozen_layers=1), TinyEncoder()
    network = TextTableNetwork(config, encoder)
    frozen = {n: p.clone() for n, p in encoder.state_dict().items() if not n.startswith("layer.1")}
    path = checkpoint.save(tmp_path / "network.safetensors", network)
    again = TinyEncoder()
    again.load_state_dict(frozen, strict=False)
    loaded = checkpoint.load(path, model=TextTableNetwork(config, again)).model
    assert {n for n in checkpoint.read_header(path).shapes if n.startswith("encoder.")} == {
        "encoder.layer.1.weight",
        "encoder.layer.1.bias",
    }
    tokens = tokens_of()
    assert torch.equal(loaded(**tokens), network.eval()(**tokens))


def test_a_checkpoint_without_encoder_loads_by_its_configuration(tmp_path):
    network = PFN(small())
    path = checkpoint.save(tmp_path / "network.safetensors", network)
    loaded = checkpoint.load(path)
    assert loaded.model_config == network.config
    assert isinstance(loaded.model, TextTableNetwork)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)


def test_embeddings_of_another_width_are_refused():
    config = small()
    with pytest.raises(ValueError, match="embeddings 7 wide"):
        TextTableNetwork(config).answer(batch_of(config, "regression"), torch.randn(12, 7))


def test_tokens_without_an_encoder_are_refused():
    with pytest.raises(ValueError, match="holds no text encoder"):
        TextTableNetwork(small("v1"))(**tokens_of())


def test_more_unfrozen_layers_than_there_are_is_refused():
    with pytest.raises(ValueError, match="unfrozen_layers is 3, but the text encoder has 2"):
        TextTableNetwork(small("v1", unfrozen_layers=3), TinyEncoder())


def test_presets_build_networks_of_their_size():
    assert TEXT_PRESETS["tabstar"].unfrozen_layers == 6
    n_parameters = sum(p.numel() for p in PFN(text_preset("text-small")).parameters())
    assert 500_000 < n_parameters < 2_000_000
    with pytest.raises(ValueError, match="text-small, tabstar"):
        text_preset("text-huge")


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        (TextConfig, {"n_heads": 5}, "d_model"),
        (TextConfig, {"dropout": 1.0}, "dropout"),
        (TextTrainingConfig, {"validation_share": 0.0}, "validation_share"),
        (TextTrainingConfig, {"patience": 0}, "patience"),
    ],
)
def test_a_wrong_field_is_named(kind, options, name):
    with pytest.raises(ValueError, match=name):
        kind(**options)
