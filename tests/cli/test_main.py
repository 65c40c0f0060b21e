"""Laws of the command line as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import openpfn
from openpfn import cli


@pytest.fixture
def command_that(monkeypatch):
    """Put a command called `sample` in place whose main is the given function."""

    def install(function):
        module = type(sys)("openpfn.cli.sample")
        module.main = function
        monkeypatch.setitem(sys.modules, "openpfn.cli.sample", module)
        monkeypatch.setattr(cli, "_files", lambda: {"sample": Path(__file__)})

    return install


def raising(error):
    def main(argv):
        raise error

    return main


def test_help_lists_every_command_with_its_first_docstring_line(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, line in cli.commands().items():
        assert line, f"openpfn {name} has no docstring"
        assert name in shown
        assert line in shown


def test_no_arguments_show_the_help(capsys):
    assert cli.main([]) == 0
    assert capsys.readouterr().out.startswith("usage: openpfn")


def test_version_is_the_package_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"openpfn {openpfn.__version__}"


def test_python_m_openpfn_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "openpfn", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"openpfn {openpfn.__version__}"


def test_a_misspelt_command_gets_a_suggestion(capsys, command_that):
    command_that(lambda argv: 0)
    assert cli.main(["sampel"]) == 2
    assert capsys.readouterr().err == "error: unknown command 'sampel'. Did you mean 'sample'?\n"


def test_a_command_like_no_other_gets_the_choices(capsys, command_that):
    command_that(lambda argv: 0)
    assert cli.main(["qqqq"]) == 2
    assert "Choose one of sample." in capsys.readouterr().err


def test_an_option_before_the_command_is_refused(capsys):
    assert cli.main(["--verbose"]) == 2
    assert "unknown option '--verbose'" in capsys.readouterr().err


def test_a_command_gets_the_arguments_after_its_name(command_that):
    seen = []
    command_that(seen.extend)
    assert cli.main(["sample", "a", "--help"]) == 0
    assert seen == ["a", "--help"]


def test_a_command_finds_modules_in_the_folder_where_it_is_called(tmp_path, monkeypatch, capsys):
    (tmp_path / "found_by_a_command.py").write_text("Present = int")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert cli.main(["priors", "show", "--prior", "found_by_a_command:Absent"]) == 2
    assert "'found_by_a_command:Absent' is not a TaskPrior" in capsys.readouterr().err


def test_a_commands_exit_code_is_ours(command_that):
    command_that(lambda argv: 7)
    assert cli.main(["sample"]) == 7


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("n is 0,\n   must be at least 1."), "error: n is 0, must be at least 1.\n"),
        (
            FileNotFoundError(2, "No such file or directory", "train.csv"),
            "error: No such file or directory: train.csv\n",
        ),
        (
            FileExistsError("out.csv exists. Choose another name."),
            "error: out.csv exists. Choose another name.\n",
        ),
    ],
)
def test_wrong_input_is_told_in_one_line_without_a_traceback(capsys, command_that, error, line):
    command_that(raising(error))
    assert cli.main(["sample"]) == 2
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("transformers.models", "pip install 'openpfn[text]'"),
        ("transformer_lens", "pip install 'openpfn[interp]'"),
        ("yaml", "pip install 'openpfn[text]'"),
        ("somebodys_own", "pip install somebodys-own"),
    ],
)
def test_a_missing_package_is_told_in_one_line_with_what_to_install(
    capsys, command_that, module, advice
):
    command_that(raising(ModuleNotFoundError(f"No module named {module!r}", name=module)))
    assert cli.main(["sample"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: this needs the package ")
    assert told.endswith(f"{advice}\n")
    assert told.count("\n") == 1


def test_our_own_advice_on_a_missing_package_is_told_as_it_is(capsys, command_that):
    command_that(raising(ImportError("needs peft:\n  pip install 'openpfn[text]'")))
    assert cli.main(["sample"]) == 2
    assert capsys.readouterr().err == "error: needs peft: pip install 'openpfn[text]'\n"


def test_a_module_of_ours_that_is_missing_keeps_its_traceback(command_that):
    command_that(raising(ModuleNotFoundError("No module named 'openpfn.x'", name="openpfn.x")))
    with pytest.raises(ModuleNotFoundError):
        cli.main(["sample"])


def test_a_traceback_can_be_asked_for(monkeypatch, command_that):
    monkeypatch.setenv("OPENPFN_TRACEBACK", "1")
    command_that(raising(ValueError("n is 0")))
    with pytest.raises(ValueError, match="n is 0"):
        cli.main(["sample"])


def test_our_own_mistakes_keep_their_traceback(command_that):
    command_that(raising(AssertionError("ours")))
    with pytest.raises(AssertionError, match="ours"):
        cli.main(["sample"])


def test_interruption_exits_with_130(capsys, command_that):
    command_that(raising(KeyboardInterrupt()))
    assert cli.main(["sample"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_warnings_are_told_in_one_line(capsys, command_that):
    def main(argv):
        import warnings

        warnings.warn("the table is wide", UserWarning, stacklevel=1)

    command_that(main)
    assert cli.main(["sample"]) == 0
    assert capsys.readouterr().err == "warning: the table is wide\n"
