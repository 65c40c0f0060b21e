"""The WebAssembly modules of the page: their C sources, and how clang compiles them."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from openpfn import checkpoint
from openpfn.export.c_code import library
from openpfn.export.network.mechanisms import runtime
from openpfn.export.options import Backend, CodeOptions
from openpfn.playground.kept_weights import kept_weights

MOST_FEATURES = 64
"""Most columns of a table beside its target."""
COMPILER = "Debian clang version 14.0.6"
"""What compiled the modules that are shipped; others may write other bytes."""
FLAGS = (
    "--target=wasm32-unknown-unknown -std=c99 -ffreestanding -nostdlib -mbulk-memory -Wall -Wextra"
    " -Wpedantic -Wconversion -Wdouble-promotion -Werror -Wl,--no-entry -Wl,--strip-all"
    " -Wl,--export=__heap_base"
).split()
OPTIMIZE = {
    "page.c": ["-O2"],  # the chip's arithmetic, to the bit
    "kept.c": ["-O3", "-msimd128", "-fassociative-math", "-fno-signed-zeros", "-fno-trapping-math"],
}


def exported(backend: Backend) -> dict[str, str]:
    """Return the C sources of `tiny` as `openpfn export c` writes them, and the page's face."""
    files = library(checkpoint.load("tiny").model, CodeOptions(backend, MOST_FEATURES))
    return files | {"page.c": own("page.c")}


def kept(name: str, numbers: bool) -> dict[str, str]:
    """Return the C sources of a shipped network that keeps its context."""
    model = checkpoint.load(name).model
    files = {"kept.c": own("kept.c"), "kept_weights.h": kept_weights(model, numbers)}
    return files | {"numbers_float.c": runtime("numbers_float.c")}


MODULES: dict[str, Callable[[], dict[str, str]]] = {
    "tiny": lambda: exported("f32"),
    "tiny-int8": lambda: exported("int8"),
    "tiny-int": lambda: exported("int"),
    "nano": lambda: kept("nano-1", numbers=False),
    "nano-numbers": lambda: kept("nano-numbers", numbers=True),
}
"""Their sources by file name, by the name of the module."""


def own(name: str) -> str:
    """Return a C file of the playground."""
    return (resources.files("openpfn.playground") / "wasm" / name).read_text(encoding="utf-8")


def sources_hash(sources: dict[str, str]) -> str:
    """Return the SHA-256 of C sources, of those that they share and of the compiler's options."""
    digest = hashlib.sha256()
    shared = {name: own(f"include/{name}") for name in ("math.h", "string.h")}
    for name, text in sorted((sources | shared).items()):
        digest.update(f"{name}\n{len(text)}\n{text}".encode())
    digest.update(" ".join([*FLAGS, *OPTIMIZE[main_file(sources)]]).encode())
    return digest.hexdigest()


def compiled(sources: dict[str, str]) -> bytes:
    """Return the module that clang makes of `sources`. Raises RuntimeError where it cannot."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shared = {f"include/{file}": own(f"include/{file}") for file in ("math.h", "string.h")}
        (folder / "include").mkdir()
        for file, text in (sources | shared).items():
            (folder / file).write_text(text, encoding="utf-8")
        main = main_file(sources)
        files = [file for file in ("pfn.c", main) if file in sources]
        command = ["clang", *FLAGS, *OPTIMIZE[main], "-isystem", "include", "-I.", *files]
        done = subprocess.run(
            [*command, "-o", "module.wasm"], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"clang could not compile {main}:\n{done.stderr}")
        return (folder / "module.wasm").read_bytes()


def main_file(sources: dict[str, str]) -> str:
    """Return the file that holds the functions which the page calls."""
    return next(name for name in OPTIMIZE if name in sources)


def compiler() -> str:
    """Return what the clang on the path calls itself. Raises FileNotFoundError without one."""
    if shutil.which("clang") is None or shutil.which("wasm-ld") is None:
        raise FileNotFoundError(
            "clang and wasm-ld are needed to compile for WebAssembly: apt-get install clang lld"
        )
    done = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0]
