"""Corpora of raw strings: written, read back, and refused where they are not whole."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from openpfn.text.corpus import Corpus
from openpfn.text.corpus.hdf5 import export_hdf5, import_hdf5


def quiet(_):
    pass


@pytest.mark.parametrize("template", ["v1", "v1.1"])
def test_an_exported_corpus_comes_back_the_same(built, tmp_path, template):
    export_hdf5(built, tmp_path / "c.h5", template=template, tell=quiet)
    again = import_hdf5(tmp_path / "c.h5", tmp_path / "again", tell=quiet)
    assert again.names == built.names
    for name in built.names:
        one, other = built.verbalized(name, template), again.verbalized(name, template)
        assert other.texts().tolist() == one.texts().tolist()
        assert other.target_texts() == one.target_texts()
        np.testing.assert_array_equal(other.numbers, one.numbers)
        np.testing.assert_array_equal(other.y, one.y)
        before, after = built.record(name), again.record(name)
        assert (after.licence, after.family, after.task) == (
            before.licence,
            before.family,
            before.task,
        )


def test_the_file_holds_raw_strings_by_table(built, tmp_path):
    export_hdf5(built, tmp_path / "c.h5", names=["weather"], tell=quiet)
    with h5py.File(tmp_path / "c.h5") as file:
        assert list(file) == ["weather"]
        group = file["weather"]
        texts = group["feature_texts"].asstr()[:]
        assert texts.shape == group["feature_num_values"].shape == (24, 3)
        assert texts[0, 0] == "Predictive Feature: outlook\nFeature Value: sunny"
        assert group["target_texts"].asstr()[1] == "Target Feature: play\nFeature Value: yes"
        assert group["labels"][:6].tolist() == [0, 1, 1, 0, 1, 0]
        assert group.attrs["task_type"] == "classification"


def test_sentences_have_no_values_and_one_template(built, tmp_path):
    export_hdf5(built, tmp_path / "c.h5", tell=quiet)
    again = import_hdf5(tmp_path / "c.h5", tmp_path / "again", licence="CC0", tell=quiet)
    with pytest.raises(ValueError, match="holds sentences, not values"):
        again.table("homes")
    with pytest.raises(ValueError, match=r"1 numbers in a cell, but template v1\.1 has 6"):
        again.verbalized("homes", "v1.1")


def test_a_table_of_another_source_is_not_replaced(built, tmp_path):
    export_hdf5(built, tmp_path / "c.h5", tell=quiet)
    with pytest.raises(ValueError, match=r"has a table 'homes' that did not come from c\.h5"):
        import_hdf5(tmp_path / "c.h5", built.folder, tell=quiet)
    for _ in range(2):
        import_hdf5(tmp_path / "c.h5", tmp_path / "again", tell=quiet)
    assert len(Corpus(tmp_path / "again")) == 2


def replaced(group, name, value):
    del group[name]
    group[name] = value


DAMAGES = [
    (lambda group: group.__delitem__("labels"), "lacks labels"),
    (lambda group: group.attrs.__setitem__("task_type", "rank"), "task_type is 'rank'"),
    (lambda group: replaced(group, "labels", np.arange(3)), "do not fit together"),
    (lambda group: replaced(group, "labels", np.full(24, 2)), "none of its 2 classes"),
    (lambda group: replaced(group, "feature_num_values", np.full((24, 3), np.nan)), "not finite"),
    (lambda group: replaced(group, "feature_texts", np.zeros((24, 3))), ""),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_table_that_is_not_whole_is_named(built, tmp_path, damage, message):
    export_hdf5(built, tmp_path / "c.h5", names=["weather"], tell=quiet)
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        damage(file["weather"])
    with pytest.raises(ValueError, match=rf"c\.h5, table 'weather': .*{message}"):
        import_hdf5(tmp_path / "c.h5", tmp_path / "again", tell=quiet)


def test_what_is_no_hdf5_is_told(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"c\.h5 is not an HDF5 file"):
        import_hdf5(tmp_path / "c.h5", tmp_path / "again", tell=quiet)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        import_hdf5(tmp_path / "d.h5", tmp_path / "again", tell=quiet)
