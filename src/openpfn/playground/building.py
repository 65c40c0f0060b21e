"""Build the page into the package, or into another folder to compare: `python -m
openpfn.playground.building [FOLDER]`. Needs node, npm and clang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from openpfn.playground.modules import COMPILER, compiler
from openpfn.playground.site import SITE
from openpfn.playground.site_files import write_site_files

WEB = Path(__file__).parents[3] / "web"
"""The page's TypeScript, which is no part of the package."""


def main(argv: list[str]) -> int:
    """Build into the folder that is named, by default the one that is shipped."""
    folder = Path(argv[0]).absolute() if argv else SITE
    found = compiler()
    if found != COMPILER:
        print(f"note: {found} compiles, the shipped modules were compiled by {COMPILER}")
    build(folder)
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"built {folder}: {n_bytes:,} bytes")
    return 0


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
