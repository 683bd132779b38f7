"""The face in Python: the same power as the commands, as three small classes.

What needs torch is imported by the method that needs it: looking at a front does not.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.catalog import find_space
from nas.durations import seconds
from nas.errors import BudgetError, NasError, did_you_mean
from nas.measure.target import Target
from nas.objectives import LATENCY, Budget, is_latency, parse_objective
from nas.pareto import choose, parse_rule, remarks, spread, worst_of_interest
from nas.plugins import check_same
from nas.plugins import load as load_plugin
from nas.records import COLUMNS, TrialRecord, cell, latency_columns, mark_front, summary, write_rows
from nas.retrain import Retrained, read_retrained
from nas.retrain.watch import Unwatched
from nas.retrain.watch import Watcher as RetrainWatcher
from nas.space import Space
from nas.study.config import StudyConfig
from nas.study.elsewhere import targets_again, targets_in
from nas.study.folder import RunFolder
from nas.study.front import front_numbers, overlapping
from nas.training.fidelity import Rung

if TYPE_CHECKING:
    import pandas as pd

    from nas.build import Network
    from nas.data import Task
    from nas.export.quantize import Precision
    from nas.measure import OpenMeter
    from nas.measured import MeasuredTrial
    from nas.metrics import Metric
    from nas.ship import Shipped
    from nas.study.loop import Ended, Limits, Watcher
    from nas.trackers import Tracking
    from nas.training import EpochLog

_TARGETS = "texts such as ['ssh:pi@kitchen/onnxruntime']"

MOST_WORKERS = 1000
"""More are a slip of the finger: each is a process with a copy of the data."""


def load_space(spec: str | Path) -> Space:
    """Return a shipped space by name or a space file by path, every part and field of it checked.

    Raises:
        SpaceError: naming file, line, path, value and remedy.
    """
    from nas.study.check import check_space

    space = find_space(spec)
    check_space(space)
    return space


class Study:
    """A search for the Pareto front of one space on one data set.

    Args:
        space: a Space, the name of a shipped one, or the path of a space file.
        plugins: files or modules with parts of your own, see `nas.load_plugin`.
        data: the name of a data set; the path of a .npz, .csv, .tsv or .ts file or of a folder of images; a function,
            such as "mine.py:load"; or a Task.
        objectives: names, and metrics of your own (`nas.Metric`).
        budgets, warm_start, sampler, seed, epochs, subset, ...: as in `StudyConfig`.
        rungs: where a training may be stopped: shares of a full one as texts or numbers, one or several; "none".
        out: the run folder; None: `results/<space>-001`, or the first number that is free.
        storage: an Optuna storage URL; None: `study.db` in the run folder.
        download: fetch a named data set that is not there.
    Raises:
        NasError: anything the user can mend, before anything is written.

    >>> study = Study("digits", objectives=["accuracy", "n_params"], out="results/doc")  # doctest: +SKIP
    >>> front = study.search(trials=20)  # doctest: +SKIP
    """

    def __init__(
        self,
        space: Space | str | Path = "digits",
        data: str | Path | Task = "digits",
        objectives: Sequence[str | Metric] = "auto",
        budgets: Sequence[str] = (),
        *,
        out: str | Path | None = None,
        storage: str | None = None,
        download: bool = False,
        trial_time_limit: float | str | None = None,
        plugins: Sequence[str | Path] = (),
        **options: Any,
    ) -> None:
        from nas.study.check import check_space

        for plugin in _texts("plugins", plugins, "files or modules such as ['my_blocks.py']", (Path,)):
            load_plugin(plugin)
        self.space = space if isinstance(space, Space) else find_space(space)
        check_space(self.space)
        self.task = None if isinstance(data, str | Path) else _task(data)
        self._code = True  # who names a function here has it run
        known = {f.name for f in dataclasses.fields(StudyConfig)} - {"trial_time_limit_s"} | {"trial_time_limit"}
        for name in options:
            if name not in known:
                raise NasError(f"Study: {did_you_mean('option', name, known)}")
        if "rungs" in options:
            options["rungs"] = _texts("rungs", options["rungs"], "shares such as ['1/9', '0.3']", (Real, Rung))
        self.config = StudyConfig(
            space=self.space,
            data=str(data) if self.task is None else self.task.name,
            objectives=_texts("objectives", _filed(objectives), "texts such as ['accuracy', 'latency_ms']"),
            budgets=_texts("budgets", budgets, "texts such as ['latency_ms<=2']"),
            trial_time_limit_s=None if trial_time_limit is None else seconds(trial_time_limit),
            **options,
        )
        self.folder = RunFolder.numbered(Path("results"), self.space.name) if out is None else RunFolder(out)
        self.storage, self.resumed, self.download = storage, False, download
        self._targets = list(self.config.latencies().values())  # which the user names here

    @classmethod
    def resume(
        cls,
        run: str | Path,
        *,
        storage: str | None = None,
        data: str | Path | None = None,
        task: Task | None = None,
        plugins: Sequence[str | Path] = (),
        targets: Sequence[str] = (),
    ) -> Study:
        """Return the study of a run folder, to go on with it.

        Args:
            storage: the URL it was made with, where that was not the folder's own file.
            data: where the data are now, if not where they were; a function that makes them is named again.
            task: the data, where they came as a Task.
            plugins: those the run was made with, unchanged: code is never loaded because a run's file names it.
            targets: those of the run on other machines, named again: none is connected to because a file names it.
        Raises:
            RunError: there is no run in the folder, or a plugin is missing or was changed since.
        """
        config = RunFolder(run).read_config()
        given = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        for plugin in _texts("plugins", plugins, "files or modules such as ['my_blocks.py']", (Path,)):
            load_plugin(plugin)
        check_same(given.pop("plugins"), str(run), strict=True)
        given["trial_time_limit"] = given.pop("trial_time_limit_s")
        study = cls(**{**given, "data": task or data or config.data}, out=run, storage=storage)
        study.config = dataclasses.replace(study.config, plugins=config.plugins)
        study.resumed, study._code = True, data is not None
        study._targets = targets_in(objectives=[f"{LATENCY}@{one}" for one in _texts("targets", targets, _TARGETS)])
        return study

    def search(
        self,
        trials: int | None = None,
        time_limit: float | str | None = None,
        *,
        plateau: int | None = None,
        workers: int | None = None,
        executor: str = "local",
        watcher: Watcher | None = None,
        track: Sequence[str] = (),
    ) -> Front:
        """Search until so many trials are trained (of this study, earlier ones included) or the time is over.

        Args:
            trials: None: no limit but the others; 50 where there is none.
            time_limit: seconds, or text such as '15m'.
            plateau: end after so many trainings that did not add to the hypervolume of the front.
            workers: processes that train, one core each; None or 1: this one. A script that asks for more keeps what
                it does under `if __name__ == "__main__":`, since each of them imports it.
            track: where to follow it: "tensorboard", "tensorboard:DIR", "mlflow", "mlflow:URI"; several if you like.
            executor: "local", or "ray" or "ray:ADDRESS" for a Ray cluster, by default with all that it has room for.
        Returns:
            The front found so far; call again to go on.
        """
        from nas.study.loop import Limits, Quiet
        from nas.study.session import load_data
        from nas.trackers import Tracking

        if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
            raise NasError(f"trials must be an integer of at least 1, got {trials!r}")
        if plateau is not None and (isinstance(plateau, bool) or not isinstance(plateau, int) or plateau < 1):
            raise NasError(f"plateau must be an integer of at least 1, got {plateau!r}")
        _check_workers(workers)
        if trials is None and time_limit is None and plateau is None:
            trials = 50
        limits = Limits(trials, None if time_limit is None else seconds(time_limit), plateau)
        specs = _texts("track", track, "texts such as ['mlflow']")
        with Tracking(specs, watcher or Quiet(), lambda line: warnings.warn(line, stacklevel=2)) as tracking:
            if self.task is None:
                self.task = load_data(self.config, download=self.download, code=self._code)
            ended = self._search(limits, tracking, workers, executor)
            self.resumed = True
            if ended == "interrupted":
                raise KeyboardInterrupt  # everything finished is kept; the script is to stop all the same
            front = Front.load(self.folder.path, data=self.task)
            front._targets, front._executor = tuple(self._targets), executor
            if front.members:
                front.plot()
        return front

    def _search(self, limits: Limits, tracking: Tracking, workers: int | None, executor: str) -> Ended:
        """Open the search, run it, and close it."""
        from nas.study.session import open_search

        with open_search(
            self.config,
            self.folder,
            limits,
            task=self.task,
            storage_url=self.storage,
            resume=self.resumed,
            watcher=tracking,
            workers=workers,
            executor=executor,
            targets=self._targets,
        ) as search:
            tracking.begin(search)
            return search.run()


def _task(given: object) -> Task:
    """Return data that are no text as what they are to be.

    Raises:
        NasError: they are something else.
    """
    from nas.data import Task

    if not isinstance(given, Task):
        raise NasError(
            "data must be a name, a path, a function as text such as 'mine.py:load', or a Task (nas.load_task), got "
            f"{given!r}"
        )
    return given


def _check_workers(workers: object) -> None:
    whole = isinstance(workers, int) and not isinstance(workers, bool)
    if workers is not None and not (whole and 1 <= workers <= MOST_WORKERS):  # type: ignore[operator]
        raise NasError(f"workers must be an integer from 1 to {MOST_WORKERS:,}, got {workers!r}; one for each core")


def _filed(objectives: Any) -> Any:
    """Return objectives with the names of metrics in place of the metrics themselves, which are filed."""
    from nas.metrics import METRICS, Metric

    several = [objectives] if isinstance(objectives, Metric) else objectives
    if isinstance(several, str) or not isinstance(several, Iterable):
        return objectives
    several = list(several)
    for one in several:
        if isinstance(one, Metric):
            METRICS.take(one)
    return [one.name if isinstance(one, Metric) else one for one in several]


def _texts(name: str, given: object, kind: str, also: tuple[type, ...] = ()) -> tuple[str, ...]:
    """Return one text or several as a tuple; values of the types `also` are written as text.

    Raises:
        NasError: they are something else; says which `kind` to write.
    """
    several = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    if not all(isinstance(one, (str, *also)) and not isinstance(one, bool) for one in several):
        raise NasError(f"{name} must be a list of {kind}, got {given!r}")
    return tuple(map(str, several))


class Front:
    """The networks of a run that no other dominates, cheapest first."""

    def __init__(
        self,
        folder: RunFolder,
        config: StudyConfig,
        records: Sequence[TrialRecord],
        task: Task | None = None,
        *,
        code: bool = False,
    ) -> None:
        self.folder, self.config, self.records = folder, config, list(records)
        self._task, self._code = task, code
        self._targets: tuple[str, ...] = ()
        self._executor = "local"
        """Named in this process by who searched; a front that was read knows of none."""
        self._told_of_plugins = False
        first = next((o for o in config.parsed_objectives() if o.cheap), config.parsed_objectives()[0])
        self.members = sorted(
            (Member(self, r) for r in records if r.on_front), key=lambda m: first.plain_loss(m.metrics[first.name])
        )

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        budgets: Sequence[str] = (),
        data: str | Path | Task | None = None,
        data_root: str | Path | None = None,
    ) -> Front:
        """Read a run folder.

        Args:
            data, data_root: where the run's data are now, or the Task itself; None: where they were. A function that
                makes them is named again.
            budgets: limits on any objective; the front is that of the trials which keep them.
        Raises:
            RunError: there is no run in the folder.
            BudgetError: a budget that cannot be read.
        """
        folder = RunFolder(run)
        config, records = folder.read()
        task = None
        if isinstance(data, str | Path):
            config = dataclasses.replace(config, data=str(data))
        elif data is not None:
            task = _task(data)
            config.check_data(task.fingerprint(), task.name)
        if data_root is not None:
            config = dataclasses.replace(config, data_root=str(data_root))
        if budgets:
            limits = [config.plain_budget(Budget.parse(text)) for text in budgets]
            kept = [
                r
                for r in records
                if r.state == "complete" and all(b.kept(r.metrics.get(b.objective, float("nan"))) for b in limits)
            ]
            records = mark_front(records, front_numbers(kept, config.parsed_objectives()))
        return cls(folder, config, records, task, code=isinstance(data, str | Path))

    @property
    def task(self) -> Task:
        """The data of the run, loaded when first needed."""
        if self._task is None:
            from nas.study.session import load_data

            self._need_plugins()
            task = load_data(self.config, code=self._code)
            self.config.check_data(task.fingerprint(), self.config.data)
            self._task = task
        return self._task

    def __len__(self) -> int:
        return len(self.members)

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    def __getitem__(self, index: int) -> Member:
        return self.members[index]

    def __repr__(self) -> str:
        return f"<front of {len(self)} networks in {self.folder.path}>"

    def pick(self, rule: str) -> Member:
        """Choose one network: `knee`, `best:accuracy where latency_ms<=1`, `closest:accuracy=0.95`, `trial:17`.

        See `nas.pareto.parse_rule` for what can be written, and `nas.pareto.choose` for what it means. The knee is
        that of the networks that are not far more often wrong than the best (`nas.pareto.worst_of_interest`): many a
        front begins with some that are hardly better than chance, and bends most where the first useful one is.

        Raises:
            NasError: the rule cannot be read, or nothing fits it.
        """
        parsed = parse_rule(rule).renamed(self.config.plain_name)
        objectives = self.config.parsed_objectives()
        row = None
        if parsed.kind == "knee" and (rows := self._of_interest()):
            with suppress(BudgetError):  # a limit that only others keep
                row = choose(parsed, rows, objectives)
        row = row or choose(parsed, self.records, objectives)
        return Member(self, next(r for r in self.records if r.number == row.number))

    @property
    def _knee(self) -> int | None:
        """Number of the trial at the knee; None where there is no front."""
        return self.pick("knee").record.number if self.members else None

    def _of_interest(self) -> list[TrialRecord]:
        """Return the members that are not far more often wrong than the best."""
        kept = [m.record for m in self.members]
        for o in (o for o in self.config.parsed_objectives() if o.is_share and o.has_error):
            worst = worst_of_interest(o.error(record.metrics[o.name]) for record in kept)
            kept = [record for record in kept if not o.error(record.metrics[o.name]) > worst]
        return kept

    def pick_all(self, rules: Iterable[str]) -> list[Member]:
        """Choose a network by each rule; what several rules choose is there once.

        Raises:
            NasError: a rule cannot be read, or nothing fits it.
        """
        return list({member.record.number: member for member in map(self.pick, rules)}.values())

    def remarks(self, rules: Iterable[str]) -> list[str]:
        """Return a line for each wish in rules that lies outside of what the front has; see `nas.pareto.remarks`."""
        parsed = (parse_rule(rule).renamed(self.config.plain_name) for rule in rules)
        return [line for rule in parsed for line in remarks(rule, self.records)]

    def spread(self, n: int) -> list[Member]:
        """Choose the `n` members that together dominate most, cheapest first; see `nas.pareto.spread`.

        None that is far more often wrong than the best, see `nas.pareto.worst_of_interest`.
        """
        rows = {row.number for row in spread(self._of_interest(), self.config.parsed_objectives(), n)}
        return [member for member in self.members if member.record.number in rows]

    def sorted_by(self, name: str, members: Sequence[Member] | None = None) -> list[Member]:
        """Return members, the best in a figure first; what does not know it last.

        Args:
            members: None: all.
        Raises:
            NasError: none of them knows such a figure.
        """
        members = self.members if members is None else members
        known = {name for member in members for name in member.metrics}
        if name not in known:
            raise NasError(did_you_mean("figure of this run", name, known))
        objective = parse_objective(name)
        return sorted(members, key=lambda m: objective.plain_loss(m.metrics[name]) if name in m.metrics else math.inf)

    def retrain(
        self,
        members: Sequence[Member] | None = None,
        seeds: int = 3,
        epochs: int | None = None,
        *,
        time_limit: float | str | None = None,
        workers: int | None = 1,
        training: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        watcher: RetrainWatcher | None = None,
    ) -> list[Model]:
        """Train networks on all data but the test set, once per seed, and judge them there; see `nas.retrain.retrain`.

        Args:
            members: None: the whole front.
            time_limit: seconds, or text such as '15m'.
            workers: processes that train, one core each; 1: this one. None: as many as there are cores or GPUs. A
                script that asks for more keeps what it does under `if __name__ == "__main__":`, since each of them
                imports it.
            training: fields of a space's `training:` instead of those searched, such as `{"optimizer": "sgd"}`.
        Returns:
            Those that could be trained, in the order given.
        """
        began = time.monotonic()  # a time limit counts loading, too
        from nas.retrain import retrain
        from nas.study.limits import training_process

        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
            raise NasError(f"seeds must be an integer of at least 1, got {seeds!r}")
        if epochs is not None and (isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1):
            raise NasError(f"epochs must be an integer of at least 1, got {epochs!r}")
        _check_workers(workers)
        self._need_plugins()
        chosen = {m.record.number: m for m in (self.members if members is None else members)}
        if not chosen:
            raise NasError(f"{self.folder.path}: there is no network to retrain")
        with training_process():
            found = retrain(
                self.config,
                [m.record for m in chosen.values()],
                self.task,
                self.folder,
                seeds=seeds,
                epochs=epochs,
                time_limit_s=None if time_limit is None else seconds(time_limit),
                workers=workers,
                training=training,
                overwrite=overwrite,
                watcher=watcher,
                began=began,
            )
        return [chosen[one.trial]._model(one) for one in found]

    def to_csv(self, path: str | Path, members: Sequence[Member] | None = None) -> None:
        """Write the front as CSV, one row per network, with the columns of `to_dataframe`.

        Args:
            members: others than those of the front, or in another order.
        Raises:
            RunError: it cannot be written, or a retraining cannot be read.
        """
        rows, columns = self._table(members)
        write_rows(Path(path), [{name: cell(value) for name, value in row.items()} for row in rows], columns)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the front as a table, one row per network.

        What one chooses by comes first: trial, objectives with their intervals, the test figure where one was
        retrained, the marks `knee`, `exported` and `alike` (trials it cannot be told apart from), and `blocks`. Then
        all other columns of `front.csv`.
        """
        import pandas as pd

        rows, columns = self._table()
        return pd.DataFrame(rows, columns=columns)

    def _table(self, members: Sequence[Member] | None = None) -> tuple[list[dict[str, object]], list[str]]:
        """Return rows by column, and the columns in their order; see `to_dataframe`."""
        members = self.members if members is None else members
        alike, rows = overlapping([m.record for m in members]), []
        test: dict[str, None] = {}
        knee = self._knee
        for member in members:
            record, tested = member.record, member.retrained
            row: dict[str, object] = {} if tested is None else tested.test_cells()
            test |= dict.fromkeys(row)
            row["knee"] = "true" if record.number == knee else "false"
            row["exported"] = "true" if member.exported else "false"
            row["alike"] = " ".join(map(str, alike.get(record.number, ())))
            row["blocks"] = member.summary
            rows.append({**row, **record.to_row()})
        names = [o.name for o in self.config.parsed_objectives()]
        first = [column for name in names for column in (latency_columns(name) if is_latency(name) else (name,))]
        order = ["trial", *first, *test, "knee", "exported", "alike", "blocks", *COLUMNS, *self.config.columns()]
        return rows, list(dict.fromkeys(order))

    def plot(self, path: str | Path | None = None) -> Path:
        """Draw the front as PNG; None: `front.png` in the run folder."""
        from nas.report import plot_front

        path = Path(path) if path is not None else self.folder.picture
        objectives, budgets = self.config.parsed_objectives(), self.config.parsed_budgets()
        title = f"{self.config.space.name} on {Path(self.config.data).stem}"
        labels = {m.record.number: m.summary for m in self.members}
        plot_front(path, self.records, objectives, budgets, title=title, labels=labels, knee=self._knee)
        return path

    def report(self, path: str | Path | None = None) -> Path:
        """Write one HTML page about the run, which opens without a network; None: `report.html` in the run folder.

        Neither torch nor the data are needed: what is drawn was kept by the search.

        Raises:
            RunError: the file cannot be written, or one of the run's cannot be read.
        """
        from nas.report import Story, read_kept, write_page
        from nas.study.command import code_again, search_commands
        from nas.study.front import completed, hypervolume_box, hypervolume_trace

        path, run = Path(path) if path is not None else self.folder.report, str(self.folder.path)
        kept, objectives = read_kept(self.folder.path), self.config.parsed_objectives()
        done = completed(self.records)
        again, targets = code_again(self.config), targets_again(self.config)
        further = ["retrain", run, "--pick", "knee", *again], ["export", run, "--pick", "knee", *targets, *again]
        box = hypervolume_box(done, objectives)
        story = Story(
            run=self.folder.path.resolve().name,
            space=self.config.space,
            data=Path(self.config.data).stem,
            objectives=objectives,
            budgets=self.config.parsed_budgets(),
            records=self.records,
            knee=self._knee,
            alike=self.indistinguishable(),
            trace=hypervolume_trace(done, objectives),
            box=(0, {}) if box is None else (box.n_trials, box.reference(objectives)),
            batches={name: Target.parse(target).batch for name, target in self.config.latencies().items()},
            commands=search_commands(self.config, kept["machine"].get("searches", []), run),
            next=[shlex.join(["nas", *words]) for words in further if self.members],
            **kept,
        )
        write_page(path, story)
        return path

    def changed_plugins(self) -> list[str]:
        """Return a line for each plugin that builds, reads data or measures and has changed since the run was made.

        Raises:
            RunError: one is not loaded; see `nas.load_plugin`.
        """
        self._told_of_plugins = True
        kinds = ("block", "head", "data set", "runtime")
        return check_same(self.config.plugins, str(self.folder.path), strict=False, kinds=kinds)

    def _need_plugins(self) -> None:
        """Check that code of a user's own is there, and warn where it has changed, once."""
        told = self._told_of_plugins
        for line in self.changed_plugins():
            if not told:
                warnings.warn(line, stacklevel=3)

    def meters(self, targets: Sequence[str] = (), *, executor: str | None = None) -> dict[str, OpenMeter]:
        """Return meters by name of the price. Use each in a `with` block.

        Args:
            targets: those of the run have its calibration, others one that is made now. None: all of the run; those
                on other machines are named again.
            executor: "ray" or "ray:ADDRESS", said again where the run measured on a cluster.
        Raises:
            RunError: the run kept no calibration, or measured on another machine that nobody named here.
        """
        from nas.study.meters import open_meters

        self._need_plugins()
        executor = self._executor if executor is None else executor
        return open_meters(self.config, self.folder, targets or self._targets, executor)

    def measure(
        self,
        targets: Sequence[str] = (),
        *,
        members: Sequence[Member] | None = None,
        csv: str | Path | None = None,
        executor: str | None = None,
    ) -> list[MeasuredTrial]:
        """Measure the latencies of the front again, as the search did; see `nas.measured.measure_trials`.

        Args:
            targets, executor: such as "openvino"; see `Front.meters`.
            members: other networks than those of the front, such as `[front.pick("knee")]`.
            csv: a table goes there, and what it was measured on beside it.
        Raises:
            NasError: a target that is none, or not available here; or there is no folder for the table.
        """
        from nas.measure import opened
        from nas.measured import check_table, measure_trials, write_measured
        from nas.study.limits import training_process

        if csv is not None:
            check_table(csv)
        chosen = self.members if members is None else members
        with training_process(), opened(self.meters(targets, executor=executor)) as meters:
            found = measure_trials(self.config, [m.record for m in chosen], self.task, self.folder, meters)
            if csv is not None:
                write_measured(Path(csv), found, meters)
        return found

    def indistinguishable(self) -> dict[int, list[int]]:
        """Return which members are not known to be faster or slower than a member, by number of its trial.

        The intervals of a latency overlap; on several targets, those of any.
        """
        return overlapping([m.record for m in self.members])


@dataclass(frozen=True)
class Member:
    """One network of a run."""

    front: Front
    record: TrialRecord

    @property
    def metrics(self) -> dict[str, float]:
        """Every known figure by name: accuracy, latency_ms, macs, ..."""
        return self.record.metrics

    @property
    def summary(self) -> str:
        """Its blocks in a few words."""
        return summary(self.front.config.space.resolve(self.record.arch))

    @property
    def notice(self) -> str:
        """What one should know before one trusts its accuracy: where its training was stopped; "" where it was not."""
        if self.record.state != "stopped_early":
            return ""
        so_far = f"trial {self.record.number} was stopped after {100 * self.record.share:.3g} % of its training"
        return f"{so_far}: its accuracy in the search is of then"

    def network(self) -> Network:
        """Return the torch module with its weights, in evaluation mode.

        Raises:
            RunError: there are no weights of this trial.
        """
        from nas.ship import load_network

        self.front._need_plugins()
        return load_network(self.front.config, self.record, self.front.task, self.front.folder)[1]

    @property
    def retrained(self) -> Retrained | None:
        """What its finished retraining found; None where there is none.

        Raises:
            RunError: it cannot be read.
        """
        return read_retrained(self.front.folder.retrained_trial(self.record.number))

    @property
    def exported(self) -> bool:
        """Whether there is a file of it, of any format, in the folder of exports."""
        from nas.export import FORMATS

        suffixes, path = {FORMATS[name].suffix for name in FORMATS}, self.front.folder.exported(self.record.number)
        return any(file.suffix in suffixes for file in path.parent.glob(f"{path.stem}.*"))

    @property
    def outdated(self) -> bool:
        """Whether its files in the folder of exports have the weights of the search, and it was retrained since."""
        return self.retrained is not None and self.front.folder.exported_weights(self.record.number) == {"searched"}

    def retrain(
        self,
        seeds: int = 3,
        epochs: int | None = None,
        *,
        time_limit: float | str | None = None,
        workers: int | None = 1,
        training: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        on_epoch: Callable[[int, EpochLog], None] | None = None,
    ) -> Model:
        """Train it on all data but the test set, once per seed, and judge it there; see `Front.retrain`.

        What was interrupted goes on, what is finished is kept; `Model.mean` and `Model.interval` are of the test set.

        Args:
            on_epoch: told the seed and the epoch.
        """
        watcher = None if on_epoch is None else _OnEpoch(on_epoch)
        options = {"time_limit": time_limit, "workers": workers, "training": training, "overwrite": overwrite}
        return self.front.retrain([self], seeds, epochs, **options, watcher=watcher)[0]  # type: ignore[arg-type]

    def _model(self, found: Retrained) -> Model:
        return Model(**{f.name: getattr(found, f.name) for f in dataclasses.fields(found)}, member=self)

    def export(
        self,
        path: str | Path | None = None,
        *,
        format: str = "onnx",
        precision: Precision | None = None,
        overwrite: bool = False,
        targets: Sequence[str] = (),
        executor: str | None = None,
    ) -> Shipped:
        """Write a checked file and measure it; see `nas.ship.ship`.

        Args:
            path: of the file, or of a folder that is there; None: in the run folder's `exports`.
            format: onnx, pt2, openvino or executorch.
            precision: fp32, int8_dynamic or int8_static; None: the trial's own.
            targets, executor: on what it is measured; see `Front.meters`.
        """
        from nas.ship import Job, exported_path, placed, ship_all

        self.front._need_plugins()
        front, record = self.front, self.record
        default = exported_path(front.config, record, front.folder, precision, format)
        job = Job(record, format, default if path is None else placed(Path(path), default))
        done = ship_all(
            front.config,
            front.task,
            front.folder,
            [job],
            precision=precision,
            overwrite=overwrite,
            targets=targets or front._targets,
            executor=front._executor if executor is None else executor,
        )
        for _, error in done.refused:
            raise error
        for error in done.unlisted:
            warnings.warn(str(error), stacklevel=2)
        return done.shipped[0]


@dataclass(frozen=True, kw_only=True, repr=False)
class Model(Retrained):
    """A network of a run that was retrained: how good it is on the test set (`mean`, `interval`), and its file."""

    member: Member

    def network(self) -> Network:
        """Return the torch module with the weights of seed 0, in evaluation mode."""
        return self.member.network()

    def export(
        self,
        path: str | Path | None = None,
        *,
        format: str = "onnx",
        precision: Precision | None = None,
        overwrite: bool = False,
        targets: Sequence[str] = (),
        executor: str | None = None,
    ) -> Shipped:
        """Write a checked file with the weights of seed 0; see `Member.export`."""
        options = {"precision": precision, "overwrite": overwrite, "targets": targets, "executor": executor}
        return self.member.export(path, format=format, **options)  # type: ignore[arg-type]


class _OnEpoch(Unwatched):
    """Tells a function of every epoch."""

    def __init__(self, tell: Callable[[int, EpochLog], None]) -> None:
        self._tell = tell

    def epoch(self, trial: int, seed: int, log: EpochLog) -> None:
        self._tell(seed, log)
