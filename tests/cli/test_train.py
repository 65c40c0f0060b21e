"""`openpfn train`, `info` and `plot history`, as a person uses them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from openpfn import checkpoint, cli
from openpfn.cli.train import parse
from openpfn.configs import PRESETS

QUICK = [
    "--preset",
    "micro",
    "--num-steps",
    "6",
    "--log-every",
    "2",
    "--eval-every",
    "3",
    "--eval-batches",
    "1",
    "--batch-size",
    "2",
]
QUICK += [
    "--n-workers",
    "0",
    "--tasks.max-features",
    "3",
    "--tasks.max-seq-len",
    "30",
    "--seed",
    "4",
]


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["train", *QUICK, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(finished_run, tmp_path):
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.mark.slow
def test_the_options_reach_the_run(run):
    header = checkpoint.read_header(run)
    assert (header.training_config or {})["seed"] == 4
    assert header.provenance["data"]["config"]["max_seq_len"] == 30
    assert header.provenance["data"]["prior"] == "mixture"
    assert header.provenance["tasks"] == 12
    assert pd.read_csv(run / "history.csv")["step"].tolist() == [2, 3, 4, 6]
    assert sorted(
        path.name
        for path in run.iterdir()
        if path.suffix != ".lock" and not path.name.startswith(".")
    ) == [
        "best.safetensors",
        "history.csv",
        "latest.safetensors",
    ]


@pytest.mark.slow
def test_resume_takes_the_recorded_options_and_those_given_anew(run, capsys):
    assert cli.main(["train", "--out", str(run), "--resume", "--num-steps", "9"]) == 0
    assert "trained 9 steps on 18 tasks" in capsys.readouterr().out
    header = checkpoint.read_header(run)
    assert header.model_config["d_model"] == 8
    assert header.provenance["data"]["config"]["max_features"] == 3
    assert (header.training_config or {})["log_every"] == 2


def test_presets_are_changed_field_by_field():
    options = parse(
        [
            "--preset",
            "nano",
            "--model.n-layers",
            "2",
            "--attention-type",
            "linear",
            "--optimizer",
            "muon",
        ]
    )
    assert (options.model.n_layers, options.model.d_model, options.model.attention_type) == (
        2,
        PRESETS["nano"].d_model,
        "linear",
    )
    assert options.training.optimizer == "muon"
    assert options.training.checkpoint_dir == "runs/nano"
    assert parse(["--checkpoint_dir", "elsewhere"]).training.checkpoint_dir == "elsewhere"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "giant"], "unknown preset 'giant'"),
        (["--prior", "crystal_ball", *QUICK], "unknown priors name"),
        (["--attention-type", "hypnosis", *QUICK], "unknown attention name"),
        (["--dump", "nowhere.h5", *QUICK], "nowhere.h5"),
        (["--tasks.max-classes", "7", *QUICK], "tells 4 apart"),
        (["--resume"], "no checkpoint at"),
        (
            ["--prior", "real_tables", "--table.source", "digits", *QUICK],
            "the table has 10 classes, but the network tells 4 apart",
        ),
        (
            [
                "--prior",
                "real_tables",
                "--table.source",
                "nowhere.csv",
                "--table.target",
                "y",
                *QUICK,
            ],
            "no file nowhere.csv",
        ),
    ],
)
def test_wrong_options_are_told_in_one_line(tmp_path, capsys, arguments, message):
    assert cli.main(["train", "--out", str(tmp_path / "r"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_second_run_in_the_folder_is_refused(run, capsys):
    assert cli.main(["train", *QUICK, "--out", str(run)]) == 2
    assert "already holds a run" in capsys.readouterr().err
    assert cli.main(["train", *QUICK, "--out", str(run), "--overwrite"]) == 0


TABLE = [
    "--prior",
    "real_tables",
    "--table.source",
    "wine",
    "--table.total-rows",
    "30",
    "--table.train-rows",
    "20",
]


@pytest.mark.slow
def test_training_draws_from_a_real_table_and_resumes_on_it(tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli.main(["train", *QUICK, *TABLE, "--out", str(folder)]) == 0
    assert cli.main(["train", "--out", str(folder), "--resume", "--num-steps", "9"]) == 0
    assert "trained 9 steps on 18 tasks" in capsys.readouterr().out
    data = checkpoint.read_header(folder).provenance["data"]
    assert (data["prior"], data["config"]["source"], data["config"]["total_rows"]) == (
        "real_tables",
        "wine",
        30,
    )


@pytest.mark.slow
def test_training_reads_a_dump_and_resumes_on_it(tmp_path, capsys):
    dump = tmp_path / "tasks.h5"
    make = ["priors", "generate", "--num-batches", "6", "--batch-size", "2"]
    make += ["--max-features", "3", "--max-seq-len", "30", "--max-classes", "4"]
    assert cli.main([*make, "--save-path", str(dump)]) == 0
    arguments = [
        *(QUICK[:6]),
        "--batch-size",
        "2",
        "--dump",
        str(dump),
        "--out",
        str(tmp_path / "run"),
    ]
    assert cli.main(["train", *arguments]) == 0
    assert cli.main(["train", "--out", str(tmp_path / "run"), "--resume", "--num-steps", "8"]) == 0
    assert checkpoint.read_header(tmp_path / "run").provenance["data"] == {"dump": str(dump)}


@pytest.mark.slow
def test_info_tells_what_is_in_a_checkpoint(run, capsys):
    assert cli.main(["info", str(run)]) == 0
    told = capsys.readouterr().out
    n_parameters = re.search(r"model tabular: ([\d,]+) parameters", told)
    model = checkpoint.load(run).model
    assert n_parameters
    assert int(n_parameters[1].replace(",", "")) == sum(p.numel() for p in model.parameters())
    for words in (
        "--resume continues",
        "attention_type",
        "max_seq_len",
        "learning_rate",
        "tasks       12",
    ):
        assert words in told
    assert cli.main(["info", str(run / "best.safetensors")]) == 0
    assert "weights only" in capsys.readouterr().out


def test_info_tells_a_broken_file_in_one_line(tmp_path, capsys):
    (tmp_path / "x.safetensors").write_text("nonsense")
    assert cli.main(["info", str(tmp_path / "x.safetensors")]) == 2
    assert "not a whole safetensors file" in capsys.readouterr().err


@pytest.mark.slow
def test_plot_history_draws_runs_and_csv_files(run, tmp_path, capsys):
    figure = tmp_path / "figures" / "h.png"
    assert (
        cli.main(
            [
                "plot",
                "history",
                str(run),
                str(run / "history.csv"),
                "--out",
                str(figure),
                "--against",
                "seconds",
                "--log",
            ]
        )
        == 0
    )
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert cli.main(["plot", "history", str(tmp_path), "--out", str(figure)]) == 2
    assert cli.main(["plot", "portrait"]) == 2
    assert "Choose history" in capsys.readouterr().err
