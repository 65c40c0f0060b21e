"""Build the page into the package, or with FOLDER there, and say where that differs from what is
shipped: `python -m openpfn.playground.building [FOLDER]`. Needs node, npm and clang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from openpfn.playground.modules import COMPILER, compiler
from openpfn.playground.site import SITE
from openpfn.playground.site_files import RECORD, write_site_files

WEB = Path(__file__).parents[3] / "web"
"""The page's TypeScript, which is no part of the package."""


def main(argv: list[str]) -> int:
    """Build, and return 1 where the page that is shipped is another one."""
    folder = Path(argv[0]).absolute() if argv else SITE
    found = compiler()
    build(folder)
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"built {folder}: {n_bytes:,} bytes")
    others = differing(folder, SITE)
    if found != COMPILER:  # it may write other bytes for the same sources
        print(f"{found} compiled: the shipped modules, by {COMPILER}, are not compared")
        others = [name for name in others if not name.endswith((".wasm", RECORD))]
    if others:
        print(f"not what is shipped: {', '.join(others)}. Run make playground, and commit.")
    return int(bool(others))


def differing(one: Path, other: Path) -> list[str]:
    """Return the names of files that are not the same in both folders."""
    names = {str(p.relative_to(top)) for top in (one, other) for p in top.rglob("*") if p.is_file()}
    return [
        name
        for name in sorted(names)
        if not ((one / name).is_file() and (other / name).is_file())
        or (one / name).read_bytes() != (other / name).read_bytes()
    ]


def build(folder: Path) -> None:
    """Build the whole page into `folder`. Raises FileNotFoundError where a tool is missing."""
    if shutil.which("npm") is None:
        raise FileNotFoundError("npm is needed to build the page: apt-get install nodejs npm")
    if not (WEB / "package.json").is_file():
        raise FileNotFoundError(f"there is no {WEB}: the page is built in a checkout of openpfn.")
    npm = ["npm", "--prefix", str(WEB)]
    subprocess.run([*npm, "ci", "--no-audit", "--no-fund", "--silent"], check=True)
    subprocess.run([*npm, "run", "--silent", "check"], check=True)
    environment = os.environ | {"PLAYGROUND_OUT": str(folder)}
    subprocess.run(
        [*npm, "run", "--silent", "build", "--", "--logLevel", "warn"], check=True, env=environment
    )
    write_site_files(folder)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
