"""The data loader of raw strings: keys and shapes of its batches, its splits, its errors; and the
usage example of nanoTabStar."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch

from openpfn.configs.text import TextConfig
from openpfn.models.text.network import TextTableNetwork
from openpfn.text.data_loader import TabSTARDataLoader
from tests.models.text.test_network import TinyEncoder

ARGUMENTS = (
    "feature_input_ids",
    "feature_attention_mask",
    "feature_num_values",
    "target_token_ids",
    "target_attention_mask",
    "task_type",
)


class WordTokenizer:
    """One token per word; counts the strings that it is given."""

    def __init__(self) -> None:
        self.n_strings = 0

    def __call__(self, texts, padding, truncation, max_length, return_tensors):
        self.n_strings += len(texts)
        ids = [[1 + sum(w.encode()) % 49 for w in t.split()][:max_length] for t in texts]
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        lengths = torch.tensor([len(row) for row in ids]).unsqueeze(1)
        return {
            "input_ids": padded,
            "attention_mask": (torch.arange(longest) < lengths).long(),
        }


def write_corpus(path, n=40, **changes):
    """Two tables as nanoTabStar writes them."""
    random = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name, task, targets in (
            ("BIN_BEER", "classification", ["Target Feature: kind\nFeature Value: ale", "b c"]),
            ("REG_CARS", "regression", ["Numerical Target Feature: price"]),
        ):
            group = file.create_group(name)
            words = random.choice(["red", "blue one", "a b c d"], (n, 3)).tolist()
            is_class = task == "classification"
            content = {
                "feature_texts": words,
                "target_texts": targets,
                "feature_num_values": random.normal(size=(n, 3)).astype(np.float32),
                "labels": random.integers(0, 2, n) if is_class else random.normal(size=n),
            } | changes.get(name, {})
            for key, value in content.items():
                if value is None:
                    continue
                dtype = h5py.string_dtype() if key.endswith("texts") else None
                group.create_dataset(key, data=value, dtype=dtype)
            group.attrs["task_type"] = changes.get("task_type", task)
    return path


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus.h5")


def test_batches_have_the_keys_and_shapes_that_the_network_takes(corpus):
    config = TextConfig(d_model=8, n_layers=1, n_heads=2, d_mlp=8, d_text=12)
    model = TextTableNetwork(config, TinyEncoder())
    tasks = set()
    for batch in TabSTARDataLoader(corpus, tokenizer=WordTokenizer(), batch_size=16):
        n = len(batch["labels"])
        assert set(batch) == {*ARGUMENTS, "labels", "dataset_name"}
        assert batch["feature_input_ids"].shape == (n, 3, batch["feature_input_ids"].shape[2])
        assert batch["feature_num_values"].shape == (n, 3)
        logits = model(**{name: batch[name] for name in ARGUMENTS})
        assert logits.shape == (n, 2 if batch["task_type"] == "classification" else 1)
        tasks.add((batch["dataset_name"], batch["task_type"]))
    assert tasks == {("BIN_BEER", "classification"), ("REG_CARS", "regression")}


def test_each_distinct_string_of_a_batch_is_tokenized_once(corpus):
    tokenizer = WordTokenizer()
    batch = next(iter(TabSTARDataLoader(corpus, tokenizer, batch_size=19)))
    assert tokenizer.n_strings <= 3 + len(batch["target_token_ids"])
    assert batch["feature_input_ids"].shape[:2] == (19, 3)


def test_the_splits_share_no_row_and_leave_out_none(corpus):
    labels = {}
    for split in ("train", "val", "all"):
        loader = TabSTARDataLoader(corpus, WordTokenizer(), split=split, validation_share=0.2)
        found = [b["labels"] for b in loader if b["dataset_name"] == "REG_CARS"]
        labels[split] = sorted(torch.cat(found).tolist())
    assert sorted(labels["train"] + labels["val"]) == labels["all"]
    assert len(labels["val"]) == 8


def test_an_epoch_has_as_many_batches_as_it_says_and_draws_rows_anew(corpus):
    loader = TabSTARDataLoader(corpus, WordTokenizer(), batch_size=8, rows_per_epoch=20)
    first, second = ([b["labels"].tolist() for b in loader] for _ in range(2))
    assert len(first) == len(loader) == 6
    assert first != second


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"BIN_BEER": {"target_texts": None}}, "'BIN_BEER' lacks target_texts"),
        ({"REG_CARS": {"labels": np.zeros(7)}}, "'REG_CARS'.*do not fit together"),
        ({"BIN_BEER": {"labels": np.full(40, 5)}}, "labels of group 'BIN_BEER' lie beyond"),
        ({"task_type": "ranking"}, "task_type 'ranking'"),
    ],
)
def test_a_group_that_is_not_whole_is_named(tmp_path, changes, message):
    path = write_corpus(tmp_path / "corpus.h5", **changes)
    with pytest.raises(ValueError, match=message):
        TabSTARDataLoader(path, WordTokenizer())


def test_a_missing_corpus_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no corpus"):
        TabSTARDataLoader(tmp_path / "none.h5", WordTokenizer())
