"""Packages for PlatformIO, ESP-IDF, Zephyr and MicroPython: what their build systems read exists
and names the one set of sources."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import yaml
from export.c_library import random_network

from openpfn import __version__
from openpfn.cli import main
from openpfn.cli.export import CodeCommand
from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.packages import FILES, PACKAGES, Package, write_package
from openpfn.export.record import RECORD

DRIVER = """
function(say)
  message(NOTICE "${ARGV}")
endfunction()
foreach(name IN ITEMS idf_component_register target_compile_definitions zephyr_library_named
        zephyr_library_sources zephyr_include_directories zephyr_compile_definitions add_library
        target_sources target_include_directories target_link_libraries)
  cmake_language(EVAL CODE "function(${name})\\n say(${name} \\${ARGV})\\n endfunction()")
endforeach()
include(${FILE})
"""
"""Commands of build systems that print how they are called."""
CMAKE = [tool for tool in ("cmake",) if shutil.which(tool) is not None]
"""CMake, where it is installed; CI installs it."""


@pytest.fixture(scope="module", params=["pfn", "flower"])
def package(request, tmp_path_factory) -> tuple[Path, str]:
    """A folder with all packages in it, and the library's prefix."""
    folder = tmp_path_factory.mktemp("place") / "Flowers"
    options = CodeOptions("int8", max_features=5, max_classes=4, prefix=request.param)
    write_library(random_network(), folder, options)
    write_package(folder, "all")
    return folder, request.param


def name_of(prefix: str) -> str:
    """The package's name, which two packages of one firmware must not share."""
    return "openpfn" if prefix == "pfn" else f"openpfn_{prefix}"


def configured(cmake: str, file: Path, **variables: object) -> list[list[str]]:
    """The commands that CMake calls in `file`, with their arguments."""
    driver = file.parent / "driver.cmake"
    driver.write_text(DRIVER)
    values = [f"-D{name}={value}" for name, value in variables.items()]
    command = [cmake, *values, f"-DFILE={file}", "-P", str(driver)]
    done = subprocess.run(command, capture_output=True, text=True)
    driver.unlink()
    assert done.returncode == 0, done.stderr
    return [line.split(";") for line in done.stderr.splitlines()]


def test_all_packages_share_one_folder_and_one_source(package):
    folder, prefix = package
    library = {f"{prefix}.h", f"{prefix}.c", f"{prefix}_model.h", f"{prefix}_weights.h", RECORD}
    written = {name.replace("pfn_", f"{prefix}_") for files in FILES.values() for name in files}
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == library | written
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"@[A-Z_]+@", text), f"{path} has a hole"
            if prefix != "pfn":
                assert not re.search(r"\b(pfn|PFN)_|\bpfn\.[ch]", text), f"{path} names pfn"


def test_a_package_alone_is_what_it_is_among_all(package, tmp_path):
    folder, prefix = package
    for name in PACKAGES:
        alone = tmp_path / name
        write_library(random_network(), alone, CodeOptions("int8", 5, max_classes=4, prefix=prefix))
        for path in write_package(alone, name):
            assert path.read_text() == (folder / path.relative_to(alone)).read_text()


def test_platformio_reads_its_json(package):
    folder, prefix = package
    fields = json.loads((folder / "library.json").read_text())
    assert fields["name"].lower() == name_of(prefix)
    assert re.fullmatch(r"[^:/,@<>]{1,100}", fields["name"])
    assert fields["version"] == __version__
    assert 0 < len(fields["description"]) <= 255
    assert fields["license"] == "MIT"
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9 -]{0,49}", word) for word in fields["keywords"])
    assert fields["frameworks"] == fields["platforms"] == "*"
    assert (folder / fields["headers"]).is_file()
    source = folder / fields["build"]["srcDir"]
    built = [rule[2:-1] for rule in fields["build"]["srcFilter"] if rule.startswith("+")]
    assert built == [f"{prefix}.c"]
    assert all((source / name).is_file() for name in built)


@pytest.mark.parametrize("cmake", CMAKE)
def test_esp_idf_registers_the_component(package, cmake):
    folder, prefix = package
    manifest = yaml.safe_load((folder / "idf_component.yml").read_text())
    assert manifest["version"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["version"])
    assert manifest["description"]
    assert re.fullmatch(r">=\d+\.\d+", manifest["dependencies"]["idf"])
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{3,32}", tag) for tag in manifest["tags"])
    macro = f"{prefix.upper()}_MAX_FEATURES"
    chosen = {"COMPONENT_LIB": "us", f"CONFIG_{macro}": 4}
    assert configured(cmake, folder / "CMakeLists.txt", **chosen) == [
        ["idf_component_register", "SRCS", f"{prefix}.c", "INCLUDE_DIRS", "."],
        ["target_compile_definitions", "us", "PUBLIC", f"{macro}=4"],
    ]


@pytest.mark.parametrize("cmake", CMAKE)
def test_zephyr_finds_its_module(package, cmake):
    folder, prefix = package
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert module["name"] == name_of(prefix)
    lists, kconfig = (folder / module["build"][name] for name in ("cmake", "kconfig"))
    macro = f"CONFIG_{prefix.upper()}"
    assert configured(cmake, lists / "CMakeLists.txt") == [], "nothing unless it is asked for"
    asked = configured(
        cmake, lists / "CMakeLists.txt", **{f"{macro}_LIBRARY": "y", f"{macro}_MAX_FEATURES": 3}
    )
    calls = {name: arguments for name, *arguments in asked}
    assert calls["zephyr_library_named"] == [name_of(prefix)]
    assert Path(calls["zephyr_library_sources"][0]).samefile(folder / f"{prefix}.c")
    assert Path(calls["zephyr_include_directories"][0]).samefile(folder)
    assert calls["zephyr_compile_definitions"] == [f"{prefix.upper()}_MAX_FEATURES=3"]
    text = kconfig.read_text()
    assert f"config {prefix.upper()}_LIBRARY" in text
    included = re.findall(r'rsource "(.*)"', text)
    assert [(kconfig.parent / name).resolve() for name in included] == [
        (folder / "Kconfig").resolve()
    ]


def test_kconfig_offers_no_more_than_was_exported(package):
    folder, prefix = package
    text = (folder / "Kconfig").read_text()
    assert f"config {prefix.upper()}_MAX_FEATURES" in text
    assert "range 1 5" in text
    assert "default 5" in text
    assert (
        f"#define {prefix.upper()}_EXPORTED_FEATURES 5"
        in (folder / f"{prefix}_model.h").read_text()
    )


@pytest.mark.parametrize("cmake", CMAKE)
def test_micropython_finds_its_module(package, cmake):
    folder, prefix = package
    code = folder / "micropython" / f"{prefix}_module.c"
    assert f"MP_REGISTER_MODULE(MP_QSTR_{name_of(prefix)}, " in code.read_text()
    sources = {str(code), str(folder / f"{prefix}.c")}
    words = (folder / "micropython.mk").read_text().replace("$(USERMOD_DIR)", str(folder)).split()
    assert {word for word in words if word.endswith(".c")} == sources
    assert f"-I{folder}" in words
    target = f"usermod_{name_of(prefix)}"
    calls = {name: more for name, *more in configured(cmake, folder / "micropython.cmake")}
    assert calls["add_library"] == [target, "INTERFACE"]
    assert calls["target_sources"][:2] == [target, "INTERFACE"]
    assert set(calls["target_sources"][2:]) == sources
    assert calls["target_include_directories"] == [target, "INTERFACE", str(folder)]
    assert calls["target_link_libraries"] == ["usermod", "INTERFACE", target]


@pytest.mark.slow
def test_the_command_writes_a_package(tmp_path, capsys):
    out = tmp_path / "firmware"
    assert main(["export", "c", "tiny", "--out", str(out), "--package", "zephyr"]) == 0
    assert (out / "zephyr" / "module.yml").is_file()
    assert not (out / "library.json").exists()
    assert "zephyr/module.yml" in capsys.readouterr().out


def test_the_command_offers_every_package():
    assert set(get_args(Package)) == {*FILES, "all"}
    assert CodeCommand("tiny", Path("a")).package is None
    for name in get_args(Package):
        assert name in str(CodeCommand.__dataclass_fields__["package"].type)


def test_a_folder_without_a_library_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="openpfn export c"):
        write_package(tmp_path, "zephyr")
