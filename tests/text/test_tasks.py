"""Tables of a corpus as tasks: what is read, held out, predicted, and recorded."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from openpfn.configs.text import TextTrainingConfig
from openpfn.text.tasks import read_tasks
from tests.text.test_data_loader import write_corpus


def write_folder(folder, n=80):
    """A table of classes and one of numbers, with an index as folders of tables have it."""
    random = np.random.default_rng(0)
    sizes = random.normal(size=n).round(4)
    colours = random.choice(["red", "blue", "green"], n)
    names = [f"number {i}" for i in range(n)]
    frames = {
        "beers": pd.DataFrame({"name": names, "colour": colours, "size": sizes, "kind": colours}),
        "cars": pd.DataFrame({"colour": colours, "price": sizes * 7 + 3}),
    }
    targets = {"beers": ("kind", "classification"), "cars": ("price", "regression")}
    folder.mkdir(exist_ok=True)
    index = []
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        target, task = targets[name]
        entry = {"name": name, "file": f"{name}.csv", "target": target, "task": task}
        index.append(entry | {"family": f"{name}-family", "licence_class": "open"})
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def test_a_folder_of_tables_becomes_tasks_with_rows_held_out(tmp_path):
    config = TextTrainingConfig(validation_share=0.2)
    tasks, record = read_tasks(write_folder(tmp_path / "corpus"), "v1.1", config)
    assert [task.name for task in tasks] == ["beers", "cars"]
    assert [(len(t.training), len(t.validation)) for t in tasks] == [(64, 16), (64, 16)]
    assert [t.training.task for t in tasks] == ["classification", "regression"]
    assert [table["family"] for table in record["tables"]] == ["beers-family", "cars-family"]
    assert all(len(table["sha256"]) == 64 for table in record["tables"])


def test_numbers_are_standardised_by_the_training_rows_alone(tmp_path):
    tasks, _ = read_tasks(write_folder(tmp_path / "corpus"), "v1.1", TextTrainingConfig())
    y = tasks[1].training.y
    assert y.mean() == pytest.approx(0, abs=1e-5)
    assert y.std() == pytest.approx(1, abs=1e-5)
    assert abs(tasks[1].validation.y.mean()) > 1e-4


def test_other_columns_are_predicted_from_the_rest(tmp_path):
    config = TextTrainingConfig(other_targets=5)
    tasks, _ = read_tasks(write_folder(tmp_path / "corpus"), "v1.1", config)
    by_name = {task.name: task.training for task in tasks}
    assert set(by_name) == {"beers", "beers:colour", "beers:size", "cars", "cars:colour"}
    assert by_name["beers:colour"].task == "classification"
    assert by_name["beers:size"].task == "regression"
    assert set(by_name["beers:size"].columns) == {"name", "colour", "kind"}


def test_a_table_is_read_up_to_so_many_rows(tmp_path):
    config = TextTrainingConfig(max_rows=30, validation_share=0.1)
    tasks, _ = read_tasks(write_folder(tmp_path / "corpus"), "v1", config)
    assert [len(task.training) + len(task.validation) for task in tasks] == [30, 30]


def test_a_corpus_of_raw_strings_becomes_tasks_of_version_1(tmp_path):
    path = write_corpus(tmp_path / "corpus.h5")
    tasks, record = read_tasks(path, "v1", TextTrainingConfig())
    assert [task.name for task in tasks] == ["BIN_BEER", "REG_CARS"]
    assert tasks[0].training.numbers.shape[1:] == (3, 1)
    assert abs(tasks[1].training.y.mean()) < 1e-5
    assert len(record["sha256"]) == 64
    with pytest.raises(ValueError, match=r"holds strings and numbers of version v1"):
        read_tasks(path, "v1.1", TextTrainingConfig())


def test_a_folder_that_is_no_corpus_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no corpus"):
        read_tasks(tmp_path, "v1.1", TextTrainingConfig())
