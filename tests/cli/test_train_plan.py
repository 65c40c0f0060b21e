"""`openpfn train --plan`: stages from a file, resumed by the same command."""

from __future__ import annotations

from openpfn.cli import main

PLAN = """
preset = "micro"
prior = "scm_mlp"

[training]
batch_size = 2
log_every = 1
n_workers = 0

[tasks]
max_features = 3
max_seq_len = 16
max_classes = 3
learnable = false

[[stages]]
name = "short"
num_steps = 2

[[stages]]
name = "long"
num_steps = 1
replay = 0.5
tasks = { max_seq_len = 24 }
"""


@pytest.mark.slow
def test_the_command_trains_the_stages_and_goes_on_where_it_stands(tmp_path, capsys) -> None:
    path, out = tmp_path / "small.toml", tmp_path / "run"
    path.write_text(PLAN)
    command = ["train", "--plan", str(path), "--out", str(out)]
    assert main(command) == 0
    assert f"trained 1 steps on 2 tasks; weights in {out}/2-long" in capsys.readouterr().out
    assert main(command) != 0
    assert "--resume" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert "finished already" in capsys.readouterr().out
    path.write_text(PLAN.replace("num_steps = 1", "num_steps = 3"))
    assert main([*command, "--resume"]) == 0
    assert "trained 3 steps" in capsys.readouterr().out


def test_a_plan_that_is_not_there_or_means_nothing_is_one_line(tmp_path, capsys) -> None:
    assert main(["train", "--plan", str(tmp_path / "none.toml")]) != 0
    assert "none.toml" in capsys.readouterr().err
    (tmp_path / "bad.toml").write_text(PLAN.replace("batch_size", "batchsize"))
    assert main(["train", "--plan", str(tmp_path / "bad.toml")]) != 0
    assert "batchsize" in capsys.readouterr().err
