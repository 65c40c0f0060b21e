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
    sources = {
        renamed("pfn_serial.h", prefix): "pfn_serial.h",
        renamed("pfn_serial.c", prefix): "pfn_serial.c",
        "library.properties": "arduino/library.properties",
        "platformio.ini": "platformio.ini",
        f"{folder.name}.ino": "sketch.ino",
    }
    for name, source in sources.items():
        write_whole(folder / name, board_text(source, prefix))
    return [folder / name for name in sources]


def require_name(folder: Path, kind: str = "sketch") -> None:
    """Raise ValueError unless a sketch, or another `kind` of thing, may be called like `folder`:
    Arduino knows it by its folder's name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}", folder.resolve().name):
        raise ValueError(
            f"a {kind} is called like its folder, and Arduino takes no {folder.resolve().name!r}:"
            " letters, digits, _, . and - alone, at most 63. Give another --out."
        )


def board_text(name: str, prefix: str, **sizes: int) -> str:
    """Return a file of boards/ with its @PLACEHOLDERS@ filled in, `sizes` among them, and with the
    names of a library whose prefix is `prefix`."""
    own = "" if prefix == PREFIX else f"_{prefix}"
    text = resources.files("openpfn.export").joinpath("boards", name).read_text(encoding="utf-8")
    values = {"NAME": f"OpenPFN{own}", "MODULE": f"openpfn{own}", "VERSION": __version__} | sizes
    for placeholder, value in values.items():
        text = text.replace(f"@{placeholder}@", str(value))
    return renamed(text, prefix)
