"""Laws of precision: auto takes what the device has, and a run records what it was trained in."""

from __future__ import annotations

import warnings

import pytest
import torch
from tiny_runs import trained

from openpfn import checkpoint, device
from openpfn.training import process

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["native", "emulated"])
def native(request, monkeypatch) -> bool:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: request.param)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    return request.param


def test_auto_takes_bfloat16_only_where_it_is_native(native) -> None:
    assert device.multiplies_bfloat16(CPU) == native
    assert process.settled_precision("auto", CPU) == ("bfloat16" if native else "float32")
    assert process.settled_precision("float32", CPU) == "float32"


def test_a_slow_choice_is_said(native) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert process.settled_precision("bfloat16", CPU) == "bfloat16"
    assert len(told) == (not native)
    assert all("emulates" in str(one.message) for one in told)


def test_each_stretch_of_a_resumed_run_is_recorded(tmp_path, native, capsys) -> None:
    folder = tmp_path / "run"
    trained(folder, num_steps=2, precision="auto")
    assert "training on cpu in " + ("bfloat16" if native else "float32") in capsys.readouterr().err
    from tiny_runs import NETWORK, ToyPrior, config

    from openpfn.training import train

    longer = config(folder, num_steps=4, precision="float32")
    train(ToyPrior(), NETWORK, longer, resume_from=folder)
    stretches = checkpoint.read_header(folder).provenance["stretches"]
    assert [(s["from_step"], s["precision"]) for s in stretches] == [
        (0, "bfloat16" if native else "float32"),
        (2, "float32"),
    ]
