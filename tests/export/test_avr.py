"""The library on AVR: 16-bit int, double as short as float, no alignment, and 8-bit arithmetic."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from export.c_library import CLibrary, random_network

from openpfn.export.c_code import write_library
from openpfn.export.options import CodeOptions
from openpfn.export.sketch import write_sketch
from openpfn.export.verification.targets import STRICT

COMPILER = [tool for tool in ("avr-gcc",) if shutil.which(tool) is not None]
EMULATOR = [tool for tool in ("simavr",) if shutil.which(tool) is not None and COMPILER]
CHIP = "-mmcu=atmega1284p"
CASES = [("f32", "linear"), ("f32", "ridge"), ("int8", "linear"), ("int", "linear")]
PROGRAM = """
#define F_CPU 16000000UL
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdlib.h>
#include <string.h>
#include "pfn.h"
%(tables)s
static pfn_context context;
static uint8_t room[PFN_SCRATCH_BYTES + 1], saved[PFN_SAVED_BYTES];

static void put(char letter) {
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = (uint8_t)letter;
}
static void put_byte(uint8_t byte) {
    put("0123456789abcdef"[byte >> 4]);
    put("0123456789abcdef"[byte & 15]);
}
static void end_line(char what) {
    put(what);
    put('\\n');
}

int main(void) {
    float logits[3];
    int32_t n_saved = 0;
    UCSR0B = 1 << TXEN0;
    for (uint8_t odd = 0; odd < 2; odd++) { /* any address will do */
        put_byte((uint8_t)pfn_fit(&context, x, y, N, D, 3, room + odd));
        end_line('s');
    }
    for (int16_t q = 0; q < Q; q++) {
        pfn_predict_logits(&context, queries + q * D, logits, room);
        for (int16_t i = 11; i >= 0; i--) {
            put_byte(((uint8_t *)logits)[11 - i]);
        }
        end_line('l');
    }
    pfn_context_save(&context, saved, (int32_t)sizeof saved, &n_saved);
    for (int32_t i = 0; i < n_saved; i++) {
        put_byte(saved[i]);
        if (i %% 32 == 31 || i == n_saved - 1) {
            end_line('c');
        }
    }
    put_byte((uint8_t)pfn_context_load(&context, saved, n_saved));
    end_line('s');
    cli();
    sleep_mode();
    return 0;
}
"""


def avr_gcc(compiler: str, folder: Path, *arguments: str) -> str:
    """Compile in `folder` under the library's strict flags, and return what was printed."""
    command = [compiler, CHIP, *STRICT, "-Os", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "attention"), CASES)
@pytest.mark.parametrize("compiler", COMPILER)
def test_the_library_and_its_protocol_compile_where_int_has_16_bits(
    tmp_path, compiler, backend, attention
):
    model = random_network(n_layers=2, separate_query_weights=True, attention_type=attention)
    write_library(model, tmp_path, CodeOptions(backend, max_features=5, max_classes=3))
    avr_gcc(compiler, tmp_path, "-c", "pfn.c")
    write_sketch(tmp_path)
    avr_gcc(compiler, tmp_path, "-c", "pfn_serial.c")
    (tmp_path / "sizes.c").write_text(
        '#include "pfn.h"\n'
        '_Static_assert(PFN_CACHE_BYTES(1000, 5) == 6000 * (int32_t)sizeof(pfn_cell), "16 bits");\n'
    )
    avr_gcc(compiler, tmp_path, "-Wno-pedantic", "-c", "sizes.c")


def rows(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes, one value missing."""
    rng = np.random.default_rng(0)
    y = (np.arange(n) % 3).astype(np.int32)
    x = (rng.normal(size=(n, 3)) + y[:, None]).astype(np.float32)
    x[4, 1] = np.nan
    return x, y


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "attention"), CASES)
@pytest.mark.parametrize("emulator", EMULATOR)
def test_an_emulated_avr_answers_what_this_machine_answers(tmp_path, emulator, backend, attention):
    model = random_network(d_model=6, n_heads=1, n_layers=2, attention_type=attention)
    host = CLibrary(model, tmp_path, CodeOptions(backend, max_features=3, max_classes=3))
    x, y = rows(20)
    shown, queries = x[:15], x[15:]
    tables = [f"enum {{ N = 15, D = 3, Q = {len(queries)} }};"]
    for name, array in {"x": shown, "queries": queries}.items():
        values = ['__builtin_nanf("")' if np.isnan(v) else f"{v:.9e}f" for v in array.ravel()]
        tables.append(f"static const float {name}[] = {{{', '.join(values)}}};")
    tables.append(f"static const int32_t y[] = {{{', '.join(map(str, y[:15]))}}};")
    (tmp_path / "main.c").write_text(PROGRAM % {"tables": "\n".join(tables)})
    avr_gcc(COMPILER[0], tmp_path, "-c", "pfn.c", "-o", "pfn.o")
    link = [COMPILER[0], CHIP, "-Os", "-std=gnu99", "main.c", "pfn.o", "-o", "main.elf"]
    subprocess.run(link, cwd=tmp_path, check=True)
    run = [emulator, "-m", "atmega1284p", "-f", "16000000", "main.elf"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    plain = re.sub(r"\x1b\[\d*m", "", done.stdout + done.stderr)  # without colours
    printed = re.findall(r"^([0-9a-f]+)([slc])", plain, re.MULTILINE)
    assert [word for word, kind in printed if kind == "s"] == ["00"] * 3
    assert host.fit(shown, y[:15], 3) == "ok"
    answers = "".join(word for word, kind in printed if kind == "l")
    logits = np.frombuffer(bytes.fromhex(answers), dtype="<f4").reshape(-1, 3)
    expected = host.predict_logits(queries, 3)
    if backend == "int":
        np.testing.assert_array_equal(logits.view(np.uint32), expected.view(np.uint32))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    saved = bytes.fromhex("".join(word for word, kind in printed if kind == "c"))
    assert host.load(saved) == "ok", "contexts travel between cores"
    np.testing.assert_allclose(
        host.predict_logits(queries, 3), expected, rtol=0, atol=2e-5 * np.abs(expected).max()
    )
