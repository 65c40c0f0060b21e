"""Several libraries in one program, and their headers in C++."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from export.c_library import random_network
from export.test_freeze import table

from openpfn.cli import main
from openpfn.export.c_code import library, write_library
from openpfn.export.freeze import write_fitted
from openpfn.export.options import CodeOptions
from openpfn.export.prefix import renamed
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.serial import model_id
from openpfn.export.verification.targets import STRICT, find_target

STRICT_CPP = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
PREFIXES = {"wine": "f32", "sensor_2": "int8"}
ASK = """
static %(P)s_context %(P)s_shown;
static %(P)s_workspace %(P)s_scratch;
static void ask_%(P)s() {
    float logits[3];
    check(%(P)s_fit(&%(P)s_shown, x, y, %(n)d, %(d)d, 3, &%(P)s_scratch) == %(M)s_OK);
    check(%(P)s_predict_logits(&%(P)s_shown, x, logits, &%(P)s_scratch) == %(M)s_OK);
    print(logits);
    check(%(P)s_predict_logits(&%(P)s_fitted, x, logits, &%(P)s_scratch) == %(M)s_OK);
    print(logits);
}
"""
MAIN = """
#include <cstdio>
#include <cstdlib>
#include <cstring>
static void check(bool is_right) { if (!is_right) exit(1); }
static void print(const float *logits) {
    for (int i = 0; i < 3; i++) {
        unsigned bits;
        std::memcpy(&bits, logits + i, sizeof bits);
        std::printf("%08x\\n", bits);
    }
}
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Two libraries of different networks and numbers."""
    folders = {prefix: tmp_path_factory.mktemp(prefix) for prefix in PREFIXES}
    for seed, (prefix, backend) in enumerate(PREFIXES.items()):
        options = CodeOptions(backend, max_features=5, max_classes=3, prefix=prefix)
        write_library(random_network(seed=seed), folders[prefix], options)
    return folders


@pytest.mark.slow
def test_two_libraries_in_one_cpp_program_answer_as_each_does_alone(folders, tmp_path):
    shown = table()
    for folder in folders.values():
        write_fitted(folder, shown)
    x = ", ".join(f"{value:.9e}f" for value in np.nan_to_num(shown.x).ravel())
    code = [f'#include "{prefix}.h"\n#include "{prefix}_fitted.h"\n' for prefix in folders]
    code += [MAIN, f"static const float x[] = {{{x}}};"]
    code.append(f"static const int32_t y[] = {{{', '.join(map(str, shown.y))}}};")
    n, d = shown.x.shape
    code += [ASK % {"P": prefix, "M": prefix.upper(), "n": n, "d": d} for prefix in folders]
    calls = " ".join(f"ask_{prefix}();" for prefix in folders)
    (tmp_path / "main.cpp").write_text("\n".join([*code, f"int main() {{ {calls} }}\n"]))
    compiler = find_target("host").compiler
    for prefix, folder in folders.items():
        plain = ["-O2", "-ffp-contract=off", "-c", str(folder / f"{prefix}.c")]
        subprocess.run([compiler, *STRICT, *plain], cwd=tmp_path, check=True)
    includes = [f"-I{folder}" for folder in folders.values()]
    objects = [f"{prefix}.o" for prefix in folders]
    command = ["g++", "-std=c++11", *STRICT_CPP, *includes, "main.cpp", *objects, "-o", "both"]
    subprocess.run(command, cwd=tmp_path, check=True)
    printed = subprocess.run(["./both"], cwd=tmp_path, capture_output=True, text=True, check=True)
    answers = np.array([int(word, 16) for word in printed.stdout.split()], dtype=np.uint32)
    for got, folder in zip(answers.reshape(2, 6), folders.values(), strict=True):
        alone = HostLibrary(folder)
        context, asked = np.nan_to_num(shown.x), np.nan_to_num(shown.x[:1])
        expected = []
        for rows in (context, shown.x):
            assert alone.fit(rows, shown.y, 3) == "ok"
            expected.append(alone.predict_logits(asked, 3))
        np.testing.assert_array_equal(got, np.ravel(expected).view(np.uint32))


@pytest.mark.parametrize("standard", ["c++98", "c++11", "c++20"])
def test_the_headers_are_cpp(folders, standard, tmp_path):
    (tmp_path / "a.cpp").write_text('#include "wine.h"\n#include "sensor_2.h"\n')
    includes = [f"-I{folder}" for folder in folders.values()]
    flags = [f"-std={standard}", *STRICT_CPP, *includes, "-fsyntax-only", "a.cpp"]
    subprocess.run(["g++", *flags], cwd=tmp_path, check=True)


def test_every_name_that_a_program_sees_begins_with_the_prefix(folders, tmp_path):
    for prefix, folder in folders.items():
        for path in folder.glob("*.[ch]"):
            assert path.name.startswith(prefix)
        macros = subprocess.run(
            ["gcc", "-dM", "-E", f"{prefix}.h"], cwd=folder, capture_output=True, text=True
        ).stdout
        (tmp_path / "none.h").write_text("#include <stdint.h>\n")
        system = subprocess.run(
            ["gcc", "-dM", "-E", "none.h"], cwd=tmp_path, capture_output=True, text=True
        ).stdout
        ours = set(macros.splitlines()) - set(system.splitlines())
        assert len(ours) > 25
        assert all(line.split()[1].startswith(prefix.upper() + "_") for line in ours)
        subprocess.run(["gcc", "-c", f"{prefix}.c", "-o", str(tmp_path / "a.o")], cwd=folder)
        symbols = subprocess.run(
            ["nm", "-g", "--defined-only", "a.o"], cwd=tmp_path, capture_output=True, text=True
        ).stdout
        names = [line.split()[2] for line in symbols.splitlines()]
        assert len(names) == 6
        assert all(name.startswith(prefix + "_") for name in names)


def test_the_prefix_changes_names_and_nothing_else():
    options = {"max_features": 5, "max_classes": 3}
    plain, other = (
        library(random_network(), CodeOptions(**options, **more))
        for more in ({}, {"prefix": "wine"})
    )
    assert {renamed(name, "wine"): renamed(code, "wine") for name, code in plain.items()} == other
    ids = [
        files[name].partition("MODEL_ID")[2][:12]
        for files, name in ((plain, "pfn_model.h"), (other, "wine_model.h"))
    ]
    assert ids[0] == ids[1], "contexts of one are read by the other"
    assert renamed("-DPFN_MAX_FEATURES=5 openpfn OpenPFN pfn.h", "a") == (
        "-DA_MAX_FEATURES=5 openpfn OpenPFN a.h"
    )


@pytest.mark.slow
def test_commands_know_the_prefix_of_a_folder(tmp_path, capsys):
    out = tmp_path / "firmware"
    export = ["export", "c", "tiny", "--out", str(out), "--max-features", "4", "--backend", "int8"]
    assert main([*export, "--prefix", "flower", "--context", "iris", "--sketch"]) == 0
    assert {path.name for path in out.iterdir()} >= {"flower.h", "flower_fitted.h", "firmware.ino"}
    assert '#include "flower_serial.h"' in (out / "firmware.ino").read_text()
    assert model_id(out) > 0
    for more in ([], ["--frozen"]):
        assert main(["export", "verify", str(out), "--queries", "3", *more]) == 0
    assert main(export) == 2
    assert "holds a library with the prefix flower" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("", "letters"),
        ("Wine", "lower-case"),
        ("2wine", "a letter first"),
        ("wine-1", "lower-case"),
        ("wine_", "lower-case"),
        ("a" * 32, "at most 31"),
        ("math", "<math.h>"),
        ("pfn_context", "another library"),
        ("wine_model", "another library"),
    ],
)
def test_a_prefix_that_is_no_name_or_may_be_anothers_is_refused(prefix, message):
    with pytest.raises(ValueError, match=message):
        CodeOptions(prefix=prefix)
