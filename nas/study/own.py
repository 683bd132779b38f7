"""Which study in which storage is a run's own."""

from __future__ import annotations

import sqlalchemy

from nas.errors import RunError
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder
from nas.study.storage import Storage
from nas.study.storages import hide_password

RUN_ID = "run_id"
"""The study's attribute that says whose it is."""


def own_url(folder: RunFolder) -> str:
    """Return the URL of the study that is kept in the run folder itself."""
    url = sqlalchemy.URL.create("sqlite", database=str((folder.path / "study.db").resolve()))
    return url.render_as_string(hide_password=False)


def check_there(folder: RunFolder, url: str | None) -> None:
    """Check that the folder holds the study of the run, where no other place was named.

    Raises:
        RunError: it does not.
    """
    if url is None and not (folder.path / "study.db").exists():
        raise RunError(f"{folder.path}: there is no study.db to go on with; a run with --storage needs that again")


def check_own(storage: Storage, config: StudyConfig, folder: RunFolder, url: str) -> None:
    """Refuse the study of another run: its trials would replace this run's, and this run's weights would go.

    Raises:
        RunError: it is.
    """
    theirs = storage.attributes.get(RUN_ID, "")
    if theirs != config.run_id:
        raise RunError(
            f"{folder.path}: is the run {config.run_id or 'without an id'}, and the study '{config.study_name}' in "
            f"{hide_password(url)} is the run {theirs or 'without an id'}\n"
            "  go on with the --storage that this run was begun with, or choose a new folder with --out"
        )
