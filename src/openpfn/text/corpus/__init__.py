"""Corpora: many real tables in one folder, as parquet with a manifest of where each comes from."""

from openpfn.text.corpus.folder import Corpus
from openpfn.text.corpus.manifest import TableRecord

__all__ = ["Corpus", "TableRecord"]
