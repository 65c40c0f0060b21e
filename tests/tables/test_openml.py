"""OpenML's client against recorded answers: nothing here touches the network."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import warnings

import pytest
from recorded_openml import Reply, answer_as_openml

from openpfn.benchmark.tables.suites import entries, load_table
from openpfn.tables import openml
from openpfn.tables.load import load


@pytest.fixture
def server(monkeypatch, tmp_path):
    load_table.cache_clear()
    yield answer_as_openml(monkeypatch, tmp_path)
    openml.listing.cache_clear()


@pytest.mark.parametrize(
    "source", ["openml:7", "openml:suite/7", "openml:task/11", "openml:data/41"]
)
def test_suites_tasks_and_data_sets_lead_to_the_same_table(server, source):
    (found,) = entries(source)
    assert (found.name, found.family, found.task) == ("Weather-41", "weather", "classification")


def test_a_table_arrives_with_its_categories_and_holes(server):
    table = load_table("openml:7", "Weather-41")
    assert table.X["outlook"].tolist() == ["sunny", "rainy", "overcast", "sunny"]
    assert table.X["temperature"].isna().tolist() == [False, True, False, False]
    assert table.y.tolist() == [0, 1, 1, 0]
    assert table.kinds == {"outlook": "categorical", "temperature": "numeric"}


def test_what_was_asked_once_is_not_asked_again(server):
    entries("openml:7")
    load_table("openml:7", "Weather-41")
    n_asked = len(server.asked)
    openml.listing.cache_clear()
    load_table.cache_clear()
    load_table("openml:7", "Weather-41")
    assert len(server.asked) == n_asked


@pytest.mark.parametrize("source", [41, "openml:data/41", "openml:task/11"])
def test_one_data_set_is_loaded_like_any_table(server, source):
    table = load(source)
    assert (table.name, list(table.X), list(table.y)) == (
        "Weather-41",
        ["outlook", "temperature"],
        ["no", "yes", "yes", "no"],
    )


def test_another_target_may_be_asked_for(server):
    table = load(41, "outlook")
    assert table.y.tolist() == ["sunny", "rainy", "overcast", "sunny"]
    assert "play" in table.X


def test_an_unknown_target_is_told_with_the_columns(server):
    with pytest.raises(ValueError, match=r"no column 'sunshine'.*outlook, temperature, play"):
        load(41, "sunshine")


def test_several_data_sets_are_not_one_table(server):
    with pytest.raises(ValueError, match=r"holds 2 data sets.*openml:data/41"):
        load("openml:data/41,42")


def test_an_unknown_number_is_told(server):
    with pytest.raises(ValueError, match="OpenML does not know study/8"):
        entries("openml:8")


def test_without_a_network_the_error_says_what_is_missing(server, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    with pytest.raises(ConnectionError, match="cannot be reached for study/7"):
        entries("openml:7")


def unreachable(*_, **__):
    raise urllib.error.URLError("no route to host")


@pytest.mark.slow
def test_half_a_cache_is_asked_for_again_or_told_in_one_line(server, monkeypatch, tmp_path):
    load(41)
    (answers,) = (tmp_path / "openml").glob("data-41.json")
    rows = next(p for p in (tmp_path / "openml").rglob("*.gz") if "weather.arff" in str(p))
    for path in (answers, rows):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        openml.listing.cache_clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's: it loads the rows again
            assert len(load(41).y) == 4
        assert json.loads(answers.read_text())["data_set_description"]["name"] == "Weather"
    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", unreachable)
    for path, message in ((answers, r"data-41\.json is damaged"), (rows, "does not hold all of")):
        kept = path.read_bytes()
        path.write_bytes(kept[: len(kept) // 2])
        openml.listing.cache_clear()
        with pytest.raises(ConnectionError, match=message) as told:
            quietly_loaded(41)
        assert "\n" not in str(told.value)
        path.write_bytes(kept)


def quietly_loaded(source):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(source)


def test_rows_that_nobody_can_read_are_told_in_one_line(server, monkeypatch):
    def nonsense(request, **_):
        url = getattr(request, "full_url", request)
        return Reply(b"nothing", "identity") if "weather" in url else server(request)

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", nonsense)
    with pytest.raises(ValueError, match="rows of OpenML's data set 41 cannot be read"):
        quietly_loaded(41)


@pytest.mark.parametrize("source", ["openml:", "openml:iris", "openml:flow/3", "openml:data/1,x"])
def test_another_syntax_is_told(source):
    with pytest.raises(ValueError, match="openml:task/3,12"):
        entries(source)
