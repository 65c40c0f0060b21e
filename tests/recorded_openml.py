"""OpenML's answers about one small data set, as they were recorded."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import urllib.error
import urllib.request
from urllib.parse import urlparse

from openpfn.tables import openml

ARFF = """@RELATION weather
@ATTRIBUTE outlook {sunny, rainy, overcast}
@ATTRIBUTE temperature REAL
@ATTRIBUTE play {yes, no}
@DATA
sunny,30.5,no
rainy,?,yes
overcast,21,yes
sunny,25,no
"""
DESCRIPTION = {
    "id": "41",
    "name": "Weather",
    "version": "1",
    "format": "ARFF",
    "status": "active",
    "licence": "CC BY 4.0",
    "file_id": "52041",
    "description": "Whether to play.",
    "default_target_attribute": "play",
    "url": "https://www.openml.org/data/v1/download/52041/weather.arff",
    "md5_checksum": hashlib.md5(ARFF.encode()).hexdigest(),
}
FEATURES = [
    {
        "index": "0",
        "name": "outlook",
        "data_type": "nominal",
        "is_target": "false",
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": "0",
    },
    {
        "index": "1",
        "name": "temperature",
        "data_type": "numeric",
        "is_target": "false",
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": "1",
    },
    {
        "index": "2",
        "name": "play",
        "data_type": "nominal",
        "is_target": "true",
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": "0",
    },
]
RECORDED = {
    "study/7": {"study": {"id": "7", "tasks": {"task_id": ["11", "12"]}}},
    "task/11": {
        "task": {
            "task_id": "11",
            "task_type": "Supervised Classification",
            "input": [
                {
                    "name": "source_data",
                    "data_set": {"data_set_id": "41", "target_feature": "play"},
                },
                {"name": "estimation_procedure"},
            ],
        }
    },
    "task/12": {"task": {"task_id": "12", "task_type": "Clustering", "input": []}},
    "data/41": {"data_set_description": DESCRIPTION},
    "data/42": {"data_set_description": DESCRIPTION | {"id": "42", "name": "Climate"}},
    "data/features/42": {"data_features": {"feature": FEATURES}},
    "data/features/41": {"data_features": {"feature": FEATURES}},
    "data/qualities/41": {
        "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "4.0"}]}
    },
}


class Server:
    """Answers like OpenML and counts what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, request, **_):
        url = request if isinstance(request, str) else request.full_url
        path = urlparse(url).path
        self.asked.append(path)
        if path.endswith(("weather.arff", "/52041")):
            return Reply(gzip.compress(ARFF.encode()), "gzip")
        name = path.partition("/json/")[2]
        if name not in RECORDED:
            raise urllib.error.HTTPError(
                url, 412, "Precondition Failed", {}, io.BytesIO(b'{"error": {"code": "481"}}')
            )  # type: ignore[arg-type]
        return Reply(json.dumps(RECORDED[name]).encode(), None)


class Reply(io.BytesIO):
    """A response of urllib."""

    def __init__(self, content, encoding):
        super().__init__(content)
        self.encoding = encoding

    def info(self):
        return {"Content-Encoding": self.encoding}


def answer_as_openml(monkeypatch, cache):
    """Have every question to OpenML answered by a server, which is returned."""
    server = Server()
    monkeypatch.setattr(urllib.request, "urlopen", server)
    monkeypatch.setattr("sklearn.datasets._openml.urlopen", server)
    monkeypatch.setenv("OPENPFN_CACHE", str(cache))
    openml.listing.cache_clear()
    return server
