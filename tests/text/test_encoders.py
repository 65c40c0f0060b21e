"""Encoders: the same vector for the same string, each distinct string once, no network."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from openpfn.text.encoders import (
    BatchEncoder,
    HashingEncoder,
    TextEncoder,
    load_encoder,
    transformer,
)

ODD = ["", " ", "😀 שלום عليكم", "\ud800 half a pair", "a\x00b", "naïve\nλ"]


class Counting(BatchEncoder):
    """Letters of a string, and the batches that were embedded."""

    width = 1
    fingerprint = "counting"
    batch_size = 3

    def __init__(self):
        self.batches = []

    def embed(self, texts):
        self.batches.append(texts)
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_each_distinct_string_is_embedded_once_with_strings_of_like_length():
    encoder = Counting()
    vectors = encoder.encode(["aaaa", "b", "aaaa", "cccc", "dd", "b", "aaaaa", ""])
    assert vectors.ravel().tolist() == [4, 1, 4, 4, 2, 1, 5, 0]
    assert encoder.batches == [["aaaaa", "aaaa", "cccc"], ["dd", "b", ""]]


def test_order_and_repeats_do_not_change_a_batch():
    one, other = Counting(), Counting()
    texts = ["red", "blue", "green", "grey"]
    one.encode(texts)
    other.encode(texts[::-1] + texts)
    assert one.batches == other.batches


def test_no_strings_give_no_vectors():
    assert HashingEncoder().encode([]).shape == (0, HashingEncoder.width)


@pytest.mark.parametrize("texts", ["red", ["red", 3]])
def test_what_is_no_list_of_strings_is_refused(texts):
    with pytest.raises(TypeError):
        HashingEncoder().encode(texts)


@pytest.mark.slow
def test_a_hashed_string_has_the_same_vector_in_any_company():
    texts = [*ODD, "a red house", "x" * 300_000, "word " * 50_000]
    encoder = HashingEncoder()
    together = encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([text])[0], vector)
    lengths = np.linalg.norm(together, axis=1)
    assert np.allclose(lengths[2:], 1, atol=1e-6)
    assert lengths[0] == 0


def test_alike_strings_have_alike_hashed_vectors():
    a, b, c = HashingEncoder().encode(["New York City", "new york", "Marrakesh"])
    assert a @ b > 0.5 > abs(a @ c)


def test_encoders_are_found_by_name_and_pass_through():
    encoder = load_encoder("hashing")
    assert isinstance(encoder, TextEncoder)
    assert load_encoder(encoder) is encoder


def test_without_transformers_auto_hashes_and_others_name_the_extra(monkeypatch):
    for module in ("folder", "load"):
        monkeypatch.setattr(f"openpfn.text.encoders.{module}.find_spec", lambda name: None)
    assert load_encoder("auto").fingerprint == HashingEncoder.fingerprint
    for name in ("minilm", "e5", "intfloat/e5-small-v2"):
        with pytest.raises(ImportError, match=r'pip install "openpfn\[text\]"'):
            load_encoder(name)


def test_an_encoder_that_is_nowhere_is_told_with_the_choices():
    with pytest.raises(FileNotFoundError, match=r"'minilm', 'e5'.*Nothing was downloaded"):
        load_encoder("no-such-encoder")


def test_a_variable_that_names_no_folder_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("openpfn.text.encoders.load.require_transformers", lambda name: None)
    monkeypatch.setenv("OPENPFN_E5", str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match=r"OPENPFN_E5 names .*nothing.*e5-small-v2"):
        load_encoder("e5")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_half_a_folder_is_told(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(transformer, "require_transformers", lambda name: None)
    for name in {"config.json", "model.safetensors", "tokenizer.json"} - {missing}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name} holds no"):
        load_encoder(tmp_path)


def test_the_network_is_closed():
    with pytest.raises(OSError, match="opened a network connection"):
        socket.create_connection(("example.org", 80))


@pytest.mark.slow
def test_e5_is_not_downloaded_unasked_and_its_place_is_told():
    with pytest.raises(FileNotFoundError, match=r"nothing was downloaded.*OPENPFN_E5"):
        load_encoder("e5")
    with pytest.raises(ConnectionError, match="cannot be downloaded"):
        load_encoder("e5", allow_download=True)


@pytest.mark.slow
def test_minilm_reads_meaning_offline_whatever_the_company():
    encoder = load_encoder("minilm")
    assert encoder.width == 384
    assert load_encoder("auto").fingerprint == encoder.fingerprint
    king, queen, sofa = encoder.encode(["king", "queen", "sofa"])
    assert king @ queen > king @ sofa + 0.2
    texts = [*ODD, "word " * 200_000, "Predictive Feature: colour\nFeature Value: red"]
    together = encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)


@pytest.mark.slow
def test_onnxruntime_and_torch_give_the_same_vectors(tmp_path):
    texts = ["", "king", "a much longer string of many words " * 20]
    torch_vectors = load_encoder("minilm", backend="torch").encode(texts)
    onnx = load_encoder("minilm", backend="onnx")
    np.testing.assert_allclose(onnx.encode(texts), torch_vectors, atol=1e-5)
    (kept,) = (tmp_path / "cache" / "onnx").iterdir()
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="is damaged"):
        vectors = load_encoder("minilm", backend="onnx").encode(texts)
    np.testing.assert_allclose(vectors, torch_vectors, atol=1e-5)


@pytest.mark.slow
def test_the_trainable_module_answers_like_the_frozen_encoder():
    encoder = load_encoder("minilm", backend="torch")
    assert isinstance(encoder, transformer.TransformerEncoder)
    module = encoder.torch_module().eval()
    texts = ["a king", "one queen and a sofa"]
    vectors = module(**encoder.tokenize(texts))
    assert vectors.requires_grad
    np.testing.assert_allclose(vectors.detach().numpy(), encoder.encode(texts), atol=1e-5)
    assert module is not encoder.torch_module()


@pytest.mark.slow
def test_fingerprints_tell_encoders_apart():
    made = [
        load_encoder("minilm"),
        load_encoder("minilm", max_length=64),
        load_encoder("minilm", pooling="cls"),
        load_encoder("hashing"),
    ]
    assert len({encoder.fingerprint for encoder in made}) == 4
