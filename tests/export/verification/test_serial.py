"""A board on a serial line, played by a pseudo-terminal: the sketch itself compiled for this
machine, and boards that misbehave."""

from __future__ import annotations

import configparser
import os
import pty
import re
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from export.c_library import random_network

from openpfn import __version__
from openpfn.cli import main
from openpfn.cli.export import CodeCommand
from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.sketch import write_sketch
from openpfn.export.verification.host import HostLibrary
from openpfn.export.verification.measure import program
from openpfn.export.verification.serial import Board, SerialLine, bits, measure_board, model_id
from openpfn.export.verification.targets import SANITIZERS, STRICT, find_target
from openpfn.export.verification.vectors import Vectors

ARDUINO = Path(__file__).parents[1] / "headers" / "Arduino.h"
"""What the sketch needs of Arduino, on standard input and output."""


@pytest.fixture(scope="module")
def firmware(tmp_path_factory) -> Path:
    """An exported library with its sketch, and the sketch compiled for this machine: `board`."""
    folder = tmp_path_factory.mktemp("place") / "firmware"
    assert (
        main(["export", "c", "tiny", "--out", str(folder), "--max-features", "5", "--sketch"]) == 0
    )
    build = folder / "build"
    build.mkdir()
    compiler = find_target("host").compiler
    for name in ("pfn.c", "pfn_serial.c"):
        subprocess.run([compiler, *STRICT, "-O1", "-c", str(folder / name)], cwd=build, check=True)
    strict = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-include", str(ARDUINO)]
    sketch = [
        "-x",
        "c++",
        str(folder / "firmware.ino"),
        "-x",
        "none",
        "pfn.o",
        "pfn_serial.o",
        f"-I{folder}",
    ]
    subprocess.run([compiler, *strict, *sketch, "-o", "board"], cwd=build, check=True)
    return folder


@pytest.fixture
def flashed(firmware) -> Iterator[str]:
    """The port of a board that runs the sketch."""
    board, computer = pty.openpty()
    tty.setraw(computer)
    process = subprocess.Popen([firmware / "build" / "board"], stdin=board, stdout=board)
    os.close(board)
    yield os.ttyname(computer)
    os.close(computer)
    process.wait(10)


def facts(folder: Path, model: int | None = None) -> bytes:
    """The greeting of a board with the library in `folder`."""
    numbers = (1, model_id(folder) if model is None else model, 5, 4, 4000, 2000)
    return b"openpfn " + b" ".join(b"%08x" % number for number in numbers) + b"\n"


@contextmanager
def board_that(answers: Callable[[str], bytes | None]) -> Iterator[str]:
    """The port of a board that answers each line so; None hangs up."""
    board, computer = pty.openpty()
    tty.setraw(computer)

    def run() -> None:
        with (
            os.fdopen(board, "r+b", buffering=0) as line,
            suppress(OSError),
        ):  # the computer hangs up
            while (answer := answers(line.readline().decode().strip())) is not None:
                line.write(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield os.ttyname(computer)
    os.close(computer)
    thread.join(0.1)  # it may still be writing to nobody


def vectors(n_rows: int = 12, n_columns: int = 4) -> Vectors:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n_rows + 3, n_columns)).astype(np.float32)
    x[2, 1] = np.nan
    return Vectors(x[:n_rows], (np.arange(n_rows) % 3).astype(np.int32), x[n_rows:], 3)


def verify(folder: Path, port: str, *more: str) -> int:
    return main(
        [
            "export",
            "verify",
            str(folder),
            "--port",
            port,
            "--rows",
            "12",
            "--queries",
            "3",
            "--timeout",
            "1.2",
            *more,
        ]
    )


@pytest.mark.slow
def test_a_board_answers_with_the_bits_of_the_library(firmware, flashed):
    measured, library = measure_board(firmware, flashed, vectors()), HostLibrary(firmware)
    assert library.fit(vectors().x, vectors().y) == "ok"
    assert measured.logits.tobytes() == library.predict_logits(vectors().queries, 3).tobytes()
    assert measured.ram_bytes == library.n_context + library.n_scratch


@pytest.mark.slow
def test_the_command_verifies_a_board(firmware, flashed, capsys):
    assert verify(firmware, flashed) == 0
    assert "microseconds" in capsys.readouterr().out


@pytest.mark.slow
def test_a_board_is_as_it_was_after_lines_that_make_no_sense(firmware, flashed):
    with SerialLine(flashed, timeout=5) as line:
        board = Board(line)
        wrong_numbers = (
            "ask 0123",
            "ask 0123456g",
            "ask 000000000",
            f"ask{' 00000000' * 9}",
            "fit 00000001",
        )
        for nonsense in (" ", "rows", "x" * 50, "hello  ", *wrong_numbers):
            line.write(nonsense)
            while (heard := line.read()).startswith("openpfn"):
                pass
            assert heard == "error", nonsense
        with pytest.raises(ConnectionError, match="NOT_FITTED"):
            board.ask([], 0)
        with pytest.raises(ConnectionError, match="LABEL"):
            board.fit(Vectors(vectors().x, vectors().y + 1, vectors().queries, 3))
        board.fit(vectors())
        assert len(board.ask(bits(vectors().queries)[0], 3)[0]) == 3


@pytest.mark.slow
def test_greetings_that_a_board_answers_late_do_no_harm(firmware, flashed):
    with SerialLine(flashed, timeout=5) as line:
        for _ in range(4):  # while it starts
            line.write("\nhello")
        board = Board(line)
        board.fit(vectors())
        assert len(board.ask(bits(vectors().queries)[0], 3)[0]) == 3


def test_a_row_that_is_cut_off_ends_the_fit_and_nothing_else(firmware, flashed):
    with SerialLine(flashed, timeout=5) as line:
        Board(line)
        line.write("fit", (4, 3))
        assert line.read() == "row 00000000"
        line.write("row 0000")
        while (heard := line.read()).startswith("openpfn"):
            pass
        assert heard == "fitted 00000007", "PFN_ERROR_SOURCE"
        Board(line).fit(vectors())


def test_a_board_that_answers_wrongly_fails(firmware, capsys):
    answer = b"answer 00000000 00000010 3f800000 3f800000 3f800000\n"
    answers = {"hello": facts(firmware), "fit": b"fitted 00000000\n", "ask": answer, "": b""}
    with board_that(lambda heard: answers[heard.split(" ")[0]]) as port:
        assert verify(firmware, port) == 1
    assert "FAILED" in capsys.readouterr().out


MISBEHAVING = {
    "says nothing": (lambda heard, folder: b"", "no board that runs the sketch answered"),
    "says something else": (lambda heard, folder: b"ready, steady\n", "ready, steady"),
    "never stops talking": (lambda heard, folder: b"tick\n" * 5_000_000, "it last said 'tick'"),
    "runs another network": (lambda heard, folder: facts(folder, model=7), "runs network 00000007"),
    "stops after its greeting": (
        lambda heard, folder: facts(folder) if heard == "hello" else b"",
        "said nothing more",
    ),
    "is cut off": (
        lambda heard, folder: {"hello": facts(folder), "fit": b"row 00000000\n", "": b""}.get(
            heard.split(" ")[0]
        ),
        "cut off",
    ),
    "talks nonsense": (
        lambda heard, folder: facts(folder) if heard == "hello" else b"row\n" * bool(heard),
        "answered fit with 'row'",
    ),
    "does not understand": (
        lambda heard, folder: facts(folder) if heard == "hello" else b"error\n" * bool(heard),
        "did not understand",
    ),
    "refuses": (
        lambda heard, folder: (
            facts(folder) if heard == "hello" else b"fitted 00000006\n" * bool(heard)
        ),
        "PFN_ERROR_VALUE",
    ),
    "is of another version": (
        lambda heard, folder: facts(folder).replace(b"00000001", b"00000009", 1),
        "version 9",
    ),
    "is too small": (
        lambda heard, folder: facts(folder).replace(b" 00000005 ", b" 00000002 "),
        "compiled for 2",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", MISBEHAVING)
def test_a_board_that_misbehaves_is_told(firmware, capsys, how):
    answer, message = MISBEHAVING[how]
    with board_that(lambda heard: answer(heard, firmware)) as port:
        assert verify(firmware, port) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("port", "more", "message"),
    [
        ("/dev/no-such-port", [], "No such file"),
        (__file__, [], "no serial port"),
        ("/dev/null", ["--baud", "12345"], "12345"),
    ],
)
def test_what_is_no_port_is_told(firmware, capsys, port, more, message):
    assert verify(firmware, port, *more) == 2
    assert message in capsys.readouterr().err


def test_arduino_and_platformio_find_what_they_look_for(firmware):
    """Fields of Arduino's library specification 1.5, and a build environment per board for
    PlatformIO."""
    lines = (firmware / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    needed = {
        "name",
        "version",
        "author",
        "maintainer",
        "sentence",
        "paragraph",
        "category",
        "url",
        "architectures",
        "includes",
    }
    assert needed <= set(fields)
    assert (fields["version"], fields["category"], fields["architectures"]) == (
        __version__,
        "Data Processing",
        "*",
    )
    assert all((firmware / name).is_file() for name in fields["includes"].split(","))
    config = configparser.ConfigParser()
    config.read(firmware / "platformio.ini")
    boards = [section for section in config.sections() if section.startswith("env:")]
    assert len(boards) >= 3
    assert all({"platform", "board"} <= set(config[section]) for section in boards)
    assert config["env"]["framework"] == "arduino"
    source = firmware / config["platformio"]["src_dir"]
    assert (source / "firmware.ino").is_file()
    assert (
        f"Serial.begin({config['env']['monitor_speed']})" in (source / "firmware.ino").read_text()
    )


def test_a_folder_whose_name_arduino_does_not_take_is_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="letters, digits"):
        write_sketch(tmp_path / "my firmware")
    assert main(["export", "c", "tiny", "--out", str(tmp_path / "-x y"), "--sketch"]) == 2
    assert not (tmp_path / "-x y").exists()
    assert CodeCommand("tiny", tmp_path).sketch is False


def test_a_port_and_a_target_at_once_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", "verify", "firmware", "--port", "/dev/ttyUSB0", "--target", "cortex-m0"])
    assert "--target" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("n", [4_000, pytest.param(1_000_000, marks=pytest.mark.long)])
def test_no_line_has_a_finding(tmp_path, n):
    write_library(
        random_network(), tmp_path / "firmware", CodeOptions("f32", max_features=3, max_classes=3)
    )
    write_sketch(tmp_path / "firmware")
    (tmp_path / "firmware" / "fuzz_serial.c").write_text(program("fuzz_serial.c"))
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", *SANITIZERS]
    sources = ["pfn.c", "pfn_serial.c", "fuzz_serial.c"]
    subprocess.run(
        [find_target("host").compiler, *strict, *sources, "-o", "fuzz"],
        cwd=tmp_path / "firmware",
        check=True,
    )
    done = subprocess.run(
        ["./fuzz", str(n)], cwd=tmp_path / "firmware", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    inputs, _, fitted, asked = (int(word) for word in re.findall(r"\d+", done.stdout))
    assert inputs == n
    assert min(fitted, asked) > n // 10, "hardly any conversation goes well"
