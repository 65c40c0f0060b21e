"""Laws of the import of published weights."""

from __future__ import annotations

import pytest
import torch
from published_networks import plain_logits, random_weights

from openpfn import checkpoint, cli
from openpfn.batch import TaskBatch
from openpfn.checkpoint import published as foreign
from openpfn.estimators.classifier import PFNClassifier
from openpfn.files import sha256_of

KINDS = {"nanotabpfn": 4, "tinypfn": 2}


def task(n_train=9, n_query=5, n_columns=3, n_classes=3):
    x = torch.randn(1, n_train + n_query, n_columns) * 3 + 1
    return TaskBatch(x=x, y=torch.randint(n_classes, x.shape[:2]).float(), n_train=n_train)


def written(path, kind, **settings):
    torch.save(random_weights(kind, **settings), path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_columns", [1, 4])
def test_imported_weights_give_the_originals_logits(tmp_path, kind, n_columns):
    weights = random_weights(kind)
    torch.save(weights, tmp_path / "theirs.pt")
    ours = foreign.load(tmp_path / "theirs.pt", kind, n_heads=KINDS[kind])
    batch = task(n_columns=n_columns)
    assert batch.x is not None
    theirs = plain_logits(weights, kind, KINDS[kind], batch.x[0], batch.y_context[0], batch.n_train)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(ours(batch)[0], theirs, atol=1e-5, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(ours(batch)[0], theirs, atol=1e-5, rtol=0)


BOTH = ("datapoints_train", "datapoints_test")


def written_out(weights):
    """The same network with attention between rows in four layers, as "Scratch" has it."""
    renamed = {}
    for name, value in weights.items():
        if "datapoints" not in name:
            renamed[name] = value
        elif ".in_proj_" in name:
            prefix, _, part = name.partition(".in_proj_")
            for letter, third in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{prefix}.W{letter}.{part}"] = third
        else:
            renamed[name.replace("out_proj", "Wo")] = value
    return renamed


@pytest.mark.parametrize("names", ["Original", "Scratch"])
def test_networks_with_an_attention_of_their_own_for_query_rows_give_the_originals_logits(
    tmp_path, names
):
    weights = random_weights("nanotabpfn", rows=BOTH)
    batch = task()
    assert batch.x is not None
    theirs = plain_logits(weights, "nanotabpfn", 4, batch.x[0], batch.y_context[0], batch.n_train)
    if names == "Scratch":
        with pytest.warns(UserWarning, match="have the same names. It is read as the first"):
            ours = foreign.convert(written_out(weights), "nanotabpfn", n_heads=4)
    else:
        ours = foreign.convert(weights, "nanotabpfn", n_heads=4)
    torch.testing.assert_close(ours(batch)[0], theirs, atol=1e-5, rtol=0)
    with torch.no_grad():  # through the state of the context
        torch.testing.assert_close(ours(batch)[0], theirs, atol=1e-5, rtol=0)
    swapped = {
        name.replace("_train", "_x").replace("_test", "_train").replace("_x", "_test"): value
        for name, value in weights.items()
    }
    other = foreign.convert(swapped, "nanotabpfn", n_heads=4)
    assert not torch.allclose(other(batch)[0], theirs, atol=1e-3)
    checkpoint.save(tmp_path / "ours.safetensors", ours)
    loaded = checkpoint.load(tmp_path / "ours.safetensors").model
    torch.testing.assert_close(loaded(batch), ours(batch), atol=1e-6, rtol=0)


def test_attention_that_depends_on_the_order_of_the_rows_is_refused():
    weights = written_out(random_weights("nanotabpfn", rows=BOTH))
    sparse = {name.replace(".Wq.", ".w_q."): value for name, value in weights.items()}
    with pytest.raises(ValueError, match="holds sparse attention"):
        foreign.convert(sparse, "nanotabpfn", n_heads=4)
    missing = {name: w for name, w in weights.items() if not name.endswith("_test.Wk.bias")}
    with (
        pytest.warns(UserWarning, match="same names"),
        pytest.raises(ValueError, match="has no whole"),
    ):
        foreign.convert(missing, "nanotabpfn", n_heads=4)


def test_heads_change_the_answer_so_they_are_taken_from_the_file(tmp_path):
    weights = random_weights("tinypfn")
    torch.save(
        {"model_state_dict": weights, "model_kwargs": {"num_attention_heads": 4}},
        tmp_path / "theirs.pt",
    )
    ours = foreign.load(tmp_path / "theirs.pt", "tinypfn")
    assert ours.config.n_heads == 4
    batch = task()
    assert batch.x is not None
    theirs = plain_logits(weights, "tinypfn", 4, batch.x[0], batch.y_context[0], batch.n_train)
    torch.testing.assert_close(ours(batch)[0], theirs, atol=1e-5, rtol=0)
    other = foreign.load(tmp_path / "theirs.pt", "tinypfn", n_heads=1)
    assert not torch.allclose(other(batch), ours(batch), atol=1e-3)


def test_the_published_scripts_heads_are_the_default(tmp_path):
    for kind, n_heads in (("nanotabpfn", 4), ("tinypfn", 1)):
        assert foreign.load(written(tmp_path / kind, kind), kind).config.n_heads == n_heads


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_writes_a_checkpoint_that_the_classifier_takes(tmp_path, capsys, kind):
    source, out = written(tmp_path / "theirs.pt", kind), tmp_path / "ours.safetensors"
    assert cli.main(["import", str(source), "--kind", kind, "--out", str(out)]) == 0
    assert "2 layers" in capsys.readouterr().out
    loaded = checkpoint.load(out)
    assert loaded.provenance["kind"] == kind
    assert loaded.provenance["sha256"] == sha256_of(source)
    batch = task()
    torch.testing.assert_close(
        loaded.model(batch), foreign.load(source, kind)(batch), atol=0, rtol=0
    )
    X, y = torch.randn(20, 2).numpy(), torch.arange(20).remainder(3).numpy()
    probabilities = (
        PFNClassifier(checkpoint=str(out), n_estimators=1).fit(X, y).predict_proba(X[:4])
    )
    assert probabilities.shape == (4, 3)


def test_an_existing_file_is_replaced_only_on_request(tmp_path, capsys):
    source, out = written(tmp_path / "theirs.pt", "tinypfn"), tmp_path / "ours.safetensors"
    out.write_text("precious")
    arguments = ["import", str(source), "--kind", "tinypfn", "--out", str(out)]
    assert cli.main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert cli.main([*arguments, "--overwrite"]) == 0
    assert checkpoint.load(out).model_config.attention_type == "linear"


@pytest.mark.parametrize(("kind", "other"), [("nanotabpfn", "tinypfn"), ("tinypfn", "nanotabpfn")])
def test_the_wrong_kind_is_named(tmp_path, kind, other):
    with pytest.raises(ValueError, match=f"Say --kind {kind}"):
        foreign.load(written(tmp_path / "theirs.pt", kind), other)


@pytest.mark.parametrize(
    "name",
    [
        "decoder.linear2.bias",
        "transformer_blocks.1.norm2.weight",
        "target_encoder.linear_layer.weight",
    ],
)
def test_a_missing_tensor_is_named(name):
    weights = random_weights("tinypfn")
    del weights[name]
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        foreign.convert(weights, "tinypfn", n_heads=1)


def test_a_missing_layer_is_noticed():
    weights = {
        name: w for name, w in random_weights("nanotabpfn", n_layers=3).items() if ".1." not in name
    }
    with pytest.raises(ValueError, match="some are missing"):
        foreign.convert(weights, "nanotabpfn", n_heads=4)


def test_a_tensor_too_many_is_named():
    weights = random_weights("nanotabpfn") | {"position.weight": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"position\.weight"):
        foreign.convert(weights, "nanotabpfn", n_heads=4)


def test_a_tensor_of_another_shape_is_named():
    weights = random_weights("nanotabpfn") | {"transformer_blocks.0.norm1.bias": torch.zeros(5)}
    with pytest.raises(ValueError, match=r"column_norm\.bias"):
        foreign.convert(weights, "nanotabpfn", n_heads=4)


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="not a multiple of n_heads = 3"):
        foreign.convert(random_weights("nanotabpfn"), "nanotabpfn", n_heads=3)


def test_another_network_is_refused(tmp_path):
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(ValueError, match="no transformer_blocks"):
        foreign.load(tmp_path / "linear.pt", "nanotabpfn")


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"PK\x03\x04 half a zip"])
def test_a_broken_file_is_refused_in_one_line(tmp_path, capsys, content):
    (tmp_path / "broken.pt").write_bytes(content)
    assert (
        cli.main(
            [
                "import",
                str(tmp_path / "broken.pt"),
                "--kind",
                "tinypfn",
                "--out",
                str(tmp_path / "o"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert "damaged" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_half_of_a_file_is_refused(tmp_path):
    whole = written(tmp_path / "whole.pt", "tinypfn").read_bytes()
    (tmp_path / "half.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        foreign.load(tmp_path / "half.pt", "tinypfn")


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the file ran code')",))


def test_a_file_cannot_run_code(tmp_path):
    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="no file of tensors"):
        foreign.load(tmp_path / "evil.pt", "tinypfn")


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds no state dict"):
        foreign.load(tmp_path / "list.pt", "tinypfn")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        foreign.load(tmp_path / "nowhere.pt", "tinypfn")


def test_an_unknown_kind_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match="tinypfn, nanotabpfn"):
        foreign.load(tmp_path / "x.pt", "bigpfn")
