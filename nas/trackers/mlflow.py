"""A search in MLflow: a run for the search, and one nested in it for each trial that was trained."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.records import TrialRecord
from nas.study.loggers import quieted
from nas.trackers.base import Ended, RunInfo, Standing, final

_EXPERIMENT = "nas"
_RUN, _TRIAL, _PARENT = "nas.run_id", "nas.trial", "mlflow.parentRunId"
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
_TOGETHER = 100
"""Parameters that a server takes at a time."""

_LONGEST = 500
"""Characters of a value that every server takes."""

_STRANGE = re.compile(r"[^\w./ -]")
"""In the name of a metric or parameter: an @, for instance."""


class MLflow:
    """The run of a search has the hypervolume and the counts over trained trials, and the run's files in the end.

    Each trial that was trained is a nested run: parameters, figures, state. These are compared with MLflow's own pages.
    A trial that was over a budget or a duplicate is none: there are ten times as many, and they are in trials.csv. A
    nested run is three requests; 2,000 trials are minutes of a server's time, spread over hours of training.

    A resumed search goes on in the run it had. The experiment is that of MLFLOW_EXPERIMENT_NAME, or "nas".

    Args:
        uri: of the server, or of a store such as sqlite:///mlflow.db; "": what MLFLOW_TRACKING_URI says.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: Any = None
        self._experiment = self._run = ""
        self._trials: dict[int, str] = {}

    def begin(self, run: RunInfo) -> None:
        """Make a run, or take up the one that there is of this search."""
        from mlflow.tracking import MlflowClient

        with quieted("mlflow", logging.WARNING):  # where it makes the tables of a new database, amidst a live table
            self._begin(MlflowClient(tracking_uri=self._uri or None), run)

    def _begin(self, client: Any, run: RunInfo) -> None:
        self._client = client
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        found = self._client.get_experiment_by_name(name)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)
        before = self._find(f"tags.`{_RUN}` = '{run.run_id}'")
        if before:
            self._run = before[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            trials = self._find(f"tags.`{_PARENT}` = '{self._run}'")
            self._trials = {int(trial.data.tags[_TRIAL]): trial.info.run_id for trial in trials}
        else:
            tags = {_RUN: run.run_id, "nas.folder": str(run.folder)}
            self._run = self._made(run.folder.name, tags)
            self._write(self._run, params=run.settings)

    def trial(self, record: TrialRecord, standing: Standing) -> None:
        """Write how the search stands, and the trial's own run."""
        self._write(self._run, metrics=standing.figures, step=standing.trained)
        new = record.number not in self._trials
        if new:
            tags = {_PARENT: self._run, _TRIAL: str(record.number)}
            self._trials[record.number] = self._made(f"trial-{record.number:05d}", tags)
        run = self._trials[record.number]
        figures = {**record.metrics, "epochs": record.epochs, "train_seconds": record.train_seconds}
        tags = {"nas.state": record.state, **({"nas.reason": record.reason} if record.reason else {})}
        step = round(1000 * record.share)  # thousandths of a full training: one that goes on has a curve
        params = {path: str(value) for path, value in record.arch.values.items()} if new else {}
        self._write(run, params=params, metrics=figures, step=step, tags=tags)
        if final(record):
            self._client.set_terminated(run, status="FAILED" if record.state == "failed" else "FINISHED")

    def end(self, ended: Ended, files: Sequence[Path], front: str) -> None:
        """Keep the run's files with it, and end it."""
        for path in files:
            self._client.log_artifact(self._run, str(path))
        self._client.log_text(self._run, front, "front.md")
        self._client.set_terminated(self._run, status=_STATUS[ended])

    def _made(self, name: str, tags: Mapping[str, str]) -> str:
        made = self._client.create_run(self._experiment, run_name=name, tags=dict(tags))
        return str(made.info.run_id)

    def _find(self, condition: str) -> list[Any]:
        found: list[Any] = []
        token = None
        while True:
            page = self._client.search_runs([self._experiment], condition, max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found

    def _write(
        self,
        run: str,
        *,
        params: Mapping[str, str] = {},
        metrics: Mapping[str, float] = {},
        step: int = 0,
        tags: Mapping[str, str] = {},
    ) -> None:
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        told = [Metric(_plain(k), float(v), now, step) for k, v in metrics.items() if math.isfinite(v)]
        marks = [RunTag(k, v[:_LONGEST]) for k, v in tags.items()]
        chunks = list(_chunks([Param(_plain(k), v[:_LONGEST]) for k, v in params.items()])) or [[]]
        for i, chunk in enumerate(chunks):
            first = i == 0
            self._client.log_batch(run, metrics=told if first else [], params=chunk, tags=marks if first else [])


def _plain(name: str) -> str:
    return _STRANGE.sub("_", name)


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for i in range(0, len(items), _TOGETHER):
        yield items[i : i + _TOGETHER]
