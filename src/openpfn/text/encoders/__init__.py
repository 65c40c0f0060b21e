"""Encoders of strings: letter groups, packaged MiniLM, e5-small-v2, or a folder of one's own."""

from openpfn.text.encoders.base import BatchEncoder, TextEncoder
from openpfn.text.encoders.hashing import HashingEncoder
from openpfn.text.encoders.load import load_encoder
from openpfn.text.encoders.transformer import PooledTransformer, TransformerEncoder

__all__ = [
    "BatchEncoder",
    "HashingEncoder",
    "PooledTransformer",
    "TextEncoder",
    "TransformerEncoder",
    "load_encoder",
]
