"""`openpfn playground`: the page served, or written as a static site."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request

import pytest

from openpfn import cli
from openpfn.playground.site import SITE, Server


def test_out_writes_the_whole_page(tmp_path, capsys):
    assert cli.main(["playground", "--out", str(tmp_path / "site")]) == 0
    written = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*")}
    assert written == {path.relative_to(SITE) for path in SITE.rglob("*")}
    assert (tmp_path / "site" / "tiny.wasm").read_bytes() == (SITE / "tiny.wasm").read_bytes()
    assert f"{tmp_path / 'site'}" in capsys.readouterr().out
    assert cli.main(["playground", "--out", str(tmp_path / "site")]) == 0  # once more


def test_a_folder_that_holds_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
    assert cli.main(["playground", "--out", str(tmp_path)]) == 2
    assert "thesis.tex" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder(tmp_path, capsys):
    (tmp_path / "page").write_text("", encoding="utf-8")
    assert cli.main(["playground", "--out", str(tmp_path / "page")]) == 2
    assert "must be a folder" in capsys.readouterr().err


def test_a_port_that_cannot_be_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["playground", "--port", "70000"])
    assert "port is 70000" in capsys.readouterr().err


@pytest.fixture
def served():
    with Server(0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("", "text/html"), ("tiny.wasm", "application/wasm"), ("page.js", "javascript")],
)
def test_files_are_served_as_what_they_are(served, name, kind):
    with urllib.request.urlopen(served + name, timeout=10) as answer:
        assert kind in answer.headers["content-type"]
        assert answer.read() == (SITE / (name or "index.html")).read_bytes()


@pytest.mark.parametrize("name", ["../site.py", "%2e%2e/site.py", "..%2fsite.py", "elsewhere"])
def test_nothing_but_the_page_is_served(served, name):
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(served + name, timeout=10)


def test_it_serves_this_machine_alone():
    with Server(0) as server:
        assert server.server_address[0] == "127.0.0.1"
