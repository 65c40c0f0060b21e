"""Laws of learning from a teacher's answers."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from openpfn import checkpoint
from openpfn.batch import TaskBatch
from openpfn.configs import ClassificationConfig, TabularConfig, TrainingConfig
from openpfn.models import PFN
from openpfn.models.sequence.network import SequencePFN
from openpfn.training import train
from openpfn.training.teaching import TaughtLoss, loss_of

NETWORK = TabularConfig(
    d_model=8, n_heads=2, n_layers=1, d_mlp=8, max_classes=3, regression_head="gaussian"
)
CPU = torch.device("cpu")


def network(seed: int, **changes: object):
    """A network whose answers vary."""
    torch.manual_seed(seed)
    model = PFN(dataclasses.replace(NETWORK, **changes))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model


def tasks(n_classes: int | None = 2) -> TaskBatch:
    x = torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(0))
    y = (x[..., 0] > 0).float()
    told = None if n_classes is None else torch.full((4,), n_classes)
    return TaskBatch(x=x, y=y, n_train=8, n_classes=told)


def test_a_pupil_that_answers_as_its_teacher_has_nothing_to_learn() -> None:
    pupil, teacher = network(0), network(0).eval()
    loss = TaughtLoss(pupil, teacher)(tasks())
    loss.backward()
    gradients = [p.grad for p in pupil.parameters() if p.grad is not None]
    assert max(float(g.abs().max()) for g in gradients) < 1e-6
    p = teacher(tasks()).softmax(-1)
    entropy = -(p * p.clamp_min(1e-30).log()).sum(-1).mean()
    torch.testing.assert_close(loss, entropy)


def test_numbers_are_learned_from_the_tasks() -> None:
    pupil = network(0)
    batch = tasks(n_classes=None)
    assert torch.equal(TaughtLoss(pupil, network(1))(batch), pupil.loss(batch))


def test_a_run_brings_the_pupil_to_its_teachers_answers_and_leaves_the_teacher(tmp_path) -> None:
    place = checkpoint.save(tmp_path / "teacher.safetensors", teacher := network(1))
    before = place.read_bytes()
    batch = tasks()

    @torch.no_grad()
    def apart(model: torch.nn.Module) -> float:
        return float((model(batch).softmax(-1) - teacher(batch).softmax(-1)).abs().mean())

    config = TrainingConfig(
        num_steps=150,
        learning_rate=1e-2,
        log_every=50,
        checkpoint_dir=str(tmp_path / "run"),
        teacher=str(place),
    )
    trained = train([batch], network(0), config)
    assert apart(trained) < 0.25 * apart(network(0))
    assert place.read_bytes() == before


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        (None, {"max_classes": 5}, "5 classes apart and the network 3"),
        (None, {"head": None}, "is no table network that predicts classes"),
        ("sequence", {}, "the network is no table network"),
    ],
    ids=str,
)
def test_networks_that_do_not_match_are_refused(tmp_path, model, changes, message) -> None:
    place = checkpoint.save(tmp_path / "teacher.safetensors", network(1, **changes))
    pupil = network(0)
    if model == "sequence":
        pupil = PFN(ClassificationConfig(d_model=8, n_layers=1, n_heads=2, input_dim=3))
        assert isinstance(pupil, SequencePFN)
    with pytest.raises(ValueError, match=message):
        loss_of(pupil, str(place), CPU)


def test_without_a_teacher_the_loss_is_the_networks_own() -> None:
    model = network(0)
    assert loss_of(model, None, CPU) == model.loss
