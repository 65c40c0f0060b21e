"""Runs that name no folder have each their own, under the default `checkpoint_dir`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_training import ToyNetwork, ToyPrior, same_weights

from openpfn import checkpoint
from openpfn.configs import TrainingConfig
from openpfn.training import run_folder as saving
from openpfn.training import train
from openpfn.wandb import list_available_models

SETTINGS = TrainingConfig(num_steps=4, batch_size=4, save_every=2, n_workers=0)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder to train in, with no tracker set from outside."""
    for name in ("OPENPFN_REGISTRY", "WANDB_PROJECT", "WANDB_ENTITY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trained(settings=SETTINGS, **options):
    return train(ToyPrior(), ToyNetwork(), settings, **options)


def folders() -> set[Path]:
    return set(Path("checkpoints").iterdir())


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("spelled", ["checkpoints", "checkpoints/", "./checkpoints"])
def test_runs_without_a_folder_of_their_own_stand_side_by_side(spelled):
    settings = replace(SETTINGS, checkpoint_dir=spelled)
    first = trained(settings)
    kept = files(first.run_folder)
    second = trained(replace(settings, learning_rate=0.1, overwrite=True))
    assert folders() == {first.run_folder, second.run_folder}
    assert first.run_folder != second.run_folder
    assert files(first.run_folder) == kept
    for model in (first, second):
        assert same_weights(checkpoint.load(model.run_folder, model=ToyNetwork()).model, model)
        assert (model.run_folder / "history.csv").read_text().count("\n") == 2


def test_an_id_that_a_folder_has_is_not_given_again(monkeypatch):
    ids = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr(saving, "new_run_id", lambda: next(ids))
    assert [trained().run_folder.name for _ in range(2)] == ["aaaaaaaa", "bbbbbbbb"]


def test_the_folder_is_called_by_the_id_that_trackers_know():
    model = trained(replace(SETTINGS, wandb_run_name="named"))
    (run,) = list_available_models()
    assert (run.run_name, run.run_id) == ("named", model.run_folder.name)


def test_a_run_goes_on_in_the_folder_that_was_made_for_it():
    whole = trained(replace(SETTINGS, num_steps=8))
    begun = trained()
    resumed = trained(replace(SETTINGS, num_steps=8), resume_from=begun.run_folder)
    assert resumed.run_folder == begun.run_folder
    assert folders() == {whole.run_folder, begun.run_folder}
    assert checkpoint.read_header(begun.run_folder).provenance["step"] == 8


def test_a_run_that_stands_in_the_default_folder_itself_goes_on_there():
    begun = trained(replace(SETTINGS, checkpoint_dir="elsewhere"))
    begun.run_folder.rename("checkpoints")
    resumed = trained(replace(SETTINGS, num_steps=6), resume_from="checkpoints")
    assert resumed.run_folder == Path("checkpoints")
    beside = trained()
    assert beside.run_folder.parent == Path("checkpoints")
    assert checkpoint.read_header("checkpoints").provenance["step"] == 6


def test_a_run_out_of_a_named_folder_that_goes_on_without_a_name_leaves_it_alone():
    named = trained(replace(SETTINGS, checkpoint_dir="mine"))
    kept = files(Path("mine"))
    resumed = trained(replace(SETTINGS, num_steps=6), resume_from="mine")
    assert named.run_folder == Path("mine")
    assert resumed.run_folder.parent == Path("checkpoints")
    assert files(Path("mine")) == kept


def test_a_named_folder_that_holds_a_run_is_refused():
    model = trained()
    trained(replace(SETTINGS, checkpoint_dir="mine"))
    for folder in ("mine", str(model.run_folder)):
        with pytest.raises(FileExistsError, match="already holds a run"):
            trained(replace(SETTINGS, checkpoint_dir=folder))


def test_a_run_that_never_began_leaves_no_folder_and_one_that_saves_nothing_makes_none():
    with pytest.raises(FileNotFoundError, match="no checkpoint at nowhere"):
        trained(replace(SETTINGS, init_from="nowhere"))
    assert folders() == set()
    assert trained(replace(SETTINGS, save_checkpoint=False)).run_folder is None
    assert folders() == set()


def test_the_folder_of_many_runs_says_which_there_are():
    runs = [trained(), trained()]
    with pytest.raises(FileNotFoundError, match="a folder for each of 2 runs") as told:
        trained(resume_from="checkpoints")
    assert all(str(model.run_folder) in str(told.value) for model in runs)
    assert folders() == {model.run_folder for model in runs}
