"""Encoders of strings: letter groups, packaged MiniLM, e5-small-v2, or a folder of one's own."""

from openpfn.text.encoders.base import BatchEncoder, TextEncoder
from openpfn.text.encoders.hashing import HashingEncoder
from openpfn.text.encoders.load import load_encoder

__all__ = [
    "BatchEncoder",
    "HashingEncoder",
    "TextEncoder",
    "load_encoder",
]
