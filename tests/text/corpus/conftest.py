"""Specifications of small corpora, and the corpus made of one."""

from __future__ import annotations

import json

import pytest
from small_corpora import ENTRIES, HOUSES, WEATHER

from openpfn.text.corpus.build import build_corpus


@pytest.fixture
def source(tmp_path):
    """A folder with two tables."""
    folder = tmp_path / "source"
    folder.mkdir()
    WEATHER.to_csv(folder / "weather.csv", index=False)
    HOUSES.to_parquet(folder / "houses.parquet")
    return folder


@pytest.fixture
def specify(source):
    """Write a specification of some entries beside the tables."""

    def write(entries, name="corpus.json"):
        (source / name).write_text(json.dumps({"tables": entries}), encoding="utf-8")
        return source / name

    return write


@pytest.fixture
def built(specify, tmp_path):
    """A corpus of both tables."""
    return build_corpus(specify(ENTRIES), tmp_path / "corpus", tell=lambda line: None)
