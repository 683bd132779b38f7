"""The watcher that passes on to trackers: in a thread, so that a slow or silent server holds nothing up."""

from __future__ import annotations

import importlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING

from nas.errors import NasError, did_you_mean
from nas.records import TrialRecord, summary
from nas.study.front import relative_hypervolume
from nas.study.ledger import was_trained
from nas.trackers.base import Ended, RunInfo, Standing, Tracker

if TYPE_CHECKING:
    from nas.study.evaluate import Candidate
    from nas.study.loop import Search, Watcher
    from nas.training import EpochLog

TRACKERS = {
    "tensorboard": ("nas.trackers.tensorboard", "TensorBoard", "tensorboard"),
    "mlflow": ("nas.trackers.mlflow", "MLflow", "mlflow"),
}
"""Name to module, class, and the package it needs, which is an extra of the tracker's name."""

_LAST_S = 20.0
"""Without an answer, after which a tracker is given up when the search is over."""

_FILES = ("config.yaml", "machine.json", "trials.csv", "front.csv", "front.png")
_MOST_ROWS = 50
"""Of the front's table."""


class Tracking:
    """A watcher that passes on to another one and to trackers; a context, which ends their tracking.

    Args:
        specs: such as "tensorboard", "tensorboard:DIR", "mlflow", "mlflow:URI".
        watcher: told all that happens, first.
        say: told once of a tracker that fails, and why.
    Raises:
        NasError: there is no such tracker, or what it needs is not installed.
    """

    def __init__(self, specs: Sequence[str], watcher: Watcher, say: Callable[[str], None]) -> None:
        self._watcher, self._say = watcher, say
        self._posts = [_Post(spec, make_tracker(spec)) for spec in specs]
        self._search: Search | None = None

    def begin(self, search: Search) -> None:
        """Take up a search that is ready to run."""
        self._search = search
        config = search.evaluator.config
        left_out = ("space", "plugins", "run_id", "data_fingerprint")
        settings = {f.name: getattr(config, f.name) for f in fields(config) if f.name not in left_out}
        words = {name: ", ".join(map(str, v)) if isinstance(v, tuple) else str(v) for name, v in settings.items()}
        words["space"] = config.space.name
        info = RunInfo(search.folder.path.absolute(), config.run_id, words)
        for post in self._posts:
            post.send(lambda tracker: tracker.begin(info))

    def recorded(self, record: TrialRecord, search: Search) -> None:
        """Pass a trial on; trackers are told of those that were trained."""
        self._watcher.recorded(record, search)
        self._complain()
        if not was_trained(record) or not self._posts:
            return
        states = Counter(r.state for r in search.records)
        volume = relative_hypervolume(search.ledger.completed, search.objectives)
        figures = {
            **({} if volume is None else {"hypervolume": volume}),
            "front_size": float(len(search.front())),
            **{f"n_{state}": float(n) for state, n in sorted(states.items())},
        }
        standing = Standing(search.trained, figures)
        for post in self._posts:
            post.send(lambda tracker: tracker.trial(record, standing))

    def training(self, number: int, candidate: Candidate, search: Search) -> None:
        """Pass it on; trackers are told when it is over."""
        self._watcher.training(number, candidate, search)

    def progress(self, number: int, log: EpochLog) -> None:
        """Pass it on; a curve for each of thousands of trials is more than one looks at."""
        self._watcher.progress(number, log)

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._search is not None and self._posts:
            ended: Ended = "finished"
            if kind is KeyboardInterrupt or (isinstance(error, SystemExit) and error.code == 130):
                ended = "interrupted"
            elif kind is not None and not issubclass(kind, SystemExit):
                ended = "failed"
            folder = self._search.folder.path.absolute()
            files = [path for name in _FILES if (path := folder / name).exists()]
            table = _table(self._search)
            for post in self._posts:
                post.send(lambda tracker: tracker.end(ended, files, table))
        for post in self._posts:
            post.close(_LAST_S)
        self._complain()

    def _complain(self) -> None:
        for post in self._posts:
            if (line := post.complaint()) is not None:
                self._say(line)


def make_tracker(spec: str) -> Tracker:
    """Return the tracker that a text names.

    Raises:
        NasError: there is none, or what it needs is not installed.
    """
    name, _, where = spec.partition(":")
    if name not in TRACKERS:
        raise NasError(did_you_mean("tracker", name, TRACKERS))
    module, cls, package = TRACKERS[name]
    if find_spec(package) is None:
        raise NasError(f"--track {name}: {package} is not installed; pip install 'pareto-nas[{name}]'")
    made: Tracker = getattr(importlib.import_module(module), cls)(where)
    return made


class _Post:
    """A tracker, and the thread in which it is told."""

    def __init__(self, spec: str, tracker: Tracker) -> None:
        self.spec, self._tracker = spec, tracker
        self._letters: SimpleQueue[Callable[[Tracker], None] | None] = SimpleQueue()
        self._error: Exception | None = None
        self._said = False
        self._thread = threading.Thread(target=self._deliver, name=f"track-{spec}", daemon=True)
        self._thread.start()

    def send(self, letter: Callable[[Tracker], None]) -> None:
        """Have the tracker told, soon."""
        self._letters.put(letter)

    def complaint(self) -> str | None:
        """Return why the tracker was given up, the first time one asks."""
        if self._error is None or self._said:
            return None
        self._said = True
        words = " ".join(str(self._error).split())[:300]
        return f"--track {self.spec} ends here, and the search goes on: {type(self._error).__name__}: {words}"

    def close(self, seconds: float) -> None:
        """Wait for what is still to be told, as long as something is within so many seconds."""
        self._letters.put(None)
        left = math.inf
        while self._thread.is_alive() and (now := self._letters.qsize() + 1) < left:
            left = now
            self._thread.join(seconds)
        if self._thread.is_alive() and self._error is None:
            self._error = TimeoutError(f"no answer for {seconds:g} s, with {left} messages still to be told")

    def _deliver(self) -> None:
        while (letter := self._letters.get()) is not None:
            if self._error is None:
                try:
                    letter(self._tracker)
                except Exception as error:  # whatever a library or its server does
                    self._error = error


def _table(search: Search) -> str:
    """Return the front in Markdown, cheapest first."""
    names = [o.name for o in search.objectives]
    first = next((o for o in search.objectives if o.cheap), search.objectives[0])
    members = sorted(search.ledger.front, key=lambda r: first.plain_loss(r.metrics[first.name]))
    rows = [["trial", *names, "blocks"], ["---"] * (len(names) + 2)]
    for r in members[:_MOST_ROWS]:
        blocks = ""
        with suppress(NasError):
            blocks = summary(search.evaluator.config.space.resolve(r.arch))
        rows.append([str(r.number), *(f"{r.metrics[name]:.4g}" for name in names), blocks])
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return text if len(members) <= _MOST_ROWS else f"{text}\n\n{len(members)} in all"
