"""The package as it is installed: version, types, public names, shipped checkpoints."""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import re
import tomllib
from pathlib import Path

import pytest

import openpfn
from openpfn import weights

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere():
    assert PROJECT["version"] == openpfn.__version__
    assert importlib.metadata.version("openpfn") == openpfn.__version__
    assert f"version: {openpfn.__version__}\n" in (ROOT / "CITATION.cff").read_text(
        encoding="utf-8"
    )


def test_the_package_is_typed():
    assert importlib.resources.files("openpfn").joinpath("py.typed").is_file()


@pytest.mark.parametrize("name", dir(openpfn))
def test_every_public_name_loads(name):
    assert getattr(openpfn, name) is not None


def test_type_checkers_see_the_public_names():
    stub = Path(openpfn.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert set(re.findall(r" as (\w+)\b", stub, flags=re.MULTILINE)) | {"__version__"} == set(
        dir(openpfn)
    )


def test_an_unknown_name_is_an_attribute_error():
    name = "no_such_name"
    with pytest.raises(AttributeError, match=name):
        getattr(openpfn, name)


def test_torch_is_pinned_and_so_is_every_direct_dependency():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    assert "torch" in pinned
    assert {re.split(r"[\[><=]", requirement)[0] for requirement in needed} <= pinned


@pytest.mark.parametrize("name", ["tiny", "nano"])
def test_a_shipped_checkpoint_has_a_model_card(name):
    assert name in weights.shipped()
    assert weights.model_card(name).startswith("# ")


def test_an_unknown_checkpoint_lists_the_choices():
    with pytest.raises(ValueError, match="nano, text-small, tiny"):
        weights.model_card("enormous")
