"""Distilled models answer as their teacher does, from a file that needs no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from openpfn import DistilledClassifier, DistilledRegressor, PFNClassifier, PFNRegressor
from openpfn.estimators.distilling.fidelity import what_is_kept
from openpfn.estimators.distilling.file import DIGEST, KEY
from tests.estimators.conftest import KernelNetwork, KernelRegression

KINDS = ("trees", "mlp", "linear")
RANDOM = np.random.default_rng(0)
N = 80
TABLE = pd.DataFrame(
    {
        "size": np.where(RANDOM.random(N) < 0.1, np.nan, RANDOM.normal(size=N)),
        "weight": RANDOM.normal(size=N),
        "colour": RANDOM.choice(["red", "green", "blue"], N),
    }
)
SCORE = TABLE["size"].fillna(0) + TABLE["weight"] + 2 * (TABLE["colour"] == "red")
LABELS = np.where(SCORE > 1, "high", "low")
TEACHER = PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(TABLE[:50], LABELS[:50])
REGRESSOR = PFNRegressor(model=KernelRegression(), n_estimators=1).fit(TABLE[:50], SCORE[:50])
OTHERS = TABLE[50:]


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_ranks_rows_nearly_as_its_teacher(kind):
    student = TEACHER.distill(kind, n_rows=1500)
    assert student.fidelity_.explained > (0.4 if kind == "linear" else 0.7)
    kept = what_is_kept(TEACHER, student, OTHERS, LABELS[50:])
    assert kept.share > 0.9
    probabilities = student.predict_proba(OTHERS)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert set(student.predict(OTHERS)) <= {"high", "low"}


@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_a_regressor_hands_on_means_and_quantiles(kind):
    student = REGRESSOR.distill(kind, n_rows=1000)
    mean, quantiles = student.predict(OTHERS), student.predict(OTHERS, output="quantiles")
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert np.corrcoef(mean, REGRESSOR.predict(OTHERS))[0, 1] > 0.8
    assert what_is_kept(REGRESSOR, student, OTHERS, SCORE[50:]).metric == "R²"
    with pytest.raises(ValueError, match=r"output is 'mode', must be mean or quantiles"):
        student.predict(OTHERS, output="mode")


@pytest.mark.parametrize("kind", KINDS)
def test_several_classes_and_missing_values_are_learned(kind):
    labels = np.digitize(SCORE, [0.0, 1.5])
    teacher = PFNClassifier(model=KernelNetwork(), n_estimators=1).fit(TABLE[:50], labels[:50])
    student = teacher.distill(kind, n_rows=600)
    missing = OTHERS.assign(size=np.nan, colour=None)
    for rows in (OTHERS, missing):
        assert student.predict_proba(rows).shape == (30, 3)
        assert np.isfinite(student.predict_proba(rows)).all()


WITHOUT_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("this machine has no torch")

sys.meta_path.insert(0, NoTorch())
import numpy as np, pandas as pd
from openpfn import DistilledClassifier, DistilledRegressor

rows, found = pd.read_parquet("rows.parquet"), {}
for kind in sys.argv[1:]:
    found[kind] = DistilledClassifier.load(f"{kind}.C").predict_proba(rows)
    found[kind + " mean"] = DistilledRegressor.load(f"{kind}.R").predict(rows)
np.savez("found.npz", **found)
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_files_load_and_predict_without_torch_and_to_the_bit(tmp_path):
    OTHERS.to_parquet(tmp_path / "rows.parquet")
    expected = {}
    for kind in KINDS:
        classifier, regressor = (one.distill(kind, n_rows=200) for one in (TEACHER, REGRESSOR))
        classifier.save(tmp_path / f"{kind}.C")
        regressor.save(tmp_path / f"{kind}.R")
        expected[kind] = classifier.predict_proba(OTHERS)
        expected[f"{kind} mean"] = regressor.predict(OTHERS)
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *KINDS], check=True, cwd=tmp_path)
    with np.load(tmp_path / "found.npz") as found:
        for name, answers in expected.items():
            assert np.array_equal(found[name], answers)


def test_trees_answer_as_scikit_learns_do_missing_values_included():
    from sklearn.ensemble import HistGradientBoostingRegressor

    from openpfn.estimators.distilling.trees import Trees

    rows = RANDOM.normal(size=(300, 4))
    rows[RANDOM.random(rows.shape) < 0.2] = np.nan
    targets = np.nan_to_num(rows[:, 0]) ** 2 + np.isnan(rows[:, 1])
    fitted = [
        HistGradientBoostingRegressor(max_iter=n, max_depth=d).fit(rows, n * targets)
        for n, d in ((12, 3), (30, None))
    ]
    expected = np.stack([model.predict(rows) for model in fitted], axis=1)
    np.testing.assert_allclose(Trees.of(fitted)(rows), expected, rtol=1e-12, atol=1e-12)


def test_what_it_was_made_of_is_all_that_random_state_changes():
    first, again, other = (TEACHER.distill("trees", n_rows=200, random_state=s) for s in (0, 0, 1))
    assert np.array_equal(first.predict_proba(OTHERS), again.predict_proba(OTHERS))
    assert not np.array_equal(first.predict_proba(OTHERS), other.predict_proba(OTHERS))


def test_a_single_class_and_a_constant_need_no_student(tmp_path):
    classes = PFNClassifier(model=KernelNetwork()).fit(TABLE, np.full(N, "only")).distill()
    numbers = PFNRegressor(model=KernelRegression()).fit(TABLE, np.full(N, 3.5)).distill()
    classes = DistilledClassifier.load(classes.save(tmp_path / "c.safetensors"))
    numbers = DistilledRegressor.load(numbers.save(tmp_path / "n.safetensors"))
    assert classes.predict(OTHERS).tolist() == ["only"] * 30
    assert numbers.predict(OTHERS).tolist() == [3.5] * 30
    assert classes.fidelity_ is None


def test_text_and_statistics_of_the_target_go_with_it(tmp_path):
    words = RANDOM.choice("broken screen lost key fine happy angry".split(), (120, 3))
    notes = pd.DataFrame({"note": [" ".join(row) + f" {i}" for i, row in enumerate(words)]})
    notes["city"] = RANDOM.choice([f"town {i}" for i in range(10)], 120)
    is_angry = (words == "angry").any(axis=1)
    teacher = PFNClassifier(
        model=KernelNetwork(), n_estimators=1, target_statistics=True, text="string"
    ).fit(notes[:80], is_angry[:80])
    student = teacher.distill("linear", n_rows=500)
    loaded = DistilledClassifier.load(student.save(tmp_path / "notes.safetensors"))
    assert np.array_equal(loaded.predict_proba(notes), student.predict_proba(notes))
    assert (loaded.predict(notes[80:]) == is_angry[80:]).mean() > 0.8


def test_an_estimator_without_rows_learns_from_a_table_that_is_given(tmp_path, network):
    fitted = PFNClassifier(model=network).fit(TABLE[:50], LABELS[:50])
    bare = PFNClassifier.load(fitted.save(tmp_path / "bare.safetensors", keep_rows=False))
    with pytest.raises(ValueError, match=r"a file without rows.* Give a table of such rows as X"):
        bare.distill()
    assert bare.distill("linear", TABLE, n_rows=100).predict(OTHERS).shape == (30,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TEACHER.distill("forest"), "kind is 'forest', must be one of mlp, trees, linear"),
        (lambda: TEACHER.distill(n_rows=0), "n_rows is 0, must be at least 1"),
        (lambda: DistilledRegressor(TEACHER).learn_from(TEACHER), "learns from a regressor"),
        (lambda: DistilledClassifier().learn_from(REGRESSOR), "learns from a classifier"),
    ],
    ids=["kind", "rows", "no regressor", "no classifier"],
)
def test_what_cannot_be_distilled_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_damaged_and_other_files_are_refused(tmp_path):
    path = TEACHER.distill("linear", n_rows=100).save(tmp_path / "small.safetensors")
    with pytest.raises(ValueError, match=r"holds a DistilledClassifier, not a DistilledRegressor"):
        DistilledRegressor.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        DistilledClassifier.load(tmp_path / "none.safetensors")
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    record = json.loads(metadata[KEY]) | {"n_features": 4}
    save_file(arrays, path, metadata={KEY: json.dumps(record), DIGEST: metadata[DIGEST]})
    with pytest.raises(ValueError, match="is damaged"):
        DistilledClassifier.load(path)
    save_file(arrays, path)
    with pytest.raises(ValueError, match="does not hold a distilled model"):
        DistilledClassifier.load(path)
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(ValueError, match="not a whole safetensors"):
        DistilledClassifier.load(path)
