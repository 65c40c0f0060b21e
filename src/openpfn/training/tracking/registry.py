"""`RunRegistry`: runs, their figures and their checkpoints in a folder on this machine."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from openpfn.files import sha256_of, sweep, unfinished_name
from openpfn.training.tracking.base import (
    CheckpointRecord,
    RunRecord,
    State,
    new_run_id,
    no_such_step,
    now,
    only_one,
)

DEFAULT_FOLDER = "openpfn-runs"
VERSION = 1
FLUSH_SECONDS = 5.0
"""Figures are written together, this often; a run that is killed and resumed tells those it had not
written again."""

SCHEMA = f"""
PRAGMA journal_mode = WAL;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, project TEXT NOT NULL, entity TEXT,
    state TEXT NOT NULL,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, tags TEXT NOT NULL, notes TEXT,
    model_config TEXT NOT NULL, training_config TEXT NOT NULL, data_config TEXT NOT NULL
);
CREATE TABLE checkpoints (
    run_id TEXT NOT NULL REFERENCES runs(id), step INTEGER NOT NULL, digest TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (run_id, step)
);
CREATE INDEX checkpoints_by_digest ON checkpoints (digest);
CREATE TABLE metrics (
    run_id TEXT NOT NULL, step INTEGER NOT NULL, name TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (run_id, step, name)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


class RunRegistry:
    """A registry of runs in `folder`: `registry.sqlite`, and each checkpoint once in `files/`,
    named by its SHA-256.

    `folder` None takes OPENPFN_REGISTRY, then ./openpfn-runs; it is made by the first run. Any
    number of processes of one machine may train into it and read it at once, and any of them may be
    killed: what was recorded stays whole. It should stand on a local disk, since SQLite's
    write-ahead log needs memory that its users share.

    >>> RunRegistry("nowhere").runs()
    Traceback (most recent call last):
    ...
    FileNotFoundError: no registry of runs at nowhere. Train with registry='nowhere', or name the
    folder that has one.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(folder or os.environ.get("OPENPFN_REGISTRY") or DEFAULT_FOLDER)
        self._waiting: list[tuple[str, int, str, float]] = []
        self._flushed = time.monotonic()

    @property
    def database(self) -> Path:
        return self.folder / "registry.sqlite"

    def exists(self) -> bool:
        return self.database.is_file()

    def start_run(self, run: RunRecord, resumed: bool = False) -> RunRecord:
        self._create()
        sweep(self.folder)
        run = replace(
            run, id=run.id or new_run_id(), created_at=run.created_at or now(), state="running"
        )
        with self._writing() as rows:
            taken = rows.execute(
                "SELECT created_at, name FROM runs WHERE id = ?", (run.id,)
            ).fetchone()
            if taken is not None and resumed:
                run = replace(run, created_at=taken[0], name=run.name or taken[1])
            while taken is not None and not resumed:
                run = replace(run, id=new_run_id())
                taken = rows.execute("SELECT id FROM runs WHERE id = ?", (run.id,)).fetchone()
            run = replace(run, name=run.name or run.id, url=self.folder.resolve().as_uri())
            configs = (run.model_config, run.training_config, run.data_config)
            values = (
                run.id,
                run.name,
                run.project,
                run.entity,
                run.state,
                run.created_at,
                now(),
                json.dumps(run.tags),
                run.notes,
            )
            rows.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, *map(json.dumps, configs)),
            )
        return run

    def log_metrics(self, run_id: str, step: int, metrics: Mapping[str, float]) -> None:
        self._waiting += [
            (run_id, step, name, float(value))
            for name, value in metrics.items()
            if not math.isnan(value)
        ]
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def log_checkpoint(self, run: RunRecord, step: int, path: Path) -> None:
        self.flush()
        copy = unfinished_name(self.folder / new_run_id())
        try:
            _copy(path, copy)
            digest = sha256_of(copy)
            with self._writing() as rows:
                kept = self._file(digest)
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.replace(copy, kept)  # before the row: a row never names a file that is not there
                before = rows.execute(
                    "SELECT digest FROM checkpoints WHERE run_id = ? AND step = ?", (run.id, step)
                ).fetchone()
                rows.execute(
                    "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
                    (run.id, step, digest, now()),
                )
        except OSError as error:
            if isinstance(error.__cause__, sqlite3.Error):  # told already
                raise
            raise self._failed(f"keep the checkpoint of step {step}", error) from error
        finally:
            copy.unlink(missing_ok=True)
        if before is not None and before[0] != digest:
            self._drop(before[0])

    def flush(self) -> None:
        self._flushed = time.monotonic()
        if not self._waiting:
            return
        with self._writing() as rows:
            rows.executemany("INSERT OR REPLACE INTO metrics VALUES (?, ?, ?, ?)", self._waiting)
            ids = {row[0] for row in self._waiting}
            rows.executemany(
                "UPDATE runs SET updated_at = ? WHERE id = ?", [(now(), run_id) for run_id in ids]
            )
        self._waiting.clear()

    def finish_run(self, run_id: str, state: State) -> None:
        self.flush()
        with self._writing() as rows:
            rows.execute(
                "UPDATE runs SET state = ?, updated_at = ? WHERE id = ?", (state, now(), run_id)
            )

    def runs(
        self, project: str | None = None, entity: str | None = None, tags: Sequence[str] = ()
    ) -> list[RunRecord]:
        """Return the runs with all `tags`, newest first; `project` and `entity` None stand for
        any."""
        wanted = [
            (name, value)
            for name, value in (("project", project), ("entity", entity))
            if value is not None
        ]
        where = " AND ".join(["1", *(f"{name} = ?" for name, _ in wanted)])
        with self._reading() as rows:
            query = f"SELECT * FROM runs WHERE {where} ORDER BY created_at DESC, rowid DESC"
            found = [
                self._record(row) for row in rows.execute(query, [value for _, value in wanted])
            ]
        return [run for run in found if set(tags) <= set(run.tags)]

    def run(
        self, identifier: str, project: str | None = None, entity: str | None = None
    ) -> RunRecord:
        known = self.runs(project, entity)
        by_id = [run for run in known if run.id == identifier]
        named = by_id or [run for run in known if run.name == identifier]
        return only_one(named, identifier, self.described(project, entity))

    def described(self, project: str | None = None, entity: str | None = None) -> str:
        """Return what an error calls the place where runs of a project are looked for."""
        of = f"project {project!r}" if project else "all projects"
        return f"{of}{f' of {entity!r}' if entity else ''} of the registry {self.folder}"

    def checkpoints(self, run: RunRecord) -> list[CheckpointRecord]:
        with self._reading() as rows:
            query = (
                "SELECT run_id, step, created_at FROM checkpoints WHERE run_id = ? ORDER BY step"
            )
            return [CheckpointRecord(*row) for row in rows.execute(query, (run.id,))]

    def fetch(self, run: RunRecord, step: int) -> Path:
        with self._reading() as rows:
            row = rows.execute(
                "SELECT digest FROM checkpoints WHERE run_id = ? AND step = ?", (run.id, step)
            ).fetchone()
        if row is None:
            where = self.described(run.project, run.entity)
            raise no_such_step(run, step, self.checkpoints(run), where)
        path = self._file(row[0])
        if not path.is_file():
            raise LookupError(f"step {step} of run {run.id} was kept in {path}, which is gone.")
        if sha256_of(path) != row[0]:
            raise ValueError(
                f"{path} was changed after it was recorded: its SHA-256 is not its name. Take"
                " another step."
            )
        return path

    def metrics(self, run_id: str) -> pd.DataFrame:
        """Return the figures of a run: one row per step, one column per name, NaN where a step has
        none."""
        with self._reading() as rows:
            figures = rows.execute(
                "SELECT step, name, value FROM metrics WHERE run_id = ? ORDER BY step", (run_id,)
            ).fetchall()
        table = pd.DataFrame(figures, columns=["step", "name", "value"])
        return table.pivot_table(index="step", columns="name", values="value").rename_axis(
            columns=None
        )

    def updated_at(self, run_id: str) -> str:
        """When a run was last heard of, ISO 8601, UTC."""
        with self._reading() as rows:
            return rows.execute("SELECT updated_at FROM runs WHERE id = ?", (run_id,)).fetchone()[0]

    def _record(self, row: Sequence[Any]) -> RunRecord:
        run_id, name, project, entity, state, created, _, tags, notes, *configs = row
        model, training, data = map(json.loads, configs)
        url = self.folder.resolve().as_uri()
        return RunRecord(
            run_id,
            name,
            project,
            entity,
            url,
            state,
            created,
            tuple(json.loads(tags)),
            notes,
            model,
            training,
            data,
        )

    def _file(self, digest: str) -> Path:
        return self.folder / "files" / digest[:2] / f"{digest}.safetensors"

    def _failed(self, what: str, error: Exception) -> OSError:
        """Return the error that tells what could not be written, and what to do."""
        reason = getattr(error, "strerror", None) or error
        return OSError(
            getattr(error, "errno", None) or 0,
            f"the registry could not {what} ({reason}). What it recorded before is whole: make room"
            " or mend the folder, and resume the run",
            str(self.folder),
        )

    def _drop(self, digest: str) -> None:
        """Remove a file that no checkpoint names any more."""
        with self._writing() as rows:  # nobody can begin to name it meanwhile
            if (
                rows.execute("SELECT 1 FROM checkpoints WHERE digest = ?", (digest,)).fetchone()
                is None
            ):
                self._file(digest).unlink(missing_ok=True)

    def _create(self) -> None:
        """Make the database under another name, then give it its own at once: no reader meets a
        half-made one."""
        if self.exists():
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(
                f"{self.folder} is a file, but a registry is a folder. Name another one."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = unfinished_name(self.folder / new_run_id())
        try:
            with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as rows:
                rows.executescript(SCHEMA)
            os.link(draft, self.database)
        except sqlite3.OperationalError as error:
            raise self._failed("make its database", error) from error
        except FileExistsError:  # another process was quicker
            pass
        except (
            OSError
        ):  # a file system without hard links: there, two first runs should not begin at once
            os.replace(draft, self.database)
        finally:
            for left in (draft, *self.folder.glob(f"{draft.name}-*")):  # SQLite's logs beside it
                left.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        # a connection for each use: none is left open in a notebook, or shared with a forked
        # process
        if not self.exists():
            raise FileNotFoundError(
                f"no registry of runs at {self.folder}. Train with registry={str(self.folder)!r},"
                " or name the folder that has one."
            )
        with contextlib.closing(
            sqlite3.connect(self.database, timeout=60, isolation_level=None)
        ) as rows:
            try:
                (version,) = rows.execute("PRAGMA user_version").fetchone()
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                raise ValueError(
                    f"{self.database} is no registry of runs ({error}). Name another folder, or"
                    " move it away."
                ) from error
            if version > VERSION:
                raise ValueError(
                    f"{self.database} has version {version}; this openpfn reads up to {VERSION}."
                    " Update openpfn."
                )
            rows.execute("PRAGMA synchronous = FULL")
            yield rows

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._reading() as rows:
                # the one writer from here on, so that nothing read before is out of date
                rows.execute("BEGIN IMMEDIATE")
                try:
                    yield rows
                    rows.execute("COMMIT")
                except BaseException:
                    if rows.in_transaction:  # a full disk has ended it already
                        rows.execute("ROLLBACK")
                    raise
        except sqlite3.OperationalError as error:
            raise self._failed("write its records", error) from error


def _copy(path: Path, copy: Path) -> None:
    """Copy a file to the disk itself, so that it survives a power cut."""
    shutil.copyfile(path, copy)
    with copy.open("rb+") as file:
        os.fsync(file.fileno())
