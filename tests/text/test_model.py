"""The usage example of nanoTabStar runs, with the packaged text encoder."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from openpfn.text.data_loader import TabSTARDataLoader
from openpfn.text.encoders import load_encoder
from openpfn.text.model import TabSTARModel
from tests.text.test_data_loader import write_corpus


@pytest.mark.slow
def test_the_usage_example_runs(tmp_path):
    path = write_corpus(tmp_path / "corpus.h5", n=6)
    encoder: Any = load_encoder("minilm")
    tokenizer = encoder.tokenizer
    model = TabSTARModel()

    loader = TabSTARDataLoader(path, tokenizer=tokenizer)

    shapes = {}
    for batch in loader:
        logits = model(
            feature_input_ids=batch["feature_input_ids"],
            feature_attention_mask=batch["feature_attention_mask"],
            feature_num_values=batch["feature_num_values"],
            target_token_ids=batch["target_token_ids"],
            target_attention_mask=batch["target_attention_mask"],
            task_type=batch["task_type"],
        )
        assert torch.isfinite(logits).all()
        shapes[batch["task_type"]] = tuple(logits.shape)
    assert shapes == {"classification": (5, 2), "regression": (5, 1)}
    trained = {name for name, p in model.encoder.named_parameters() if p.requires_grad}
    assert {re.search(r"layer\.(\d+)\.", name)[1] for name in trained} == set("012345")


def test_an_encoder_without_layers_is_refused():
    with pytest.raises(ValueError, match="reads no token ids"):
        TabSTARModel(encoder="hashing")
