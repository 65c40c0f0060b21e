"""The Arduino package: its layout, and its example, compiled for this machine and fed through
Serial."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export.c_library import random_network

from openpfn import __version__
from openpfn.cli import main
from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.packages import write_package
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.targets import STRICT

HEADERS = Path(__file__).parent / "headers"
CATEGORIES = (
    "Display Communication Signal-Input/Output Sensors Device-Control Timing Data-Storage"
    " Data-Processing Other"
).split()
"""What Arduino's library specification 1.5 knows."""
NUMBER = r"\d+\.\d{6}"


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """An exported library as an Arduino package."""
    folder = tmp_path_factory.mktemp("place") / "Flowers"
    options = CodeOptions("f32", max_features=5, max_classes=4, prefix="flower")
    write_library(random_network(), folder, options)
    write_package(folder, "arduino")
    return folder


@pytest.fixture(scope="module")
def board(package, tmp_path_factory) -> Path:
    """The example, compiled for this machine."""
    build = tmp_path_factory.mktemp("build")
    library = [*STRICT, "-O1", "-ffp-contract=off", "-c", str(package / "flower.c")]
    subprocess.run(["gcc", *library], cwd=build, check=True)
    sketch = str(package / "examples" / "FitAndPredict" / "FitAndPredict.ino")
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", f"-I{package}"]
    source = ["-include", str(HEADERS / "Arduino.h"), "-x", "c++", sketch, "-x", "none"]
    subprocess.run(["g++", *flags, *source, "flower.o", "-o", "board"], cwd=build, check=True)
    return build / "board"


def said(board: Path, *lines: str) -> list[str]:
    """What the board says to `lines`, after its greeting."""
    told = "".join(line + "\n" for line in lines)
    done = subprocess.run([board], input=told, capture_output=True, text=True, timeout=20)
    greeting, *answers = done.stdout.splitlines()
    assert greeting.startswith("send rows")
    return answers


def as_line(label: object, row: np.ndarray) -> str:
    """A row as it is typed."""
    return ",".join([str(label), *("" if np.isnan(x) else f"{x:.9g}" for x in row)])


def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Context rows, labels and questions, with missing values."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 4)).astype(np.float32)
    x[3, 1] = x[20, 0] = x[21, 3] = np.nan
    return x[:20], np.arange(20) % 3, x[20:]


@pytest.mark.slow
def test_the_example_answers_what_the_library_answers(package, board):
    x, y, queries = rows()
    lines = [as_line(label, row) for label, row in zip(y, x, strict=True)]
    answers = said(board, *lines, *(as_line("?", row) for row in queries))
    library = HostLibrary(package, "-O1")
    assert library.fit(x, y, 3) == "ok"
    assert re.fullmatch(r"fit of 20 rows took \d+ microseconds", answers[0])
    assert len(answers) == 5, "one fit, and an answer to each question"
    for answer, proba in zip(answers[1:], library.predict_proba(queries, 3), strict=True):
        assert re.fullmatch(rf"classes( {NUMBER}){{3}} took \d+ microseconds", answer)
        printed = [float(word) for word in re.findall(NUMBER, answer)]
        np.testing.assert_allclose(printed, proba, atol=5.1e-7)


@pytest.mark.slow
def test_rows_that_come_later_are_fitted_before_the_next_answer(board):
    x, y, queries = rows()
    lines = [as_line(label, row) for label, row in zip(y, x, strict=True)]
    ask = as_line("?", queries[0])
    whole = said(board, *lines, ask)[-1]
    in_steps = said(board, *lines[:9], ask, *lines[9:], ask)
    again = said(board, *lines[:5], "clear", *lines, ask)
    assert [line.split(" took")[0] for line in (in_steps[-1], again[-1])] == [
        whole.split(" took")[0]
    ] * 2
    assert [line.split(" took")[0] for line in in_steps if line.startswith("fit")] == [
        "fit of 9 rows",
        "fit of 20 rows",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["?,1,2"], "no rows are known"),
        (["0,1,2", "1,1"], "not as many features"),
        (["0,1,2,3,4,5,6"], "more features than"),
        (["4,1,2"], "classes are 0, 1, 2"),
        (["-1,1,2"], "classes are 0, 1, 2"),
        (["zero,1,2"], "a row is"),
        (["0,1,two"], "a row is"),
        (["0,1,2 3"], "a row is"),
        (["0"], "a row is"),
        (["0,1,2;"], "a row is"),
        (["0," + "1" * 200], "too long"),
        (["0,1", "1,1e30", "?,1"], "failed with status 6"),
        (["0,1", "1,2", "?,inf"], "failed with status 6"),
        ([f"{i % 2},{i}" for i in range(61)], "no room"),
    ],
)
def test_what_cannot_be_read_is_refused_and_does_no_harm(board, lines, message):
    answers = said(board, *lines, "clear", "0,1,2", "1,3,4", "?,1,2")
    assert message in answers[-3]
    assert answers[-2].startswith("fit of 2 rows")
    assert answers[-1].startswith("classes")


def test_the_properties_are_those_that_arduino_reads(package):
    lines = (package / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert not fields["name"].lower().startswith("arduino")
    assert fields["name"] == "OpenPFN_flower", "two libraries need two names"
    assert fields["version"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"].replace(" ", "-") in CATEGORIES
    assert re.match(r"https?://\S+$", fields["url"])
    assert fields["architectures"] == "*"
    assert fields["sentence"] not in fields["paragraph"], "paragraph follows sentence"
    assert all(fields[name] for name in ("author", "maintainer", "license"))
    assert fields["includes"].split(",") == ["flower.h"]
    assert (package / "flower.h").is_file()


def test_keywords_are_names_of_the_library(package):
    declared = (package / "flower.h").read_text() + (package / "flower_model.h").read_text()
    lines = [line.split("\t") for line in (package / "keywords.txt").read_text().splitlines()]
    assert all(kind in ("KEYWORD1", "KEYWORD2", "LITERAL1") for _, kind in lines)
    assert all(re.search(rf"\b{word}\b", declared) for word, _ in lines)
    words = {word for word, _ in lines}
    functions = re.findall(r"^flower_status (flower_\w+)\(", declared, re.MULTILINE)
    statuses = re.findall(r"^ +(FLOWER_(?:OK|ERROR_\w+))", declared, re.MULTILINE)
    assert len(functions) == 6
    assert {*functions, *statuses} <= words


def test_the_layout_is_that_of_an_arduino_library(package):
    sketches = list(package.rglob("*.ino"))
    assert len(sketches) == 2
    for path in sketches:
        assert path.relative_to(package).parts == ("examples", path.stem, path.name)
    # Arduino compiles whatever source lies in the root of a library without src/
    assert [path.name for path in package.glob("*.c*")] == ["flower.c"]
    assert not (package / "src").exists()
    for path in package.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", path.name)
        assert not path.is_symlink()


def test_the_sketch_for_a_computer_is_among_the_examples(package, tmp_path):
    sketch = package / "examples" / "AnswerComputer"
    compiled = [*STRICT, f"-I{package}", "-c", str(sketch / "flower_serial.c"), "-o", "a.o"]
    subprocess.run(["gcc", *compiled], cwd=tmp_path, check=True)
    source = ["-include", str(HEADERS / "Arduino.h"), "-x", "c++", "AnswerComputer.ino"]
    flags = ["-std=gnu++11", "-Wall", "-Wextra", "-Werror", f"-I{package}", "-fsyntax-only"]
    subprocess.run(["g++", *flags, *source], cwd=sketch, check=True)


def test_a_sketch_beside_a_package_that_holds_it_is_refused(tmp_path, capsys):
    export = ["export", "c", "tiny", "--out", str(tmp_path / "a"), "--package"]
    with pytest.raises(SystemExit, match="2"):
        main([*export, "arduino", "--sketch"])
    assert "examples/AnswerComputer" in capsys.readouterr().err


@pytest.mark.slow
def test_a_library_whose_name_arduino_does_not_take_is_refused(tmp_path, capsys):
    out = tmp_path / "my flowers"
    assert main(["export", "c", "tiny", "--out", str(out), "--package", "arduino"]) == 2
    assert "a library is called like its folder" in capsys.readouterr().err
    assert not out.exists()
