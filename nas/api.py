"""The face in Python: the same power as the commands, as three small classes.

What needs torch is imported by the method that needs it: looking at a front does not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.catalog import find_space
from nas.durations import seconds
from nas.errors import NasError, did_you_mean
from nas.objectives import Budget
from nas.pareto import choose, parse_rule
from nas.records import COLUMNS, TrialRecord, mark_front, summary, write_csv
from nas.space import Space
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder, next_folder
from nas.study.front import front_numbers, overlapping
from nas.training.fidelity import Rung

if TYPE_CHECKING:
    import pandas as pd

    from nas.build import Network
    from nas.data import Task
    from nas.export.quantize import Precision
    from nas.measure import OpenMeter
    from nas.measured import MeasuredTrial
    from nas.retrain import Retrained
    from nas.ship import Shipped
    from nas.study.loop import Watcher
    from nas.training import EpochLog

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
        data: the name of a data set, the path of a .npz file, or a Task.
        objectives, budgets, warm_start, sampler, seed, epochs, subset, ...: as in `StudyConfig`.
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
        objectives: Sequence[str] = ("accuracy", "latency_ms"),
        budgets: Sequence[str] = (),
        *,
        out: str | Path | None = None,
        storage: str | None = None,
        download: bool = False,
        trial_time_limit: float | str | None = None,
        **options: Any,
    ) -> None:
        from nas.study.check import check_space

        self.space = space if isinstance(space, Space) else find_space(space)
        check_space(self.space)
        data = str(data) if isinstance(data, Path) else data
        self.task = None if isinstance(data, str) else data
        known = {f.name for f in dataclasses.fields(StudyConfig)} - {"trial_time_limit_s"} | {"trial_time_limit"}
        for name in options:
            if name not in known:
                raise NasError(f"Study: {did_you_mean('option', name, known)}")
        if "rungs" in options:
            options["rungs"] = _texts("rungs", options["rungs"], "shares such as ['1/9', '0.3']", (Real, Rung))
        self.config = StudyConfig(
            space=self.space,
            data=data if isinstance(data, str) else data.name,
            objectives=_texts("objectives", objectives, "texts such as ['accuracy', 'latency_ms']"),
            budgets=_texts("budgets", budgets, "texts such as ['latency_ms<=2']"),
            trial_time_limit_s=None if trial_time_limit is None else seconds(trial_time_limit),
            **options,
        )
        self.folder = RunFolder(out if out is not None else next_folder(Path("results"), self.space.name))
        self.storage, self.resumed, self.download = storage, False, download

    @classmethod
    def resume(cls, run: str | Path, *, storage: str | None = None, task: Task | None = None) -> Study:
        """Return the study of a run folder, to go on with it.

        Args:
            storage: the URL it was made with, where that was not the folder's own file.
            task: the data, where they came as a Task.
        Raises:
            RunError: there is no run in the folder.
        """
        config = RunFolder(run).read_config()
        given = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
        given["trial_time_limit"] = given.pop("trial_time_limit_s")
        study = cls(**{**given, "data": task or config.data}, out=run, storage=storage)
        study.resumed = True
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
    ) -> Front:
        """Search until so many trials are trained (of this study, earlier ones included) or the time is over.

        Args:
            trials: None: no limit but the others; 50 where there is none.
            time_limit: seconds, or text such as '15m'.
            plateau: end after so many trainings that did not add to the hypervolume of the front.
            workers: processes that train, one core each; None or 1: this one. A script that asks for more keeps what
                it does under `if __name__ == "__main__":`, since each of them imports it.
            executor: "local", or "ray" or "ray:ADDRESS" for a Ray cluster, by default with all that it has room for.
        Returns:
            The front found so far; call again to go on.
        """
        from nas.study.loop import Limits
        from nas.study.session import load_data, open_search

        if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
            raise NasError(f"trials must be an integer of at least 1, got {trials!r}")
        if plateau is not None and (isinstance(plateau, bool) or not isinstance(plateau, int) or plateau < 1):
            raise NasError(f"plateau must be an integer of at least 1, got {plateau!r}")
        whole = isinstance(workers, int) and not isinstance(workers, bool)
        if workers is not None and not (whole and 1 <= workers <= MOST_WORKERS):
            raise NasError(f"workers must be an integer from 1 to {MOST_WORKERS:,}, got {workers!r}; one for each core")
        if trials is None and time_limit is None and plateau is None:
            trials = 50
        limits = Limits(trials, None if time_limit is None else seconds(time_limit), plateau)
        if self.task is None:
            self.task = load_data(self.config, download=self.download)
        with open_search(
            self.config,
            self.folder,
            limits,
            task=self.task,
            storage_url=self.storage,
            resume=self.resumed,
            watcher=watcher,
            workers=workers,
            executor=executor,
        ) as search:
            ended = search.run()
        self.resumed = True
        if ended == "interrupted":
            raise KeyboardInterrupt  # everything finished is kept; the script is to stop all the same
        front = Front.load(self.folder.path, data=self.task)
        if front.members:
            front.plot()
        return front


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
        self, folder: RunFolder, config: StudyConfig, records: Sequence[TrialRecord], task: Task | None = None
    ) -> None:
        self.folder, self.config, self.records = folder, config, list(records)
        self._task = task
        first = next((o for o in config.parsed_objectives() if o.cheap), config.parsed_objectives()[0])
        self.members = sorted(
            (Member(self, r) for r in records if r.on_front), key=lambda m: first.loss(m.metrics[first.name])
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
            data, data_root: where the run's data are now, or the Task itself; None: where they were.
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
            task = data
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
        return cls(folder, config, records, task)

    @property
    def task(self) -> Task:
        """The data of the run, loaded when first needed."""
        if self._task is None:
            from nas.study.session import load_data

            task = load_data(self.config)
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
        """Choose one network: `knee`, `best:accuracy where latency_ms<=1`, or `trial:17`.

        Raises:
            NasError: the rule cannot be read, or nothing fits it.
        """
        parsed = parse_rule(rule)
        parsed = replace(
            parsed,
            objective=parsed.objective and self.config.plain_name(parsed.objective),
            budgets=tuple(map(self.config.plain_budget, parsed.budgets)),
        )
        row = choose(parsed, self.records, self.config.parsed_objectives())
        return Member(self, next(r for r in self.records if r.number == row.number))

    def to_csv(self, path: str | Path) -> None:
        """Write the front as CSV, one row per network."""
        write_csv(Path(path), [m.record for m in self.members], self.config.columns())

    def to_dataframe(self) -> pd.DataFrame:
        """Return the front as a table with the columns of `front.csv`, one row per network."""
        import pandas as pd

        rows = [m.record.to_row() for m in self.members]
        return pd.DataFrame(rows, columns=[*COLUMNS, *self.config.columns()])

    def plot(self, path: str | Path | None = None) -> Path:
        """Draw the front as PNG; None: `front.png` in the run folder."""
        from nas.report import plot_front

        path = Path(path) if path is not None else self.folder.picture
        objectives, budgets = self.config.parsed_objectives(), self.config.parsed_budgets()
        title = f"{self.config.space.name} on {Path(self.config.data).stem}"
        labels = {m.record.number: m.summary for m in self.members}
        plot_front(path, self.records, objectives, budgets, title=title, labels=labels)
        return path

    def meters(self) -> dict[str, OpenMeter]:
        """Return the meters of the run, by name of the price, with its calibrations. Use each in a `with` block.

        Raises:
            RunError: the run kept no calibration.
        """
        from nas.study.meters import open_meters

        return open_meters(self.config, self.folder)

    def measure(
        self, targets: Sequence[str] = (), *, members: Sequence[Member] | None = None, csv: str | Path | None = None
    ) -> list[MeasuredTrial]:
        """Measure the latencies of the front again, as the search did; see `nas.measured.measure_trials`.

        Args:
            targets: such as "openvino"; those of the run have its calibration, others one that is made now. None: all
                of the run.
            members: other networks than those of the front, such as `[front.pick("knee")]`.
            csv: a table goes there, and what it was measured on beside it.
        Raises:
            NasError: a target that is none, or not available here.
        """
        from nas.measure import opened
        from nas.measured import measure_trials, run_meters, write_measured
        from nas.study.limits import training_process

        chosen = self.members if members is None else members
        with training_process(), opened(run_meters(self.config, self.folder, targets)) as meters:
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

        return load_network(self.front.config, self.record, self.front.task, self.front.folder)[1]

    def retrain(
        self,
        seeds: int = 3,
        epochs: int | None = None,
        *,
        overwrite: bool = False,
        on_epoch: Callable[[int, EpochLog], None] | None = None,
    ) -> Retrained:
        """Train it on all data but the test set, once per seed, and judge it there; see `nas.retrain.retrain`."""
        from nas.retrain import retrain
        from nas.study.limits import training_process

        config, folder = self.front.config, self.front.folder.retrained_trial(self.record.number)
        with training_process():
            return retrain(
                config,
                self.record,
                self.front.task,
                folder,
                seeds=seeds,
                epochs=epochs,
                overwrite=overwrite,
                on_epoch=on_epoch,
            )

    def export(
        self,
        path: str | Path | None = None,
        *,
        format: str = "onnx",
        precision: Precision | None = None,
        overwrite: bool = False,
    ) -> Shipped:
        """Write a checked file and measure it; see `nas.ship.ship`.

        Args:
            path: None: in the run folder's `exports`.
            format: onnx, pt2, openvino or executorch.
            precision: fp32, int8_dynamic or int8_static; None: the trial's own.
        """
        from nas.ship import Job, exported_path, ship_all

        front, record = self.front, self.record
        default = exported_path(front.config, record, front.folder, precision, format)
        job = Job(record, format, default if path is None else Path(path))
        done = ship_all(front.config, front.task, front.folder, [job], precision=precision, overwrite=overwrite)
        for _, error in done.refused:
            raise error
        return done.shipped[0]
