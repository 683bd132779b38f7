"""`nas report` and `nas dashboard`: where the page goes, whose study is shown, and to whom."""

import json
import shutil
import threading
import urllib.error
import urllib.request

import pytest

from nas.errors import RunError
from nas.study.folder import RunFolder


def test_the_page_goes_into_the_run_folder_or_where_it_is_told(nas, run, tmp_path):
    result = nas("report", run)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{run / 'report.html'}\n"
    assert nas("report", run, "--out", "page.html").stdout == "page.html\n"
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["report", "nowhere"], "nowhere: no such run folder"),
        (["dashboard", "nowhere"], "nowhere: no such run folder"),
        (["report", "run", "--out", "notes.txt"], "notes.txt: exists already and is no page of ours"),
        (["dashboard", "run", "--storage", "sqlite:///none.db"], "no study called 'tiny'"),
        (["dashboard", "run", "--storage", "mysql://x"], "no kind called 'mysql'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_said(nas, run, tmp_path, args, said):
    (tmp_path / "notes.txt").write_text("mine")
    result = nas(*args)
    assert result.exit_code == 2
    assert said in result.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_that_keeps_its_study_elsewhere_says_so(nas, run):
    (run / "study.db").unlink()
    result = nas("dashboard", run)
    assert result.exit_code == 2
    assert "a run with --storage needs that again" in result.stderr


def test_the_study_of_another_run_is_not_shown(nas, run):
    text = (run / "config.yaml").read_text()
    own = RunFolder(run).read_config().run_id
    (run / "config.yaml").write_text(text.replace(own, "f" * 32))
    result = nas("dashboard", run)
    assert result.exit_code == 2
    assert "is the run ffffffff" in result.stderr


@pytest.fixture
def served(finished, tmp_path):
    """A dashboard on a free port: its address, while it answers."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    from nas.study import dashboard

    run, ready, address = RunFolder(shutil.copytree(finished, tmp_path / "served")), threading.Event(), []
    servers = []

    class Server(dashboard._Server):
        def __init__(self, *args):
            super().__init__(*args)
            servers.append(self)

    def tell(url):
        address.append(url)
        ready.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dashboard, "_Server", Server)
        thread = threading.Thread(target=dashboard.serve, args=(run, None, "127.0.0.1", 0, tell))
        thread.start()
        assert ready.wait(60)
        yield address[0]
        servers[0].shutdown()
        thread.join(60)
    assert not thread.is_alive()
    assert [path.name for path in run.path.glob("study.db*")] == ["study.db"], "one file again"


def ask(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
        return answer.read()


def test_the_dashboard_shows_the_study_to_this_machine(served, finished):
    root, _, study = served.rpartition("/dashboard/studies/")
    assert root.startswith("http://127.0.0.1:")
    assert b"<html" in ask(served)
    found = json.loads(ask(f"{root}/api/studies/{study}?after=0"))
    assert len(found["trials"]) == len((finished / "trials.csv").read_text().splitlines()) - 1
    for headers in ({"Host": "evil.example"}, {"Origin": "https://evil.example"}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            ask(f"{root}/api/studies", **headers)


def test_a_port_that_is_taken_is_named(served, finished, tmp_path):
    from nas.study.dashboard import serve

    port = int(served.split(":")[2].split("/")[0])
    run = RunFolder(shutil.copytree(finished, tmp_path / "second"))
    with pytest.raises(RunError, match=f"port {port} cannot be used: .*--port"):
        serve(run, None, "127.0.0.1", port, lambda url: None)
