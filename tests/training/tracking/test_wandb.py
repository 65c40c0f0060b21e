"""W&B: the real client records offline; its public interface, which needs the network, answers as
recorded."""

from __future__ import annotations

import builtins
import json
import shutil
import struct
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import NETWORK, config, trained
from toy_training import same_weights
from wandb.errors import CommError
from wandb.proto import wandb_internal_pb2

from openpfn import checkpoint
from openpfn.models import PFN
from openpfn.training.tracking.base import RunRecord, Tracker
from openpfn.training.tracking.tracked import trackers_of
from openpfn.wandb import (
    RunNameScheme,
    RunRegistry,
    WandbLogger,
    list_available_models,
    list_checkpoints,
    load_by_config,
    load_from_pretrained,
)

PROTOCOL: Any = wandb_internal_pb2  # its classes are made when it is imported
BLOCK = 2**15
"""Bytes of a block of the client's file; a record that does not fit goes on in the next."""


@dataclass
class DataConfig:
    num_tasks: int = 50


def recorded(folder: Path) -> list[Any]:
    """The records that the client wrote in its offline run: LevelDB's log format after a header of
    7 bytes."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    content, at, found, parts = path.read_bytes(), 7, [], b""
    while at + 7 <= len(content):
        left = BLOCK - at % BLOCK
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from(
            "<IHB", content, at
        )  # kinds: 1 whole, 2 first, 3 middle, 4 last
        parts = (
            content[at + 7 : at + 7 + length]
            if kind in (1, 2)
            else parts + content[at + 7 : at + 7 + length]
        )
        at += 7 + length
        if kind in (1, 4):
            found.append(PROTOCOL.Record.FromString(parts))
    return found


def recorded_to_its_end(folder: Path, seconds: float = 60.0) -> list[Any]:
    """The records once the client's own process has written the run's exit: it may go on writing
    after the run has ended here."""
    deadline = time.monotonic() + seconds
    while True:
        records = recorded(folder)
        if any(record.HasField("exit") for record in records) or time.monotonic() > deadline:
            return records
        time.sleep(0.1)


def items(entries: Any) -> dict[str, Any]:
    return {
        entry.key or ".".join(entry.nested_key): json.loads(entry.value_json) for entry in entries
    }


@pytest.mark.slow
def test_an_offline_run_is_recorded_by_the_real_client_and_found_again_on_disk(place, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "my-project")
    monkeypatch.setenv("WANDB_SILENT", "true")
    model = trained(
        place / "run",
        data_config=DataConfig(),
        use_wandb=True,
        wandb_run_name="exp",
        wandb_tags=["v1"],
        wandb_notes="why",
    )
    (info,) = list_available_models(project="my-project", tags=["v1"])
    records = recorded_to_its_end(place)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.display_name, run.project, list(run.tags), run.notes) == (
        info.run_id,
        "exp",
        "my-project",
        ["v1"],
        "why",
    )
    config = items(run.config.update)
    assert config["model_config"]["d_model"] == 8
    assert config["training_config"]["num_steps"] == 4
    assert config["data_config"] == {"num_tasks": 50}
    rows = [items(record.history.item) for record in records if record.HasField("history")]
    assert [row["_step"] for row in rows] == [1, 2, 3, 4]
    assert all("loss" in row for row in rows)
    assert ["accuracy" in row for row in rows] == [False, True, False, True]
    artifacts = [
        record.request.log_artifact.artifact
        for record in records
        if record.request.HasField("log_artifact")
    ]
    artifacts += [record.artifact for record in records if record.HasField("artifact")]
    told = {artifact.name: json.loads(artifact.metadata) for artifact in artifacts}
    assert set(told) == {f"checkpoint-{info.run_id}-step-{step}" for step in (2, 4)}
    assert told[f"checkpoint-{info.run_id}-step-2"]["model_config"]["d_model"] == 8
    assert told[f"checkpoint-{info.run_id}-step-4"]["data_config"] == {"num_tasks": 50}
    scheme = RunNameScheme.from_templates(model={"d_model": None}, data={"num_tasks": None})
    loaded, _, metadata = load_by_config(
        scheme, d_model=8, num_tasks=50, project="my-project", device="cpu"
    )
    assert same_weights(loaded, model)
    assert metadata.run_id == info.run_id
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    trained(elsewhere / "run", use_wandb=True)
    assert recorded_to_its_end(elsewhere), "a run is recorded where the process is when it begins"


@pytest.mark.parametrize(
    ("given", "variable", "in_the_folder", "mode"),
    [
        (None, None, None, "online"),
        (None, None, "offline", "offline"),
        (None, "dryrun", None, "offline"),
        (None, "run", "offline", "online"),
        (None, "disabled", "offline", "disabled"),
        ("online", "offline", "offline", "online"),
        ("offline", None, None, "offline"),
    ],
)
def test_the_settings_of_wandb_decide_where_nothing_is_given(
    place, monkeypatch, given, variable, in_the_folder, mode
):
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(place / "nothing"))
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    if in_the_folder is not None:  # as the command `wandb offline` writes it
        (place / "wandb").mkdir()
        (place / "wandb" / "settings").write_text(f"[default]\nmode = {in_the_folder}\n")
    assert WandbLogger(mode=given, api=object()).mode == mode
    trackers = trackers_of(config(place, use_wandb=True, wandb_mode=given))
    assert any(isinstance(tracker, RunRegistry) for tracker in trackers) == (mode == "offline")


def test_a_missing_client_names_the_extra(place, monkeypatch):
    def without_wandb(name, *arguments, **keywords):
        if name == "wandb":
            raise ImportError("No module named 'wandb'")
        return real_import(name, *arguments, **keywords)

    real_import = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", without_wandb)
    with pytest.raises(ImportError, match=r"pip install 'openpfn\[wandb\]'"):
        trained(place / "run", use_wandb=True)


@dataclass
class FakeArtifact:
    """An artifact as `wandb.Api` gives it."""

    name: str
    source: Path
    version: str = "v0"
    type: str = "model"
    created_at: str = "2026-01-02T03:04:05Z"

    def download(self, root: str) -> str:
        Path(root).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.source, Path(root) / "checkpoint.safetensors")
        return root


@dataclass
class FakeApi:
    """The part of `wandb.Api` that is used, over given runs; it remembers what it was asked."""

    projects: dict[str, list[Any]]
    asked: list[Any] = field(default_factory=list)

    def runs(self, path: str, filters: Any = None, order: str = "+created_at") -> list[Any]:
        self.asked.append(("runs", path, filters, order))
        if path not in self.projects:
            raise ValueError(f"Could not find project {path}")  # as the real one
        tags, name = (
            ((filters or {}).get("tags") or {}).get("$in"),
            (filters or {}).get("display_name"),
        )
        return [
            r
            for r in self.projects[path]
            if (tags is None or set(tags) & set(r.tags)) and name in (None, r.name)
        ]

    def run(self, path: str) -> Any:
        self.asked.append(("run", path))
        place, _, run_id = path.rpartition("/")
        found = [run for run in self.projects.get(place, ()) if run.id == run_id]
        if not found:
            raise CommError(f"Could not find run {path}")
        return found[0]

    def artifact(self, path: str, type: str | None = None) -> Any:
        self.asked.append(("artifact", path, type))
        place, _, name = path.rpartition("/")
        named = [
            a
            for run in self.projects[place]
            for a in run.logged_artifacts()
            if a.name.partition(":")[0] == name.partition(":")[0]
        ]
        return named[-1]


def fake_run(run_id: str, name: str, artifacts: list[FakeArtifact], **config: Any) -> Any:
    return SimpleNamespace(
        id=run_id,
        name=name,
        project="p",
        entity="team",
        url=f"https://wandb.ai/team/p/runs/{run_id}",
        state="finished",
        created_at="2026-01-02T03:04:05Z",
        tags=["production"],
        notes=None,
        config=config,
        logged_artifacts=lambda: artifacts,
    )


@pytest.fixture
def online(place, monkeypatch):
    """A logger whose public interface has two runs of ours and one of somebody else's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    files = {}
    for step in (100, 1000):
        model = torch.manual_seed(step) and PFN(NETWORK)
        files[step] = checkpoint.save(
            place / f"{step}.safetensors", model, provenance={"step": step}
        )
    artifacts = [
        FakeArtifact(f"checkpoint-abc123-step-{step}:v{v}", files[step], f"v{v}")
        for step, v in ((1000, 0), (100, 0), (100, 1))
    ]
    artifacts.append(FakeArtifact("run-abc123-history:v0", files[100], type="wandb-history"))
    ours = fake_run(
        "abc123", "exp", artifacts, model_config={"d_model": 8}, data_config={"num_tasks": 50}
    )
    other = fake_run(
        "zzz", "exp-2", [], model_config={"d_model": 8}, data_config={"num_tasks": 500}
    )
    foreign = fake_run("qqq", "somebody's", [], lr=0.1)
    api = FakeApi({"team/p": [foreign, other, ours]})
    return WandbLogger("p", "team", api=api)


def test_it_is_a_tracker(online):
    assert isinstance(online, Tracker)


def test_step_100_is_not_step_1000_at_wandb(online):
    assert [(c.step, c.artifact_name) for c in list_checkpoints("abc123", tracker=online)] == [
        (step, f"checkpoint-abc123-step-{step}") for step in (100, 1000)
    ]
    for step, wanted in ((100, 100), ("latest", 1000), ("earliest", 100), (None, 1000)):
        model, optimizer, metadata = load_from_pretrained(
            "abc123", step, device="cpu", tracker=online
        )
        assert (metadata.step, optimizer) == (wanted, None)
        assert metadata.wandb_run_url == "https://wandb.ai/team/p/runs/abc123"
        torch.manual_seed(wanted)
        assert same_weights(model, PFN(NETWORK))
    assert ("artifact", "team/p/checkpoint-abc123-step-100:latest", "model") in online.api.asked
    with pytest.raises(LookupError, match=r"no checkpoint of step 10. Steps kept: 100, 1000"):
        load_from_pretrained("abc123", 10, tracker=online)


def test_runs_at_wandb_are_found_by_name_path_tags_and_configuration(online):
    assert online.run("exp").id == online.run("team/p/abc123").id == "abc123"
    (info,) = list_available_models(tags=["production"], tracker=online)
    assert (info.run_id, info.checkpoint_step, info.model_config) == (
        "abc123",
        1000,
        {"d_model": 8},
    )
    assert ("runs", "team/p", {"tags": {"$in": ["production"]}}, "-created_at") in online.api.asked
    scheme = RunNameScheme.from_templates(model={"d_model": None}, data={"num_tasks": None})
    assert (
        load_by_config(scheme, d_model=8, num_tasks=50, device="cpu", tracker=online)[2].run_id
        == "abc123"
    )
    with pytest.raises(LookupError, match="1 runs match, but have no checkpoint"):
        load_by_config(scheme, num_tasks=500, tracker=online)
    with pytest.raises(
        LookupError, match="no run with id or name 'nobody' in project 'team/p' at W&B"
    ):
        load_from_pretrained("nobody", tracker=online)
    with pytest.raises(
        LookupError, match=r"W&B does not answer as wanted.*Check project and entity"
    ):
        list_available_models(project="elsewhere", tracker=online)


def test_the_environment_names_project_and_entity(place, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "p")
    monkeypatch.setenv("WANDB_ENTITY", "team")
    api = FakeApi({"team/p": [], "me/p": []})
    assert WandbLogger(api=api).runs() == WandbLogger(api=api).runs(entity="me") == []
    assert [question[1] for question in api.asked] == ["team/p", "me/p"]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/foo",
        "https://wandb.ai/team/project",
        "file:///runs/abc",
        "wandb://a/b/runs/",
    ],
)
def test_the_url_of_something_else_is_refused_before_anybody_is_asked(place, monkeypatch, url):
    monkeypatch.setattr("openpfn.training.tracking.pretrained.chosen_tracker", lambda _: 1 / 0)
    for ask in (load_from_pretrained, list_checkpoints):
        with pytest.raises(ValueError, match="is no run URL"):
            ask(url)


@pytest.mark.parametrize("tail", ["", "/", "/overview", "?nw=1"])
def test_the_page_of_a_run_stands_for_the_run(online, tail):
    online.project = online.entity = None
    kept = list_checkpoints("https://wandb.ai/team/p/runs/abc123" + tail, tracker=online)
    assert [one.step for one in kept] == [100, 1000]


def test_an_unknown_run_record_survives_the_way_to_the_interface(online):
    record = online.run("qqq")
    assert record == RunRecord(
        "qqq",
        "somebody's",
        "p",
        "team",
        "https://wandb.ai/team/p/runs/qqq",
        "finished",
        "2026-01-02T03:04:05Z",
        ("production",),
    )
