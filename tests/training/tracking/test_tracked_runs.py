"""What a training tells its trackers, and how its networks are found again on disk."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from tiny_runs import NETWORK, config, trained
from toy_training import ToyPrior, killed_after, same_weights

from openpfn import checkpoint
from openpfn.training import TrainingStopped, train
from openpfn.training.run_folder import kept_steps
from openpfn.training.tracking.tracked import trackers_of
from openpfn.wandb import (
    RunNameScheme,
    RunRegistry,
    create_run_name,
    get_checkpoint_metadata,
    list_available_models,
    list_checkpoints,
    load_by_config,
    load_from_pretrained,
)


@dataclass
class DataConfig:
    num_tasks: float = 100.0
    kind: str = "step-like"


SCHEME = RunNameScheme.from_templates(
    model={"n_layers": None, "d_model": None}, data={"num_tasks": None, "kind": None}
)


class PoolPrior(ToyPrior):
    """Tasks from a pool, as far as its checkpoints can tell."""

    def task_pools(self) -> dict[str, torch.Tensor]:
        return {"weights": torch.arange(6.0).view(2, 3)}


def test_a_run_without_a_name_is_not_tracked(place):
    trained(place / "run")
    assert [path.name for path in place.iterdir()] == ["run"]
    assert "run" not in checkpoint.read_header(place / "run").provenance


@pytest.mark.slow
def test_a_named_run_is_found_by_id_by_name_and_by_configuration(place):
    data = DataConfig()
    name = create_run_name("exp", NETWORK, data_config=data, scheme=SCHEME)
    assert name == "exp-model-n_layers1-d_model8-data-num_tasks100.0-kindstep%2Dlike"
    model = trained(
        place / "run",
        data_config=data,
        wandb_run_name=name,
        wandb_project="p",
        wandb_tags=["production"],
    )
    (info,) = list_available_models(project="p", tags=["production"])
    assert (info.run_name, info.checkpoint_step, info.model_config["d_model"]) == (name, 4, 8)
    assert info.data_config == {"num_tasks": 100.0, "kind": "step-like"}
    assert [(c.step, c.artifact_name) for c in list_checkpoints(info.run_id)] == [
        (s, f"checkpoint-{info.run_id}-step-{s}") for s in (2, 4)
    ]
    loads = [
        load_from_pretrained(info.run_id, device="cpu"),
        load_from_pretrained(name, checkpoint_step=4, project="p", device="cpu"),
        load_by_config(
            SCHEME,
            n_layers=1,
            d_model=8,
            num_tasks=100,
            kind="step-like",
            project="p",
            device="cpu",
        ),
    ]
    for loaded, optimizer, metadata in loads:
        assert same_weights(loaded, model)
        assert optimizer is None
        assert (metadata.step, metadata.run_id, metadata.data_config) == (
            4,
            info.run_id,
            info.data_config,
        )
        assert metadata.wandb_run_url == (place / "openpfn-runs").as_uri() == info.run_url
        assert metadata.model_config == NETWORK
    earliest = load_by_config(SCHEME, checkpoint_step="earliest", num_tasks=100.0, device="cpu")
    assert earliest[2].step == 2
    assert not same_weights(earliest[0], model)
    assert get_checkpoint_metadata(info.run_id, "earliest").step == 2


@pytest.mark.slow
def test_what_is_not_there_is_told(place):
    trained(place / "run", data_config=DataConfig(), wandb_run_name="exp")
    with pytest.raises(LookupError, match=r"no checkpoint of step 20. Steps kept: 2, 4"):
        load_from_pretrained("exp", checkpoint_step=20)
    with pytest.raises(
        LookupError,
        match=r"no run with data.num_tasks = 1000 in all projects of the registry openpfn-runs",
    ):
        load_by_config(SCHEME, num_tasks=1000)
    with pytest.raises(LookupError, match="1 runs match, but have no checkpoint of step 3"):
        load_by_config(SCHEME, 3, num_tasks=100)
    with pytest.raises(
        ValueError, match=r"'width' is no field of the scheme. Its fields: model.n_layers"
    ):
        load_by_config(SCHEME, width=3)
    with pytest.raises(ValueError, match="checkpoint_step is 'last'"):
        load_by_config(SCHEME, "last", num_tasks=100)
    with pytest.raises(ValueError, match="Choose 'disk' or 'wandb'"):
        list_available_models(tracker="paper")
    with pytest.raises(ValueError, match="tags is 'production', one text"):
        list_available_models(tags="production")


@pytest.mark.slow
def test_the_newest_run_that_matches_is_loaded_and_a_field_of_two_sections_must_match_in_both(
    place,
):
    runs = [
        trained(
            place / f"{width} {tasks}",
            replace(NETWORK, d_model=width),
            DataConfig(tasks),
            wandb_run_name=f"run {width} {tasks}",
        )
        for width, tasks in ((8, 1), (16, 1), (8, 2))
    ]
    scheme = RunNameScheme.from_templates(
        model={"d_model": None}, data={"num_tasks": None}, training={"batch_size": 2}
    )
    assert same_weights(load_by_config(scheme, num_tasks=1, device="cpu")[0], runs[1])
    assert same_weights(load_by_config(scheme, **{"model.d_model": 8}, device="cpu")[0], runs[2])
    both = RunNameScheme.from_templates(model={"d_model": None}, data={"d_model": None})
    with pytest.raises(LookupError, match=r"model.d_model = 8, data.d_model = 8"):
        load_by_config(both, d_model=8)


@pytest.mark.slow
def test_the_loss_of_every_step_is_recorded_and_more_figures_with_the_rows(place):
    model = trained(
        place / "run",
        wandb_run_name="exp",
        registry=str(place / "kept"),
        eval_every=4,
        eval_batches=1,
    )
    registry = RunRegistry(place / "kept")
    table = registry.metrics(registry.run("exp").id)
    assert list(table.index) == [1, 2, 3, 4]
    assert table["loss"].notna().all()
    assert table["loss"].mean() == pytest.approx(model.history["loss"].mean())
    assert table["accuracy"].notna().tolist() == [False, True, False, True]
    assert table["eval_loss"].dropna().tolist() == model.history["eval_loss"].dropna().tolist()
    assert registry.run("exp").state == "finished"


@pytest.mark.slow
def test_tracking_changes_nothing_in_a_run(place):
    plain = trained(place / "plain")
    tracked = trained(
        place / "tracked",
        wandb_run_name="exp",
        checkpoint_schedule="linear",
        linear_checkpoint_interval=1,
    )
    assert same_weights(plain, tracked)


@pytest.mark.slow
def test_a_killed_run_goes_on_as_the_same_run(place):
    settings = config(
        place / "run",
        num_steps=40,
        save_every=5,
        wandb_run_name="exp",
        registry=str(place / "kept"),
    )
    killed_after(0.02, place / "run", partial(train, ToyPrior(delay=0.01), NETWORK, settings))
    registry = RunRegistry(place / "kept")
    (run,) = registry.runs()
    assert run.state == "running"
    train(ToyPrior(), NETWORK, settings, resume_from=place / "run")
    assert [one.id for one in registry.runs()] == [run.id]
    assert registry.run("exp").state == "finished"
    assert list(registry.metrics(run.id)["loss"].dropna().index) == list(range(1, 41))
    assert [one.step for one in registry.checkpoints(run)] == list(range(5, 41, 5))


@pytest.mark.slow
def test_a_run_continued_elsewhere_is_another_run_that_knows_the_first(place):
    trained(place / "a", wandb_run_name="first")
    train(
        ToyPrior(),
        NETWORK,
        config(place / "b", num_steps=6, wandb_run_name="second"),
        resume_from=place / "a",
    )
    second, first = RunRegistry().runs()
    assert checkpoint.read_header(place / "b").provenance["run"]["resumed_from"] == first.id
    assert [one.step for one in RunRegistry().checkpoints(second)] == [6]


@pytest.mark.parametrize(
    ("end", "state"), [(KeyboardInterrupt, "stopped"), (ArithmeticError, "failed")]
)
def test_a_run_that_ends_early_is_told_so(place, end, state):
    def stop(event):
        if event.kind == "step" and event.step == 3:
            if end is KeyboardInterrupt:
                os.kill(os.getpid(), 2)
            else:
                raise ArithmeticError

    with pytest.raises((TrainingStopped, ArithmeticError)):
        train(ToyPrior(), NETWORK, config(place / "run", wandb_run_name="exp"), callbacks=[stop])
    run = RunRegistry().run("exp")
    assert run.state == state
    assert [one.step for one in RunRegistry().checkpoints(run)] == (
        [2, 3] if state == "stopped" else [2]
    )


@pytest.mark.slow
def test_scheduled_weights_are_kept_in_the_folder_and_by_the_tracker(place):
    trained(
        place / "run",
        wandb_run_name="exp",
        num_steps=10,
        checkpoint_schedule="logarithmic",
        n_log_checkpoints=4,
        prior=PoolPrior(),
    )
    steps = sorted(
        int(path.stem.removeprefix("step-")) for path in (place / "run").glob("step-*.safetensors")
    )
    assert steps == [1, 2, 5, 10] == [one.step for one in list_checkpoints("exp")]
    at_the_end, _, metadata = load_from_pretrained("exp", device="cpu", load_optimizer=True)
    assert same_weights(at_the_end, checkpoint.load(place / "run").model)
    assert torch.equal(metadata.task_pools["weights"], PoolPrior().task_pools()["weights"])
    again = trained(place / "run", num_steps=3, overwrite=True)
    assert same_weights(checkpoint.load(place / "run").model, again)
    assert [path.name for path in (place / "run").glob("step-*")] == ["step-2.safetensors"]


def test_the_steps_of_a_schedule(place):
    linear = config(place, num_steps=250, checkpoint_schedule="linear")
    assert sorted(kept_steps(linear)) == [100, 200, 250]
    logarithmic = kept_steps(config(place, num_steps=10_000, checkpoint_schedule="logarithmic"))
    assert {1, 10_000} <= logarithmic <= set(range(1, 10_001))
    assert 500 < len(logarithmic) <= 1000
    assert kept_steps(config(place, checkpoint_schedule="logarithmic", n_log_checkpoints=1)) == {
        1,
        4,
    }


def test_which_trackers_a_configuration_asks_for(place, monkeypatch):
    def folders(**changes) -> list[str]:
        return [
            str(tracker.folder)
            for tracker in trackers_of(config(place, **changes))
            if isinstance(tracker, RunRegistry)
        ]

    assert folders() == []
    assert folders(wandb_run_name="exp") == ["openpfn-runs"]
    assert folders(registry="mine") == ["mine"]
    assert folders(use_wandb=True, wandb_run_name="exp") == []
    assert folders(use_wandb=True, wandb_mode="offline") == ["openpfn-runs"]
    monkeypatch.setenv("OPENPFN_REGISTRY", "ours")
    assert folders() == ["ours"]
    assert folders(use_wandb=True, registry="mine") == ["mine"]


@pytest.mark.slow
def test_checkpoints_stay_out_of_the_tracker_where_they_are_not_wanted(place):
    trained(place / "run", wandb_run_name="exp", wandb_log_model=False)
    assert list_checkpoints("exp") == []
    assert list_available_models() == []
