"""Laws of plans: what the file says holds, and what it cannot mean is refused by name."""

from __future__ import annotations

import pytest

from openpfn.configs.plan import Plan, read_plan

PLAN = """
preset = "tiny"

[model]
max_classes = 4

[training]
batch_size = 2
num_steps = 10

[tasks]
max_features = 5
max_seq_len = 20
max_classes = 4

[[stages]]
name = "short"
learning_rate = 0.01

[[stages]]
name = "long"
num_steps = 4
replay = 0.25
tasks = { max_seq_len = 40 }
"""


def written(tmp_path, text: str):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def test_a_stage_says_what_differs_from_the_plan(tmp_path) -> None:
    plan = read_plan(written(tmp_path, PLAN))
    short, long = plan.stages
    assert plan.model.max_classes == 4
    assert plan.model.attention_type == "linear"
    assert (short.training.num_steps, short.training.learning_rate) == (10, 0.01)
    assert (long.training.num_steps, long.training.batch_size) == (4, 2)
    assert (short.tasks.max_seq_len, long.tasks.max_seq_len) == (20, 40)
    assert (short.replay, long.replay) == (0.0, 0.25)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('preset = "tiny"', 'preset = "huge"', "unknown preset"),
        ("batch_size = 2", "batchsize = 2", r"\[training\] has batchsize"),
        ("replay = 0.25", "replay = 1.5", "replay is 1.5"),
        ('name = "long"', 'name = "short"', "each its own name"),
        ('name = "long"', "", "the name of a stage"),
        ("max_classes = 4\n\n[training]", "max_classes = 2\n\n[training]", "up to 4 classes"),
        ("learning_rate = 0.01", 'learning_rate = "fast"', "learning_rate"),
        ("max_features = 5", "max_features = 0", "max_features"),
        ("[tasks]", "[tasks", "plan.toml"),
    ],
)
def test_what_a_plan_cannot_mean_is_refused_by_name(tmp_path, old, new, words) -> None:
    assert old in PLAN
    with pytest.raises(ValueError, match=words):
        read_plan(written(tmp_path, PLAN.replace(old, new)))


def test_a_plan_without_stages_is_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="no stages"):
        read_plan(written(tmp_path, PLAN[: PLAN.index("[[stages]]")]))


def test_plans_are_told_apart_by_value(tmp_path) -> None:
    path = written(tmp_path, PLAN)
    assert read_plan(path).stages == read_plan(path).stages
    assert isinstance(read_plan(path), Plan)
