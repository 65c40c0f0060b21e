"""Verify a board: fit and ask it over its serial line, in the words of pfn_serial.h."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float

from openpfn.export.record import recorded_prefix
from openpfn.export.verification.host import STATUSES
from openpfn.export.verification.measure import Measurement
from openpfn.export.verification.vectors import Vectors

VERSION = 1
GREETING_SECONDS = 0.5
"""Seconds that the board may take to answer a greeting before it is greeted again: opening the port
restarts many boards."""


class SerialLine:
    """Lines of words over a serial port, 8 data bits, no parity. Works where Python has termios:
    Linux, macOS, BSD.

    Raises OSError where the port cannot be opened, ValueError for a rate that the system does not
    know.
    """

    def __init__(self, port: str, baud: int = 115200, timeout: float = 10.0) -> None:
        import termios
        import tty

        speed = getattr(termios, f"B{baud}", None)
        if speed is None:
            raise ValueError(
                f"the system knows no rate of {baud} bits a second. The sketch speaks at 115200."
            )
        self.port, self.baud, self.timeout, self.pending = port, baud, timeout, b""
        self.file = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            tty.setraw(self.file)
            settings = termios.tcgetattr(self.file)
            settings[2] |= termios.CLOCAL | termios.CREAD  # adapters have no carrier to wait for
            settings[4] = settings[5] = speed
            termios.tcsetattr(self.file, termios.TCSANOW, settings)
            termios.tcflush(self.file, termios.TCIOFLUSH)
        except termios.error as error:
            os.close(self.file)
            raise OSError(
                f"{port} is no serial port ({error.args[-1]}). Name one such as /dev/ttyUSB0 or"
                " /dev/ttyACM0."
            ) from None

    def __enter__(self) -> SerialLine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self.file)

    def write(self, word: str, values: Iterable[int] = ()) -> None:
        """Send a line."""
        left = " ".join([word, *(f"{value & 0xFFFFFFFF:08x}" for value in values)]).encode() + b"\n"
        end = time.monotonic() + self.timeout
        while left:
            if not select.select([], [self.file], [], max(0.0, end - time.monotonic()))[1]:
                raise TimeoutError(
                    f"{self.port} took no more bytes for {self.timeout:g} s. Is the board still"
                    " connected?"
                )
            try:
                left = left[os.write(self.file, left) :]
            except OSError:
                raise self._cut_off() from None

    def read(self, seconds: float | None = None) -> str:
        """Return the next line. Raises TimeoutError where none has come after `seconds` (the
        timeout, if absent), ConnectionError at the end."""
        seconds = self.timeout if seconds is None else seconds
        end = time.monotonic() + seconds
        while b"\n" not in self.pending:
            if not select.select([self.file], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{self.port} said nothing more for {seconds:g} s.")
            try:
                got = os.read(self.file, 4096)
            except OSError:  # a pseudo-terminal or an unplugged adapter
                got = b""
            if not got:
                raise self._cut_off()
            self.pending += got
        line, _, self.pending = self.pending.partition(b"\n")
        return line.decode("ascii", errors="replace").strip("\r ")

    def _cut_off(self) -> ConnectionError:
        return ConnectionError(f"{self.port} was cut off. Is the board still connected?")


class Board:
    """A board that runs the sketch, at the other end of `line`, greeted first. Errors are OSErrors
    that say what the board said."""

    def __init__(self, line: SerialLine) -> None:
        self.line = line
        facts = self._greet()
        if facts[0] != VERSION:
            raise ConnectionError(
                f"the sketch on {line.port} speaks version {facts[0]}, we speak {VERSION}. Export"
                " and flash it again."
            )
        (
            self.model_id,
            self.max_features,
            self.max_classes,
            self.context_bytes,
            self.scratch_bytes,
        ) = facts[1:]

    def fit(self, vectors: Vectors) -> None:
        """Show the context rows, as often as the board asks for them."""
        self.line.write("fit", (vectors.x.shape[1], vectors.n_classes))
        rows, labels = bits(vectors.x), vectors.y
        while True:
            word, values = self._next()
            if (word, len(values)) == ("row", 1) and values[0] < len(rows):
                self.line.write("row", (int(labels[values[0]]), *rows[values[0]]))
            elif (word, len(values)) == ("row", 1):
                self.line.write("end")
            elif (word, len(values)) == ("fitted", 1):
                return self._require_ok("fit", values[0])
            else:
                raise ConnectionError(
                    f"{self.line.port} answered fit with {word!r} and {len(values)} numbers, not"
                    " with row or fitted."
                )

    def ask(self, row: list[int], n_classes: int) -> tuple[list[int], int]:
        """Return the bits of a row's logits, and the microseconds that they took."""
        self.line.write("ask", row)
        word, values = self._next()
        if word != "answer" or len(values) < 2:
            raise ConnectionError(
                f"{self.line.port} answered ask with {word!r} and {len(values)} numbers, not with"
                " answer."
            )
        self._require_ok("ask", values[0])
        if len(values) != 2 + n_classes:
            raise ConnectionError(
                f"{self.line.port} gave {len(values) - 2} logits, not {n_classes}: a line was"
                " damaged. Try again."
            )
        return values[2:], values[1]

    def _greet(self) -> list[int]:
        """Return the facts that the board says of itself, passing over what it says before (a
        start-up message, the end of an old line)."""
        end = time.monotonic() + self.line.timeout
        heard = ""
        while time.monotonic() < end:
            self.line.write("\nhello")  # an old line may stand unfinished
            try:
                while time.monotonic() < end:  # another program may talk without a pause
                    heard = self.line.read(GREETING_SECONDS)
                    word, values = parsed(heard)
                    if (word, len(values)) == ("openpfn", 6):
                        return values
            except TimeoutError:
                continue
        last = f"; it last said {heard[:60]!r}" if heard else ""
        raise TimeoutError(
            f"no board that runs the sketch answered on {self.line.port} at {self.line.baud} bits a"
            f" second within {self.line.timeout:g} s{last}. Flash what `openpfn export c --sketch`"
            " writes, and close other programs that use the port."
        )

    def _next(self) -> tuple[str, list[int]]:
        """Return the next line that answers no greeting."""
        while True:
            word, values = parsed(self.line.read())
            if word == "error":
                raise ConnectionError(
                    f"the board on {self.line.port} did not understand a line: it was damaged. Try"
                    " again."
                )
            if word != "openpfn":
                return word, values

    def _require_ok(self, what: str, status: int) -> None:
        if status != 0:
            name = STATUSES[status].upper() if status < len(STATUSES) else status
            raise ConnectionError(
                f"the board on {self.line.port} ended {what} with PFN_ERROR_{name}: pfn.h tells"
                " what that means."
            )


def measure_board(
    folder: str | Path, port: str, vectors: Vectors, baud: int = 115200, timeout: float = 10.0
) -> Measurement:
    """Return what the board on `port`, flashed with the library in `folder`, answers to `vectors`;
    its costs hold predict_microseconds.

    Raises OSError where the board does not answer as it should, and ValueError where it runs
    something else than `folder` or has too little room.
    """
    with SerialLine(port, baud, timeout) as line:
        board = Board(line)
        wanted = model_id(folder)
        if board.model_id != wanted:
            raise ValueError(
                f"the board on {port} runs network {board.model_id:08x}, {folder} holds"
                f" {wanted:08x}. Flash that one."
            )
        for what, needed, room in (
            ("features", vectors.x.shape[1], board.max_features),
            ("classes", vectors.n_classes, board.max_classes),
        ):
            if needed > room:
                raise ValueError(
                    f"the rows have {needed} {what}, the board was compiled for {room}. Compile it"
                    " with larger maxima."
                )
        board.fit(vectors)
        answers = [board.ask(row, vectors.n_classes) for row in bits(vectors.queries)]
    logits = np.array([answer for answer, _ in answers], dtype=np.uint32).view(np.float32)
    costs = {"context_bytes": board.context_bytes, "scratch_bytes": board.scratch_bytes}
    return Measurement(
        logits, costs | {"predict_microseconds": int(np.median([took for _, took in answers]))}
    )


def parsed(line: str) -> tuple[str, list[int]]:
    """Return the word of a line and its numbers; any other line is a word without numbers."""
    word, *numbers = line.split(" ")
    if all(re.fullmatch("[0-9a-f]{8}", number) for number in numbers):
        return word, [int(number, 16) for number in numbers]
    return line, []


def bits(rows: Float[np.ndarray, "n D"]) -> list[list[int]]:
    """Return the bits of each float of each row."""
    return np.ascontiguousarray(rows, dtype=np.float32).view(np.uint32).tolist()


def model_id(folder: str | Path) -> int:
    """Return the number that tells the network in `folder` from others."""
    header = Path(folder) / f"{recorded_prefix(folder)}_model.h"
    found = re.search(r"#define \w+_MODEL_ID 0x([0-9a-f]+)u", header.read_text(encoding="utf-8"))
    assert found is not None, f"{header.name} is ours and names its id"
    return int(found[1], 16)
