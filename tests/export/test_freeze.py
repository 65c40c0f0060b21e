"""A context fitted on this machine and frozen in flash predicts what the chip would have predicted
after fitting it."""

from __future__ import annotations

import itertools
import subprocess

import numpy as np
import pytest
from export.c_library import random_network

from openpfn.cli import main
from openpfn.export.c_code import write_library
from openpfn.export.freeze import as_comment, write_fitted
from openpfn.export.network.c_structs import without_comments
from openpfn.export.network.mechanisms import runtime
from openpfn.export.options import BACKENDS, CodeOptions
from openpfn.export.tables import ContextTable, context_table
from openpfn.export.verification.host import STATUSES, HostLibrary
from openpfn.export.verification.measure import measure
from openpfn.export.verification.targets import SANITIZERS, STRICT, TARGETS, find_target
from openpfn.export.verification.vectors import Vectors

SOFT_FLOAT = [name for name in ("rv32imc", "cortex-m3") if TARGETS[name].missing() is None][:1]
"""An emulated core whose arithmetic is the host's to the bit: it never fuses a multiplication and
an addition."""


def table(n: int = 30, n_columns: int = 4) -> ContextTable:
    """Three classes; one column does not vary, another lacks values."""
    rng = np.random.default_rng(0)
    y = (np.arange(n) % 3).astype(np.int32)
    x = (rng.normal(size=(n, n_columns)) + y[:, None]).astype(np.float32)
    x[:, 1], x[::7, 2] = 4, np.nan
    return ContextTable(
        "rows.csv", "kind", x, y, tuple("abcd"[:n_columns]), ("no", "maybe */", "yes")
    )


def vectors_of(shown: ContextTable) -> Vectors:
    queries = shown.x[:5] + np.float32(0.25)
    queries[0, 3] = np.nan
    return Vectors(shown.x, shown.y, queries, len(shown.classes))


def exported(folder, backend="f32", **changes):
    write_library(
        random_network(n_layers=2, **changes),
        folder,
        CodeOptions(backend, max_features=6, max_classes=4),
    )
    return folder


QUICK = [("host", "int"), ("rv32imc", "f32")]
CASES = [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
    for case in itertools.product(("host", *SOFT_FLOAT), BACKENDS)
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "backend"), CASES)
def test_a_frozen_context_gives_the_bits_of_a_fitted_one(tmp_path, target, backend):
    folder = exported(tmp_path, backend)
    write_fitted(folder, table())
    fitted, frozen = (
        measure(folder, target, vectors_of(table()), ("-O1",), frozen=which)
        for which in (False, True)
    )
    assert frozen.logits.tobytes() == fitted.logits.tobytes()
    assert frozen.costs["context_bytes"] == 0
    assert frozen.ram_bytes == fitted.costs["scratch_bytes"]


@pytest.mark.slow
def test_every_state_of_a_context_is_frozen(tmp_path):
    folder = exported(tmp_path, attention_type="ridge", separate_query_weights=True)
    write_fitted(folder, table())
    library, shown = HostLibrary(folder), vectors_of(table())
    assert library.fit(shown.x, shown.y, 3) == "ok"
    frozen = measure(folder, "host", shown, tuple(SANITIZERS), frozen=True)
    assert frozen.logits.tobytes() == library.predict_logits(shown.queries, 3).tobytes()


@pytest.mark.slow
def test_the_header_compiles_as_c_and_as_cpp_without_a_warning(tmp_path):
    write_fitted(exported(tmp_path), table())
    (tmp_path / "use.c").write_text(
        '#include "pfn_fitted.h"\nint32_t rows(void);\nint32_t rows(void) { return'
        " pfn_fitted.n_rows; }\n"
    )
    compiler, checks = (
        find_target("host").compiler,
        ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-c", "use.c"],
    )
    subprocess.run([compiler, *STRICT, "-c", "use.c"], cwd=tmp_path, check=True)
    subprocess.run([compiler, "-x", "c++", "-std=c++11", *checks], cwd=tmp_path, check=True)
    too_small = subprocess.run(
        [compiler, "-DPFN_MAX_FEATURES=3", *checks], cwd=tmp_path, capture_output=True, text=True
    )
    assert "more features or classes than the library" in too_small.stderr


@pytest.mark.slow
def test_a_frozen_context_of_other_weights_is_refused(tmp_path):
    write_fitted(exported(tmp_path), table())
    exported(tmp_path, seed=1)
    with pytest.raises(RuntimeError, match=f"status {STATUSES.index('not_fitted')}"):
        measure(tmp_path, "host", vectors_of(table()), ("-O0",), frozen=True)


def test_statuses_are_those_of_the_header():
    header = without_comments(runtime("pfn.h"))
    enum = header.partition("typedef enum {")[2].partition("}")[0]
    names = [
        word.split("=")[0].strip().removeprefix("PFN_").removeprefix("ERROR_").lower()
        for word in enum.split(",")
    ]
    assert tuple(names) == STATUSES


@pytest.mark.slow
def test_the_command_freezes_a_file_and_says_what_it_read(tmp_path, capsys):
    (tmp_path / "train.csv").write_text(
        "kind,width,height\nbig,1,\nsmall,2,3.5\nbig,1.5,4\nsmall,7,3\n"
    )
    words = [
        "export",
        "c",
        "tiny",
        "--out",
        str(tmp_path / "firmware"),
        "--context",
        str(tmp_path / "train.csv"),
        "--target",
        "kind",
    ]
    assert main(words) == 0
    assert "4 rows" in capsys.readouterr().out
    text = (tmp_path / "firmware" / "pfn_fitted.h").read_text()
    assert "0: width, 1: height" in text
    assert "0: big, 1: small" in text
    assert main(["export", "verify", str(tmp_path / "firmware"), "--frozen", "--optimize=-O1"]) == 0
    assert "static RAM" in capsys.readouterr().out


@pytest.mark.slow
def test_verifying_a_frozen_context_needs_one(tmp_path, capsys):
    assert main(["export", "c", "tiny", "--out", str(tmp_path)]) == 0
    assert main(["export", "verify", str(tmp_path), "--frozen"]) == 2
    assert "--context" in capsys.readouterr().err


BAD = {
    "no file": (None, None, "no file"),
    "no such column": ("a,b\n1,x\n2,y\n", "c", "has no column 'c'"),
    "words": ("a,b,c\nred,1,x\nblue,2,y\n", "c", "a: categories"),
    "too many classes": (
        "a,c\n" + "".join(f"{i},{i % 11}\n" for i in range(23)),
        "c",
        "11 classes; the library carries 10",
    ),
    "too many features": (
        ",".join("abcdefghi") + ",y\n" + "1,2,3,4,5,6,7,8,9,x\n2,2,3,4,5,6,7,8,9,z\n",
        "y",
        "9 features",
    ),
    "no features": ("c\n1\n2\n", "c", "0 features"),
    "one row": ("a,c\n1,x\n", "c", "'x' alone"),
    "one class": ("a,c\n1,x\n2,x\n", "c", "'x' alone"),
    "infinite": ("a,c\n1,x\ninf,y\n", "c", "infinite"),
    "huge": ("a,c\n1,x\n1e300,y\n", "c", "infinite"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_table_that_cannot_be_a_context_is_told(tmp_path, capsys, case):
    text, target, message = BAD[case]
    if text is not None:
        (tmp_path / "train.csv").write_text(text)
    words = [
        "--context",
        str(tmp_path / "train.csv"),
        *([] if target is None else ["--target", target]),
    ]
    assert main(["export", "c", "tiny", "--out", str(tmp_path / "firmware"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "firmware" / "pfn_fitted.h").exists()


def test_a_target_without_a_table_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["export", "c", "tiny", "--out", str(tmp_path), "--target", "kind"])
    assert "--context" in capsys.readouterr().err


def test_missing_values_are_kept_and_the_last_column_is_the_target(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n,1\nna,2\n3,1\n")
    read = context_table(str(tmp_path / "t.csv"))
    assert (read.target, read.classes) == ("b", ("1", "2"))
    np.testing.assert_array_equal(read.x, np.array([[np.nan], [np.nan], [3]], dtype=np.float32))


def test_names_cannot_end_a_comment():
    assert "*/" not in as_comment("a*/\nb/*")
