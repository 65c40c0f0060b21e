"""Serve the playground: your tables answered in a browser tab, the prior and the chip; or write it
as a static site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class PlaygroundOptions:
    """Serve the playground on this machine and open it in a browser, or write it as a static site.

    The page answers tables by the C library compiled to WebAssembly. Nothing leaves it, and it
    needs no network once it is loaded.
    """

    out: Path | None = None
    """Write the page into this folder in place of serving it; any web server can publish it, below
    any path."""
    port: int = 0
    """Port to serve on; 0 takes a free one."""
    browser: bool = True
    """Open the page in the browser."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port is {self.port}, must lie between 0 and 65535.")


def main(argv: list[str]) -> int:
    """Serve until interrupted, or write."""
    options = tyro.cli(PlaygroundOptions, args=argv, prog="openpfn playground")
    from openpfn.playground.site import Server, write_site

    if options.out is not None:
        paths = write_site(options.out)
        n_bytes = sum(path.stat().st_size for path in paths)
        print(f"wrote {len(paths)} files, {n_bytes:,} bytes, to {options.out}")
        return 0
    with Server(options.port) as server:
        print(f"the playground is at {server.url} (Ctrl+C ends it)", flush=True)
        if options.browser:
            import webbrowser

            webbrowser.open(server.url)
        server.serve_forever()
    return 0
