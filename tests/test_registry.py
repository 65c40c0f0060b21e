"""Names lead to classes, those that older releases recorded included."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest
import torch

from openpfn import checkpoint, registry
from openpfn.batch import TaskBatch
from openpfn.cli.train import recorded
from openpfn.configs import preset
from openpfn.data.dump_reader import DumpHeader, DumpWriter, read_contents
from openpfn.generators.deterministic import DeterministicGenerator
from openpfn.models import PFN
from openpfn.priors.base import TaskPrior

OLD = "openpfn.priors.function:DeterministicGenerator"
NEW = "openpfn.generators.deterministic:DeterministicGenerator"


@pytest.mark.parametrize("module", registry.MOVED)
def test_what_moved_is_where_the_registry_says(module):
    importlib.import_module(registry.MOVED[module])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


@pytest.mark.parametrize("path", [OLD, NEW])
def test_a_recorded_path_leads_to_the_class(path):
    assert registry.find("priors", path, TaskPrior) is DeterministicGenerator


@pytest.mark.parametrize(("begun", "resumed"), [(OLD, NEW), (NEW, OLD), (OLD, OLD)])
def test_a_dump_of_a_prior_that_moved_is_read_and_continued(tmp_path, begun, resumed):
    header = DumpHeader(max_seq_len=6, max_features=2, batch_size=2, prior=begun)
    batch = TaskBatch(x=torch.randn(2, 6, 2), y=torch.randn(2, 6), n_train=3)
    with DumpWriter.create(tmp_path / "d.h5", header) as dump:
        dump.append(batch)
    with DumpWriter.resume(tmp_path / "d.h5", replace(header, prior=resumed)) as dump:
        dump.append(batch)
    assert read_contents(tmp_path / "d.h5").n_tasks == 4
    with pytest.raises(ValueError, match="begun with prior"):
        DumpWriter.resume(tmp_path / "d.h5", replace(header, prior="mixture"))


def test_a_run_on_a_prior_that_moved_is_read(tmp_path):
    data = {"prior": OLD}
    path = tmp_path / "latest.safetensors"
    checkpoint.save(path, PFN(preset("micro")), provenance={"data": data})
    assert checkpoint.load(tmp_path).provenance["data"] == data
    assert recorded(tmp_path).prior == OLD
