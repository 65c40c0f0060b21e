"""Hashes of weights, which tell networks apart and damaged files from whole ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def fingerprint_of(model: nn.Module) -> str:
    """Return the hash of the weights of `model` as hexadecimal SHA-256."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def content_digest(tensors: Mapping[str, Tensor], facts: Any = None) -> str:
    """Return the SHA-256 of named tensors and of `facts` that go with them, in hexadecimal.

    Names, types, shapes and every bit of the values count; the order of the names does not. `facts`
    is anything that JSON can hold.
    """
    digest = hashlib.sha256()
    if facts is not None:
        digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().view(-1)
    # an empty array has strides that no view of bytes can have
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
