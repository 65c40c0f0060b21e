"""Corpora are built whole, once, and from what their specification says."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from recorded_openml import answer_as_openml
from small_corpora import ENTRIES, HOUSES, WEATHER

from openpfn.tables import openml
from openpfn.text.corpus import Corpus, build
from openpfn.text.corpus.build import build_corpus
from openpfn.text.corpus.manifest import MANIFEST
from openpfn.text.corpus.parquet import read_parquet, write_parquet
from openpfn.text.corpus.specification import read_specification


def test_tables_come_back_as_they_were(built):
    weather, homes = built.table("weather"), built.table("homes")
    assert weather.X["note"].tolist() == WEATHER["note"].tolist()
    assert weather.X["temperature"].tolist()[:1] == [30.5]
    assert weather.X["outlook"].isna().tolist() == (WEATHER["outlook"] == "").tolist()
    assert (weather.task, weather.y.tolist()) == ("classification", WEATHER["play"].tolist())
    assert (homes.task, homes.y.tolist()) == ("regression", list(map(float, HOUSES["price"])))


def test_the_manifest_records_where_each_table_comes_from(built):
    record = built.record("weather")
    assert (record.licence, record.family, record.split) == ("CC BY 4.0", "weather", "train")
    assert (record.target, record.n_rows, record.n_columns) == ("play", 24, 3)
    assert record.source == "weather.csv"
    homes = built.record("homes")
    assert (homes.licence, homes.family, homes.split) == ("not stated", "homes", "validation")
    assert built.families == {"weather", "homes"}


def test_what_is_there_is_not_made_again(specify, source, tmp_path, monkeypatch):
    told = []
    for _ in range(2):
        build_corpus(specify(ENTRIES), tmp_path / "corpus", tell=told.append)
    assert [line.endswith("is there") for line in told] == [False, False, True, True]
    HOUSES.assign(price=1.5).to_parquet(source / "houses.parquet")
    told.clear()
    build_corpus(specify(ENTRIES), tmp_path / "corpus", tell=told.append)
    assert [line.endswith("is there") for line in told] == [True, False]


def test_a_build_that_was_stopped_goes_on(specify, tmp_path, monkeypatch):
    specification, folder = specify(ENTRIES), tmp_path / "corpus"

    def die(frame, path):
        if "rooms" in frame:
            raise KeyboardInterrupt
        write_parquet(frame, path)

    monkeypatch.setattr(build, "write_parquet", die)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(specification, folder)
    assert Corpus(folder).names == ["weather"]
    monkeypatch.setattr(build, "write_parquet", write_parquet)
    told = []
    assert build_corpus(specification, folder, tell=told.append).names == ["homes", "weather"]
    assert told[0].endswith("is there")


def test_tables_of_another_specification_stay(built, specify, tmp_path):
    again = [dict(ENTRIES[0], name="weather 2/β")]
    corpus = build_corpus(specify(again), tmp_path / "corpus", tell=lambda line: None)
    assert corpus.names == ["homes", "weather", "weather 2/β"]
    assert len(corpus.table("weather 2/β").y) == 24


def test_a_damaged_file_is_refused_by_name_and_made_again(built, specify):
    path = built.folder / built.record("homes").file
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(ValueError, match=r"homes\.parquet is not the file that was built"):
        built.table("homes")
    build_corpus(specify(ENTRIES), built.folder, tell=lambda line: None)
    assert len(built.table("homes").y) == 24
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"homes\.parquet is missing"):
        built.table("homes")


def test_one_bad_table_does_not_keep_the_others_and_is_named(specify, source, tmp_path):
    (source / "broken.parquet").write_bytes(b"PAR1 nothing")
    entries = [
        {"file": "broken.parquet", "target": "a"},
        {"name": "lost", "file": "weather.csv", "target": "pla"},
        {"name": "words", "file": "weather.csv", "target": "play", "task": "regression"},
        {"file": "gone.csv", "target": "a"},
        *ENTRIES,
    ]
    with pytest.raises(ValueError, match="4 of 6 tables could not be made") as told:
        build_corpus(specify(entries), tmp_path / "corpus", tell=lambda line: None)
    for part in (
        "broken.parquet is not a parquet file",
        "lost: .*weather.csv has no column 'pla'. Did you mean 'play'",
        "words: .*but 24 of its values are none",
        "there is no file .*gone.csv",
    ):
        assert told.match(part)
    assert Corpus(tmp_path / "corpus").names == ["homes", "weather"]


def test_licences_and_families_choose_among_the_tables(specify, tmp_path):
    entries = [dict(ENTRIES[0], licence_class="open"), ENTRIES[1]]
    made = build_corpus(
        specify(entries), tmp_path / "a", licence_classes=["open"], tell=lambda line: None
    )
    assert made.names == ["weather"]
    made = build_corpus(
        specify(entries), tmp_path / "b", exclude_families=["weather"], tell=lambda line: None
    )
    assert made.names == ["homes"]
    with pytest.raises(ValueError, match="lists no table of these"):
        build_corpus(specify(entries), tmp_path / "c", licence_classes=["none"])


def test_the_index_of_a_folder_is_a_specification(source, tmp_path):
    index = [
        {
            "name": "w",
            "file": "weather.csv",
            "target": "play",
            "task": "classification",
            "types": {"outlook": "categorical", "temperature": "categorical", "note": "text"},
            "licence": "CC0",
            "sanity": {"rf": 0.9},
        }
    ]
    (source / "index.json").write_text(json.dumps(index))
    corpus = build_corpus(source / "index.json", tmp_path / "corpus", tell=lambda line: None)
    assert corpus.record("w").licence == "CC0"
    assert corpus.table("w").kinds["temperature"] == "categorical"
    assert corpus.table("w").X["temperature"].tolist()[0] == "30,5"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file": "a.csv"}, "a file needs its target"),
        ({"target": "a"}, "either file or openml"),
        ({"openml": "x", "name": "y"}, "the number of a data set"),
        ({"openml": 3}, "needs its name"),
        ({"file": "a.csv", "target": "a", "tasks": "x"}, "unknown field 'tasks'"),
        ({"file": "a.csv", "target": "a", "task": "x"}, "task is 'x'"),
        ({"file": "a.csv", "target": "a", "split": "x"}, "split is 'x'"),
        ({"file": "a.csv", "target": "a", "kinds": {"b": "x"}}, "kind of column 'b' is 'x'"),
        ("a.csv", "expected fields"),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(specify, entry, message):
    with pytest.raises(ValueError, match=rf"corpus\.json, table .*{message}"):
        read_specification(specify([entry]))


def test_what_is_no_specification_is_told(specify, source):
    (source / "bad.yaml").write_text("tables: [}")
    with pytest.raises(ValueError, match=r"bad\.yaml is not YAML"):
        read_specification(source / "bad.yaml")
    with pytest.raises(ValueError, match="lists no tables"):
        read_specification(specify([]))
    with pytest.raises(FileNotFoundError, match="there is no specification"):
        read_specification(source / "none.yaml")
    with pytest.raises(ValueError, match="more than one table 'weather'"):
        read_specification(specify([ENTRIES[0], ENTRIES[0]]))


def test_the_shipped_list_names_data_sets_once_with_target_task_and_family():
    entries = read_specification(None)
    assert len(entries) >= 80
    assert len({entry.source for entry in entries}) == len(entries)
    assert all(isinstance(entry.source, int) and entry.target and entry.task for entry in entries)
    assert {entry.task for entry in entries} == {"classification", "regression"}


def test_a_folder_without_a_corpus_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no manifest\.json in .*openpfn corpus build"):
        Corpus(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-30],
        lambda text: text.replace('"format": 1', '"format": 9'),
        lambda text: text.replace('"sha256"', '"sha"'),
        lambda text: text.replace('"regression"', '"ranking"'),
        lambda text: text.replace('"tables/homes', '"../tables/homes'),
    ],
)
def test_a_damaged_manifest_is_refused(built, change):
    path = built.folder / MANIFEST
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest"):
        Corpus(built.folder)


def test_a_corpus_may_be_moved(built, tmp_path):
    shutil.move(built.folder, tmp_path / "elsewhere")
    assert len(Corpus(tmp_path / "elsewhere").table("weather").y) == 24


def test_columns_of_mixed_types_become_words(tmp_path):
    frame = pd.DataFrame({"a": pd.Series([1, "x", None, 2.0], dtype=object), 3: [1, 2, 3, 4]})
    write_parquet(frame, tmp_path / "a.parquet")
    back = read_parquet(tmp_path / "a.parquet")
    assert back["a"].astype(object).where(back["a"].notna(), None).tolist() == ["1", "x", None, "2"]
    assert back["3"].tolist() == [1, 2, 3, 4]


@pytest.fixture
def server(monkeypatch, tmp_path):
    yield answer_as_openml(monkeypatch, tmp_path / "answers")
    openml.listing.cache_clear()


def test_a_data_set_of_openml_brings_its_licence(server, specify, tmp_path):
    entry = {"openml": 41, "name": "Weather", "target": "play", "task": "classification"}
    told = []
    corpus = build_corpus(specify([entry]), tmp_path / "corpus", tell=told.append)
    record, table = corpus.record("Weather"), corpus.table("Weather")
    assert (record.licence, record.source) == ("CC BY 4.0", "openml:data/41")
    assert (list(table.X), table.y.tolist()) == (
        ["outlook", "temperature"],
        ["no", "yes", "yes", "no"],
    )
    assert table.kinds == {"outlook": "categorical", "temperature": "numeric"}
    n_asked = len(server.asked)
    build_corpus(specify([entry]), tmp_path / "corpus", tell=told.append)
    assert (told[-1], len(server.asked)) == ("[1/1] Weather: is there", n_asked)


def test_a_number_that_leads_to_another_data_set_is_refused(server, specify, tmp_path):
    entry = {"openml": 41, "name": "iris", "target": "class"}
    with pytest.raises(ValueError, match="data set 41 is called 'Weather', not 'iris'"):
        build_corpus(specify([entry]), tmp_path / "corpus", tell=lambda line: None)
