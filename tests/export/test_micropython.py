"""The module for MicroPython, run on as much of MicroPython as it needs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export.c_library import random_network
from export.test_freeze import table

from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.packages import write_package
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.targets import SANITIZERS

HEADERS = Path(__file__).parent / "headers"


@pytest.mark.slow
def test_the_module_answers_what_the_library_answers_and_tells_mistakes(tmp_path):
    folder, shown = tmp_path / "Flowers", table()
    options = CodeOptions("f32", max_features=5, max_classes=4, prefix="flower")
    write_library(random_network(), folder, options)
    write_package(folder, "micropython")
    values = ", ".join("NAN" if np.isnan(x) else f"{x:.9e}f" for x in shown.x.ravel())
    (tmp_path / "rows.h").write_text(
        f"#include <math.h>\nenum {{ N = {len(shown.y)}, D = {shown.x.shape[1]}, K = 3 }};\n"
        f"static const float x[] = {{{values}}};\n"
        f"static const uint8_t y[] = {{{', '.join(map(str, shown.y))}}};\n"
    )
    sources = [
        HEADERS / "micropython.c",
        folder / "flower.c",
        folder / "micropython" / "flower_module.c",
    ]
    warnings = ["-std=gnu99", "-Wall", "-Wextra", "-Wno-clobbered", "-Werror", *SANITIZERS]
    includes = [f"-I{HEADERS}", f"-I{folder}", f"-I{tmp_path}"]
    command = ["gcc", *warnings, "-ffp-contract=off", *includes, *map(str, sources), "-o", "board"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(
        ["./board"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"ASAN_OPTIONS": "detect_leaks=0"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    library = HostLibrary(folder, "-O1")
    assert library.fit(shown.x, shown.y, 3) == "ok"
    proba = library.predict_proba(shown.x[:1], 3)[0]
    expected = " ".join(f"{bits:08x}" for bits in proba.view(np.uint32)) + f" {proba.argmax()}"
    messages = [
        "FLOWER_ERROR_NOT_FITTED",
        *[re.escape(expected)] * 3,
        "FLOWER_ERROR_CLASSES",
        "30 values, must be 29",
        "120 values, must be 116",
        "FLOWER_ERROR_LABEL",
        "3 values, must be 4",
        "no sequence",
        "FLOWER_ERROR_SAVED",
    ]
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert re.match(message, line)
