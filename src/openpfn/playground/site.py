"""The built page: where it lies, how it is written elsewhere, and how it is served."""

from __future__ import annotations

import functools
import http.server
import shutil
import socketserver
from pathlib import Path

SITE = Path(__file__).parent / "page"
"""The page as it is built and shipped."""
TYPES = {".wasm": "application/wasm", ".js": "text/javascript", ".json": "application/json"}


def write_site(folder: Path) -> list[Path]:
    """Copy the page into `folder`, and return the paths of its files.

    Raises ValueError where `folder` holds other files: they might be somebody's work.
    """
    names = [path.relative_to(SITE) for path in sorted(SITE.rglob("*")) if path.is_file()]
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, must be a folder. Give another --out.")
    present = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    foreign = sorted({path.relative_to(folder) for path in present} - set(names))
    if foreign:
        raise ValueError(
            f"{folder} holds {foreign[0]}, which is no part of the page. Give an empty folder as"
            " --out, or one that the page was written to before."
        )
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(SITE / name, folder / name)
    return [folder / name for name in names]


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the page to this machine alone, without a word for every file."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | TYPES

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A server of the page on this machine; `url` is where it stands."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), functools.partial(Handler, directory=str(SITE)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"
