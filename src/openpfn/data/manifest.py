"""`Manifest`: what a folder of shards holds together: files of one dump, with their checksums."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from openpfn import __version__
from openpfn.files import sha256_of, write_whole

NAME = "manifest.json"
FORMAT = "openpfn-prior-dump-shards"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ShardRecord:
    """A finished file of a dump."""

    file: str
    """Its name in the folder."""
    n_batches: int
    n_tasks: int
    bytes: int
    """Its size."""
    sha256: str
    """Its checksum."""


@dataclass(frozen=True)
class Manifest:
    """The files of a dump in one folder: of K, file k holds the batches k, k + K, k + 2K, …"""

    folder: Path
    header: dict[str, Any]
    """What `DumpHeader` says of the whole dump."""
    num_batches: int
    """Batches of the whole dump when it is complete."""
    shards: tuple[ShardRecord | None, ...]
    """Each file, in order; None where it is not finished."""
    openpfn_version: str = __version__

    @property
    def n_shards(self) -> int:
        return len(self.shards)

    @property
    def is_complete(self) -> bool:
        """Whether every file is finished."""
        return all(
            record is not None and record.n_batches == self.batches_of(number)
            for number, record in enumerate(self.shards)
        )

    def batches_of(self, number: int) -> int:
        """Return how many batches the finished file `number` holds."""
        return len(range(number, self.num_batches, self.n_shards))

    def path_of(self, number: int) -> Path:
        """Return the path of file `number`."""
        return self.folder / f"shard-{number:05d}-of-{self.n_shards:05d}.h5"

    def with_shard(self, number: int, record: ShardRecord | None) -> Manifest:
        """Return the manifest with file `number` finished, or not."""
        shards = list(self.shards)
        shards[number] = record
        return replace(self, shards=tuple(shards))

    def write(self) -> None:
        """Write the manifest into its folder, whole or not at all."""
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "openpfn_version": self.openpfn_version,
            "header": self.header,
            "num_batches": self.num_batches,
            "shards": [record and asdict(record) for record in self.shards],
        }
        write_whole(self.folder / NAME, json.dumps(content, indent=1) + "\n")

    def check_sizes(self) -> None:
        """Raise ValueError where a finished file is missing or has another size."""
        for number, record in enumerate(self.shards):
            path = self.path_of(number)
            if record is None:
                continue
            size = path.stat().st_size if path.is_file() else None
            if size != record.bytes:
                there = "is missing" if size is None else f"has {size} bytes"
                raise ValueError(
                    f"{path} {there}, but the manifest says {record.bytes} bytes. Copy it again, or"
                    f" delete it and call `openpfn priors generate --resume --save_path"
                    f" {self.folder}` with the options of before."
                )

    def check_sums(self) -> None:
        """Read every finished file. Raises ValueError where one is not as it was written."""
        self.check_sizes()
        wrong = [
            record.file
            for number, record in enumerate(self.shards)
            if record is not None and sha256_of(self.path_of(number)) != record.sha256
        ]
        if wrong:
            raise ValueError(
                f"{', '.join(wrong)} in {self.folder} changed since {NAME} was written: the"
                " checksums differ. Copy them again, or delete them and generate with --resume."
            )


def is_sharded(path: Path) -> bool:
    """Return whether a dump is a folder of shards: the folder, or the manifest in it."""
    return path.is_dir() or path.name == NAME


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in the folder `path`, which may also be its own path. Raises
    FileNotFoundError, or ValueError for one that is damaged."""
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {NAME} in {path.parent}: it is no dump in shards. Give a dump's file, or"
            " a folder that `openpfn priors generate --shards` made."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format is {content['format']} {content['format_version']}")
        shards = tuple(record and ShardRecord(**record) for record in content["shards"])
        if not shards or not isinstance(content["header"], dict):
            raise ValueError("it names no shards")
        return Manifest(
            path.parent,
            content["header"],
            int(content["num_batches"]),
            shards,
            str(content["openpfn_version"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged, or no manifest of format {FORMAT_VERSION} ({error})."
        ) from error
