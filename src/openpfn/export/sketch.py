"""Write a sketch beside an exported library: flashed to a board, it fits and predicts for a
computer at the other end of a serial line."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from openpfn import __version__
from openpfn.export.prefix import PREFIX, renamed
from openpfn.files import write_whole


def write_sketch(folder: str | Path, prefix: str = PREFIX) -> list[Path]:
    """Write the sketch, the protocol that it speaks, and the metadata of Arduino and PlatformIO
    into `folder`, beside a library whose names begin with `prefix`, and return their paths.

    Raises ValueError where the folder's name, which is the sketch's, is none that Arduino takes.
    """
    folder = Path(folder).resolve()
    require_name(folder)
    sources = ("pfn_serial.h", "pfn_serial.c", "library.properties", "platformio.ini")
    names = {renamed(source, prefix): source for source in sources}
    names[f"{folder.name}.ino"] = "sketch.ino"
    for name, source in names.items():
        text = board_file(source).replace("@VERSION@", __version__)
        write_whole(folder / name, renamed(text, prefix))
    return [folder / name for name in names]


def require_name(folder: Path) -> None:
    """Raise ValueError unless a sketch may be called like `folder`: Arduino looks for a sketch of
    its folder's name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", folder.resolve().name):
        raise ValueError(
            f"a sketch is called like its folder, and Arduino takes no {folder.resolve().name!r}:"
            " letters, digits, _, . and - alone, at most 63. Give another --out."
        )


def board_file(name: str) -> str:
    """Return the text of a file of boards/."""
    return resources.files("openpfn.export").joinpath("boards", name).read_text(encoding="utf-8")
