"""Write what makes an exported library a package of Arduino, PlatformIO, ESP-IDF, Zephyr or
MicroPython: metadata and build files in its own folder, around the one set of sources."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from openpfn.export.prefix import PREFIX, renamed
from openpfn.export.record import read_record
from openpfn.export.sketch import board_text, require_name
from openpfn.files import write_whole

Package = Literal["arduino", "platformio", "esp-idf", "zephyr", "micropython", "all"]
SERIAL = "examples/AnswerComputer"
"""The sketch that `openpfn export verify --port` asks."""
FILES: Mapping[str, Mapping[str, str]] = {
    "arduino": {
        "library.properties": "arduino/library.properties",
        "keywords.txt": "arduino/keywords.txt",
        "examples/FitAndPredict/FitAndPredict.ino": "arduino/fit_and_predict.ino",
        f"{SERIAL}/AnswerComputer.ino": "sketch.ino",
        f"{SERIAL}/pfn_serial.h": "pfn_serial.h",
        f"{SERIAL}/pfn_serial.c": "pfn_serial.c",
    },
    "platformio": {"library.json": "platformio/library.json"},
    "esp-idf": {
        "CMakeLists.txt": "esp_idf/CMakeLists.txt",
        "idf_component.yml": "esp_idf/idf_component.yml",
        "Kconfig": "Kconfig",
    },
    "zephyr": {
        "zephyr/module.yml": "zephyr/module.yml",
        "zephyr/CMakeLists.txt": "zephyr/CMakeLists.txt",
        "zephyr/Kconfig": "zephyr/Kconfig",
        "Kconfig": "Kconfig",
    },
    "micropython": {
        "micropython/pfn_module.c": "micropython/pfn_module.c",
        "micropython.cmake": "micropython/micropython.cmake",
        "micropython.mk": "micropython/micropython.mk",
    },
}
"""The files of each package, in the library's folder, and where they come from in boards/."""
PACKAGES = tuple(name for name in get_args(Package) if name != "all")


def write_package(folder: str | Path, package: Package) -> list[Path]:
    """Write the files of `package` around the library in `folder`, and return their paths; "all"
    packages live in one folder without getting into each other's way.

    Raises FileNotFoundError where `folder` holds no exported library, and ValueError where Arduino
    takes no library of the folder's name.
    """
    folder = Path(folder)
    record = read_record(folder)
    require_package_name(folder, package)
    prefix, sizes = record.get("prefix", PREFIX), {"MAX_FEATURES": record["max_features"]}
    wanted = PACKAGES if package == "all" else (package,)
    sources = {name: source for one in wanted for name, source in FILES[one].items()}
    for name, source in sources.items():
        write_whole(folder / renamed(name, prefix), board_text(source, prefix, **sizes))
    return [folder / renamed(name, prefix) for name in sources]


def require_package_name(folder: Path, package: Package) -> None:
    """Raise ValueError unless `package` may lie in a folder called like `folder`."""
    if package in ("arduino", "all"):
        require_name(folder, "library")
