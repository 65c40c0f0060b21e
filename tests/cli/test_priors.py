"""Laws of `openpfn priors`: what it draws, what it refuses, what it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import tyro

from openpfn.batch import TaskBatch
from openpfn.cli import main
from openpfn.cli.priors import Generate
from openpfn.configs.prior import PriorConfig
from openpfn.data.dump_reader import PriorDumpDataLoader, read_contents
from openpfn.data.stream import task_generator
from openpfn.priors.base import TaskPrior

SMALL = [
    "--num_batches",
    "3",
    "--batch_size",
    "4",
    "--max_features",
    "3",
    "--max_seq_len",
    "16",
    "--max_classes",
    "3",
]


class BlobPrior(TaskPrior):
    """Classes as shifted normal clouds, a few values missing: small and quick."""

    def __init__(self, config: PriorConfig) -> None:
        self.config = config

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        config = self.config
        n_classes = torch.randint(
            config.min_classes, config.max_classes + 1, (n_tasks,), generator=generator
        )
        y = (
            torch.rand(n_tasks, config.max_seq_len, generator=generator) * n_classes[:, None]
        ).floor()
        noise = torch.randn(n_tasks, config.max_seq_len, config.max_features, generator=generator)
        x = noise + 2 * y[:, :, None]
        x[torch.rand(x.shape, generator=generator) < 0.02] = torch.nan
        n_train = int(torch.randint(4, config.max_seq_len - 4, (1,), generator=generator))
        return TaskBatch(x=x, y=y, n_train=n_train, n_classes=n_classes)


class SlopePrior(BlobPrior):
    """The same as regression."""

    def sample(self, n_tasks: int, generator: torch.Generator) -> TaskBatch:
        batch = super().sample(n_tasks, generator)
        assert batch.x is not None
        return TaskBatch(x=batch.x, y=batch.x.nan_to_num().mean(-1), n_train=batch.n_train)


BLOBS = ["--prior", f"{__name__}:BlobPrior"]


def read(path: Path) -> dict[str, Any]:
    hdf5: Any
    with h5py.File(path, "r") as hdf5:
        return {name: hdf5[name][()] for name in hdf5} | dict(hdf5.attrs)


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        np.array_equal(a[k], b[k], equal_nan=np.asarray(a[k]).dtype.kind == "f") for k in a
    )


def test_arguments_and_defaults_are_those_of_tinypfns_document() -> None:
    options = tyro.cli(Generate, args=[])
    assert (options.num_batches, options.batch_size, options.device) == (100, 8, "cpu")
    config = options.config
    assert (config.min_features, config.max_features, config.min_seq_len, config.max_seq_len) == (
        1,
        100,
        None,
        1024,
    )
    assert (config.min_classes, config.max_classes) == (2, 10)
    assert options.path.name == "prior_100x8_1024x100.h5"
    line = (
        "--num_batches 75000 --batch_size 4 --min_features 5 --max_features 5 --min_seq_len 20"
        " --max_seq_len 150 --min_classes 3 --max_classes 3 --device cuda --save_path"
        " tabicl_300k_150x5_exact3class.h5"
    )
    words = line.split()
    with_underscores = tyro.cli(Generate, args=words)
    assert with_underscores == tyro.cli(
        Generate, args=[w.replace("_", "-") if w.startswith("--") else w for w in words]
    )
    assert (
        with_underscores.num_batches,
        with_underscores.config.min_seq_len,
        with_underscores.device,
    ) == (75000, 20, "cuda")
    assert with_underscores.path == Path("tabicl_300k_150x5_exact3class.h5")


def test_a_drawn_file_holds_what_the_prior_draws(tmp_path: Path) -> None:
    assert (
        main(
            [
                "priors",
                "generate",
                *SMALL,
                *BLOBS,
                "--seed",
                "5",
                "--save-path",
                str(tmp_path / "d.h5"),
            ]
        )
        == 0
    )
    prior = BlobPrior(PriorConfig(max_features=3, max_seq_len=16, max_classes=3))
    for i, got in enumerate(PriorDumpDataLoader(tmp_path / "d.h5", 3, 4, shuffle=False)):
        wanted = prior.sample(4, task_generator(5, i))
        torch.testing.assert_close(got.x, wanted.x, rtol=0, atol=0, equal_nan=True)
        assert torch.equal(got.y, wanted.y)
        assert got.n_train == wanted.n_train


@pytest.mark.slow
def test_the_same_seed_draws_the_same_tasks_whatever_the_jobs(tmp_path: Path) -> None:
    for jobs in (1, 2):
        assert (
            main(
                [
                    "priors",
                    "generate",
                    *SMALL,
                    *BLOBS,
                    "--jobs",
                    str(jobs),
                    "--save_path",
                    str(tmp_path / f"{jobs}.h5"),
                ]
            )
            == 0
        )
    assert (
        main(
            [
                "priors",
                "generate",
                *SMALL,
                *BLOBS,
                "--seed",
                "1",
                "--save_path",
                str(tmp_path / "other.h5"),
            ]
        )
        == 0
    )
    assert same(read(tmp_path / "1.h5"), read(tmp_path / "2.h5"))
    assert not np.array_equal(read(tmp_path / "1.h5")["y"], read(tmp_path / "other.h5")["y"])


def test_a_file_is_neither_overwritten_nor_mixed_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate = ["priors", "generate", *SMALL, *BLOBS, "--save_path", str(tmp_path / "d.h5")]
    assert main(generate) == 0
    before = (tmp_path / "d.h5").read_bytes()
    assert main(generate) == 2
    assert main([*generate, "--seed", "2", "--resume"]) == 2
    said = capsys.readouterr().err
    assert (
        "exists already. Choose another path, continue it with --resume, or replace it with --force"
        in said
    )
    assert "was begun with seed 0 (now 2)" in said
    assert (tmp_path / "d.h5").read_bytes() == before
    assert main([*generate, "--force", "--seed", "2"]) == 0
    assert (tmp_path / "d.h5").read_bytes() != before


def test_a_lengthened_file_equals_one_drawn_at_once(tmp_path: Path) -> None:
    short, rest = SMALL[2:], BLOBS
    assert (
        main(["priors", *short, *rest, "--num_batches", "2", "--save_path", str(tmp_path / "a.h5")])
        == 0
    )
    assert (
        main(
            [
                "priors",
                *short,
                *rest,
                "--num_batches",
                "5",
                "--resume",
                "--save_path",
                str(tmp_path / "a.h5"),
            ]
        )
        == 0
    )
    assert (
        main(
            [
                "priors",
                *short,
                *rest,
                "--num_batches",
                "5",
                "--resume",
                "--save_path",
                str(tmp_path / "b.h5"),
            ]
        )
        == 0
    )
    assert same(read(tmp_path / "a.h5"), read(tmp_path / "b.h5"))


def test_filled_files_hold_no_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate = ["priors", "generate", *SMALL, *BLOBS, "--save_path"]
    assert main([*generate, str(tmp_path / "nan.h5")]) == 0
    assert "--fill-missing stores means" in capsys.readouterr().out
    assert main([*generate, str(tmp_path / "mean.h5"), "--fill_missing"]) == 0
    assert "--fill-missing" not in capsys.readouterr().out
    with_nan, filled = read(tmp_path / "nan.h5")["X"], read(tmp_path / "mean.h5")["X"]
    assert np.isnan(with_nan).any()
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(with_nan)], with_nan[~np.isnan(with_nan)])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["generate", *BLOBS, "--save_path", "/no/such/folder/d.h5"],
            "there is no folder /no/such/folder",
        ),
        (
            ["generate", "--prior", "nothing", "--save_path", "/tmp/never-written.h5"],
            "unknown priors name 'nothing'",
        ),
        (
            ["draw"],
            "unknown word 'draw' after `openpfn priors`. Choose one of generate, show, info",
        ),
        (["info", "/no/such/dump.h5"], "there is no prior dump at /no/such/dump.h5"),
        (["show", "--out", "/no/such/folder/p.png"], "there is no folder /no/such/folder"),
    ],
)
def test_wrong_words_are_told_in_one_line(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["priors", *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--num_batches", "0"], "num_batches is 0, must be at least 1"),
        (["--min_features", "9", "--max_features", "3"], "min_features 9 and max_features 3"),
        (["--force", "--resume"], "--resume continues a file and --force replaces it"),
    ],
)
def test_impossible_options_are_told(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["priors", *words])
    assert ended.value.code == 2
    assert complaint in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.slow
def test_the_module_draws_like_the_command_and_help_imports_no_torch(tmp_path: Path) -> None:
    words, path = [*SMALL, *BLOBS, "--save_path"], str(Path(__file__).parent)
    command = [sys.executable, "-m", "openpfn.priors", *words, str(tmp_path / "module.h5")]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})
    assert main(["priors", "generate", *words, str(tmp_path / "command.h5")]) == 0
    assert same(read(tmp_path / "module.h5"), read(tmp_path / "command.h5"))
    program = """
import sys
from openpfn.cli import main
try:
    main(["priors", "generate", "--help"])
finally:
    assert "torch" not in sys.modules
"""
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    for word in ("--save-path", "--num-batches", "--min-seq-len", "--jobs"):
        assert word in said


@pytest.mark.slow
def test_info_tells_the_profile_of_a_prior_and_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--max_seq_len", "60", "--max_features", "3", "--max_classes", "2"]
    assert main(["priors", "info", "--n_tasks", "6", *words, *BLOBS]) == 0
    said = capsys.readouterr().out
    for line in (
        "random forest: gain",
        "logistic regression: gain",
        "rows",
        "tasks of 2 classes                             100%",
    ):
        assert line in said
    assert (
        main(
            ["priors", *words, *BLOBS, "--num_batches", "2", "--save_path", str(tmp_path / "d.h5")]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["priors", "info", str(tmp_path / "d.h5"), "--n_tasks", "6"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "16 classification tasks in batches of 8" in said
    assert "with seed 0 by OpenPFN" in said
    assert "max_features = 3" in said


@pytest.mark.slow
@pytest.mark.parametrize("share", ["0", "0.5", "1"])
def test_info_tells_classes_numbers_and_both(
    share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--max_seq_len", "40", "--max_features", "3", "--n_tasks", "64"]
    assert main(["priors", "info", *words, "--regression_share", share, "--prior", "scm_tree"]) == 0
    said = capsys.readouterr().out
    assert "tasks of numbers" in said
    assert ("random forest: gain" in said) == (share != "1")
    assert ("tasks of 2 classes" in said) == (share != "1")
    assert ("random forest: explained variance" in said) == (share != "0")


@pytest.mark.slow
def test_info_tells_a_file_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slopes, path = ["--prior", f"{__name__}:SlopePrior"], tmp_path / "slopes.h5"
    assert main(["priors", *SMALL, *slopes, "--save_path", str(path)]) == 0
    assert main(["priors", "info", str(path), "--n_tasks", "4"]) == 0
    assert "ridge regression: explained variance" in capsys.readouterr().out


@pytest.mark.slow
def test_show_draws_a_prior_a_file_and_regression(tmp_path: Path) -> None:
    words = ["--max_seq_len", "40", "--max_features", "4"]
    assert (
        main(["priors", "show", "--n_tasks", "2", *words, *BLOBS, "--out", str(tmp_path / "p.png")])
        == 0
    )
    assert (
        main(
            ["priors", *words, *BLOBS, "--num_batches", "1", "--save_path", str(tmp_path / "d.h5")]
        )
        == 0
    )
    assert (
        main(
            [
                "priors",
                "show",
                str(tmp_path / "d.h5"),
                "--n_tasks",
                "2",
                "--out",
                str(tmp_path / "f.svg"),
            ]
        )
        == 0
    )
    slopes = ["--prior", f"{__name__}:SlopePrior"]
    assert (
        main(
            ["priors", "show", "--n_tasks", "1", *words, *slopes, "--out", str(tmp_path / "r.png")]
        )
        == 0
    )
    for name in ("p.png", "r.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (
        "d.h5" in (tmp_path / "f.svg").read_text() or len((tmp_path / "f.svg").read_text()) > 10_000
    )


@pytest.mark.slow
def test_tasks_of_a_real_table_are_written_pictured_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    table = (
        "--prior real_tables --table.source wine --table.total-rows 40 --table.train-rows 30"
        " --table.num-features 6".split()
    )
    assert main(["priors", "generate", *table, "--num_batches", "3"]) == 0
    contents = read_contents(tmp_path / "prior_3x8_40x6.h5")
    assert (contents.n_tasks, contents.max_num_classes, set(contents.n_train)) == (24, 3, {30})
    assert contents.attributes["header"]["prior_config"]["source"] == "wine"
    assert main(["priors", "info", "prior_3x8_40x6.h5", "--n-tasks", "8"]) == 0
    said = capsys.readouterr().out
    assert "drawn from real_tables with seed 0" in said
    assert "total_rows = 40" in said
    assert main(["priors", "show", *table, "--n-tasks", "2"]) == 0
    assert (tmp_path / "prior.png").stat().st_size > 10_000
