"""Puts the built page into the documentation, where playground.md shows it."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = Path(__file__).parents[1] / "src" / "openpfn" / "playground" / "page"
FOLDER = "playground-page"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page's files, as they are, below FOLDER."""
    for path in sorted(PAGE.rglob("*")):
        if path.is_file():
            name = f"{FOLDER}/{path.relative_to(PAGE).as_posix()}"
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files
