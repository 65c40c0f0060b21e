"""A device that is not there is told in one line, wherever it is asked for."""

from __future__ import annotations

import pytest
import torch
from drawn_dumps import draw, write
from toy_training import ToyPrior

from openpfn import cli
from openpfn.data.dump_reader import PriorDumpDataLoader
from openpfn.data.stream import TaskStream
from openpfn.device import get_default_device, peak_megabytes, pick_device
from openpfn.training.state_dicts import load_checkpoint

ABSENT = [
    name
    for name, is_there in {
        "gpu": False,
        "": False,
        "meta": False,
        "cuda": torch.cuda.is_available(),
        "cuda:99": torch.cuda.device_count() > 99,
        "mps": torch.backends.mps.is_available(),
        "xpu": torch.xpu.is_available(),
    }.items()
    if not is_there
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ABSENT)
def test_a_device_that_is_not_there_is_told(name, tmp_path, capsys):
    message = f"device is '{name}'"
    path = write(tmp_path / "d.h5", [draw(0)])
    for ask in (
        lambda: pick_device(name),
        lambda: PriorDumpDataLoader(path, 1, 4, device=name),
        lambda: TaskStream(ToyPrior(), 4, seed=0, device=name),
        lambda: load_checkpoint("tiny", device=name),
    ):
        with pytest.raises(ValueError, match=message):
            ask()
    generate = ["priors", "generate", "--num-batches", "1", "--save-path", str(tmp_path / "n.h5")]
    for command in (generate, ["train", "--preset", "micro", "--out", str(tmp_path / "run")]):
        assert cli.main([*command, "--device", name]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.h5"]


def test_a_device_that_is_there_is_taken_by_name_or_as_it_is():
    assert pick_device("cpu") == pick_device(torch.device("cpu")) == torch.device("cpu")
    assert pick_device("auto").type == get_default_device()
    assert pick_device(pick_device("auto")) == pick_device("auto")


def test_the_peak_of_memory_does_not_fall():
    before = peak_megabytes(torch.device("cpu"))
    values = torch.ones(2**24)  # 64 MB
    assert peak_megabytes(torch.device("cpu")) >= max(before, values.numel() * 4 / 1e6)
