"""Commands run in this process, in an empty folder of their own."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from nas.cli import main


@pytest.fixture
def nas(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Run a command with the folder of this test as the working directory."""
    monkeypatch.chdir(tmp_path)
    return lambda *args: CliRunner().invoke(main, [str(a) for a in args])
