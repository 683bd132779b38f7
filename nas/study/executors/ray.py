"""Jobs on a Ray cluster: a process for each trial that it has room for, on nodes that come and go.

The only file that imports Ray, and late: that takes more than half a second.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from nas.errors import NasError, RunError
from nas.study.executors.ray_trainer import Carried, Mailbox, Trainer, forget, here, pack
from nas.study.executors.serve import Broken
from nas.study.jobs import Job, Outcome, Prepare, Tell

LATENCY = "latency"
"""The resource of nodes on which latencies are measured and nothing is trained."""

_LOOK_S = 2.0
"""Between two looks at which nodes there are."""

_START_S = 60.0
"""A process that is not ready after this is no slot until it is: others may have taken the room for it."""

_NO_NODE_S = 60.0
"""After so long without a process there will be none."""

_DEATHS = 3
"""So many processes in a row that die on a node as they get ready, and it is not used any more."""

_CONNECT_S = 10.0
"""How long a cluster has to answer at all."""

_CLOSE_S = 10.0
"""How long to wait for processes to end, which takes them less than a second."""

_SILENCE = (1.5, 90.0)
"""A process is taken to hang after so many times the limit of its trial, and so many seconds more: thirty for building
and validating, sixty for a pause (`nas.measure.quiet`)."""

_GRACE_S = 20.0
"""How long after the end of the run an answer may come."""


class OnRay:
    """Runs jobs in actors with a CPU each, spread over the nodes of a cluster. See `nas.study.jobs.Executor`.

    Nodes that join are used. One that leaves takes its processes with it: their jobs give an outcome "died", and
    others start where there is room. Nodes with the resource "latency" are left to `MeterOnRay`. More jobs than slots
    may be submitted: they wait for the next process that is free.

    All nodes need the same versions of Python, Ray and this package. What `prepare` reads has to be on each of them,
    or be `Carried`.

    Args:
        prepare: called once in each process, with its slot. Can be pickled.
        tell: told of progress within `wait`, all of it before the outcome.
        address: of the cluster, as `ray.init` has it. None: the one this process is connected to, or the one of
            RAY_ADDRESS, or one that runs on this machine; or else one is started here and ends with this process.
        at_most: slots, whatever room there is.
        gpus_per_trial: share of a GPU that each process has; below 1, several use one.
    Raises:
        RunError: Ray is not installed, there is no such cluster, or none of its nodes has room for a trial.

    Attributes:
        slots: how many processes are ready for a job or soon will be; it follows the cluster during `wait`.
        unused: why nodes are not used on which no process can be made ready, by their names.
    """

    apart = True

    def __init__(
        self,
        prepare: Prepare,
        tell: Tell,
        *,
        address: str | None = None,
        at_most: int | None = None,
        gpus_per_trial: float = 0.0,
    ) -> None:
        self._workers: list[_Worker] = []
        self._mailbox: Any = None
        self._ray = connect(address)
        self._prepare, self._tell = prepare, tell
        self._at_most, self._gpus = at_most, gpus_per_trial
        self._jobs: deque[tuple[Job, float]] = deque()
        """Those that no process has yet, and since when."""
        self._runs = itertools.count()
        self._raised: list[NasError] = []
        self._failures: Counter[str] = Counter()
        """By node: deaths in a row of processes that were getting ready."""
        self._failure: NasError | None = None
        self.unused: dict[str, str] = {}
        self._looked, self._alone_since = float("-inf"), time.monotonic()
        self._check_room()
        self._folder = f"nas-ray-{uuid.uuid4().hex}"
        self._files = self._ray.put(pack(prepare.folder)) if isinstance(prepare, Carried) else None
        self._open_mailbox()
        self.slots = 1
        self._follow()

    def submit(self, job: Job) -> None:
        """Begin a job, or keep it until a process is ready for it."""
        self._jobs.append((job, time.monotonic()))
        self._hand_out()

    def wait(self, timeout_s: float | None = None) -> Sequence[Outcome]:
        """Return what ended, one at least; nothing after `timeout_s`, or where nothing is under way.

        Raises:
            NasError: no node is left on which a process can be made ready, or a job raised; as it was raised there.
            RunError: as before, but what was raised is none of ours; or no node was left for a minute.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        while self._raised or self._jobs or any(worker.job for worker in self._workers):
            self._follow()
            left = _LOOK_S if end is None else max(0.0, min(_LOOK_S, end - time.monotonic()))
            if found := [*self._ended(left), *self._overdue()]:
                return found
            if self._raised:
                raise self._raised.pop(0)
            if end is not None and time.monotonic() >= end:
                break
        return ()

    def close(self) -> None:
        """End everything that is under way, and wait until it has ended; what runs then gives no outcome."""
        workers, self._workers = self._workers, []
        mailbox, self._mailbox = self._mailbox, None
        if mailbox is None or not self._ray.is_initialized():
            return
        self._jobs.clear()
        for actor in (*(worker.actor for worker in workers), mailbox):
            self._ray.kill(actor)
        last = [worker.actor.ping.remote() for worker in workers]  # fails as soon as its process is known to be gone
        if self._files is not None:
            last += [_on(self._ray, node, forget).remote(self._folder) for node in nodes(self._ray)]
        self._files = None
        if last:
            self._ray.wait(last, num_returns=len(last), timeout=_CLOSE_S)

    def __enter__(self) -> OnRay:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _check_room(self) -> None:
        if sum(self._room().values()):
            return
        gpu = f" and {self._gpus:g} GPU" if self._gpus else ""
        apart = f" without the resource '{LATENCY}', which sets it aside for measuring," if measures(self._ray) else ""
        raise RunError(
            f"the Ray cluster has no room for a trial: no node{apart} has 1 CPU{gpu}\n"
            "  add one with 'ray start --address=HOST:6379'"
        )

    def _room(self) -> dict[str, int]:
        """Return how many processes each node may have, whoever else has taken what it has."""
        found = {}
        for node, resources in nodes(self._ray).items():
            if LATENCY not in resources:
                room = int(resources.get("CPU", 0))
                if self._gpus:
                    room = min(room, int(resources.get("GPU", 0) / self._gpus + 1e-6))
                found[node] = room
        return found

    def _open_mailbox(self) -> None:
        self._mailbox = self._ray.remote(Mailbox).options(num_cpus=0).remote()
        self._mail = self._mailbox.take.remote()

    def _follow(self) -> None:
        """Start processes where there is room for them, every now and then."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self._staff()
            if self._workers:
                self._alone_since = now
            elif now - self._alone_since > _NO_NODE_S:
                raise self._failure or RunError(
                    f"the Ray cluster has had no node to train on for {_NO_NODE_S:g} s\n"
                    "  add one with 'ray start --address=HOST:6379'; a search goes on with --resume"
                )
        self.slots = max(1, sum(worker.ready or now - worker.since < _START_S for worker in self._workers))

    def _staff(self) -> None:
        room = self._room()
        usable = {node: n for node, n in room.items() if n and self._failures[node] < _DEATHS}
        if any(room.values()) and not usable and not self._workers and self._failure is not None:
            raise self._failure
        have = Counter(worker.node for worker in self._workers)
        left = {node: n - have[node] for node, n in usable.items()}
        while left and (self._at_most is None or len(self._workers) < self._at_most):
            node = max(left, key=lambda node: left[node])  # where most is free: they are spread
            if left[node] < 1:
                return
            left[node] -= 1
            self._start(node, min(room[node], self._at_most or room[node]))

    def _start(self, node: str, slots: int) -> None:
        """Start a process on a node that is to have so many."""
        taken = {worker.slot for worker in self._workers}
        slot = next(i for i in range(len(taken) + 1) if i not in taken)
        prepare = replace(self._prepare, slots=slots) if isinstance(self._prepare, Carried) else self._prepare
        trainer = _on(self._ray, node, Trainer, num_cpus=1, num_gpus=self._gpus)
        actor = trainer.remote(prepare, slot, self._mailbox, self._files, self._folder)
        self._workers.append(_Worker(node, slot, actor, actor.prepare.remote(), time.monotonic()))

    def _hand_out(self) -> None:
        for worker in self._workers:
            if self._jobs and worker.ready and worker.job is None:
                job, submitted = self._jobs.popleft()
                worker.since = time.monotonic()
                if job.seconds_left is not None:
                    job = replace(job, seconds_left=job.seconds_left - (worker.since - submitted))
                worker.job = job
                worker.run, worker.told = next(self._runs), 0
                worker.ref = worker.actor.run.remote(worker.job, worker.run)

    def _ended(self, timeout_s: float) -> list[Outcome]:
        """Wait for something to happen, and take it in."""
        awaited = {worker.ref: worker for worker in self._workers if worker.ref is not None}
        refs = [self._mail, *awaited]
        self._ray.wait(refs, timeout=timeout_s)
        done, _ = self._ray.wait(refs, num_returns=len(refs), timeout=0)
        found = []
        for ref in done:
            if ref == self._mail:
                self._read_mail()
            elif (outcome := self._take(awaited[ref])) is not None:
                found.append(outcome)
        self._hand_out()
        return found

    def _read_mail(self) -> None:
        try:
            mail = self._ray.get(self._mail)
        except self._ray.exceptions.RayError:  # its node is gone; outcomes bring all of their progress along
            self._open_mailbox()
            for worker in self._workers:
                worker.actor.post_to.remote(self._mailbox)
            return
        self._mail = self._mailbox.take.remote()
        workers = {worker.run: worker for worker in self._workers if worker.job is not None}
        for run, before, progress in mail:
            if run in workers and workers[run].told == before:
                workers[run].told += 1
                self._tell(progress)

    def _take(self, worker: _Worker) -> Outcome | None:
        """Take in that a process is ready, or what became of its job."""
        try:
            found = self._ray.get(worker.ref)
        except self._ray.exceptions.RayTaskError as error:  # what it has to send cannot be sent
            found = Broken("", type(error.cause).__name__, str(error.cause), ""), ()
        except self._ray.exceptions.RayError as error:
            return self._died(worker, error)
        worker.ref = None
        if worker.job is None:
            self._get_ready(worker, found)
            return None
        job, worker.job = worker.job, None
        outcome, progress = found
        for one in progress[worker.told :]:
            self._tell(one)
        if isinstance(outcome, Broken):
            self._raised.append(outcome.as_error(f"trial {job.number}"))
            return None
        return outcome

    def _get_ready(self, worker: _Worker, found: str | Broken) -> None:
        if found == here():
            worker.ready, self._failures[worker.node] = True, 0
            return
        name = self._name(worker.node)
        if isinstance(found, Broken):
            self._failure = found.as_error(f"Ray node {name}")
        else:
            self._failure = RunError(f"Ray node {name} has pareto-nas {found}, this is {here()}\n  install the same")
        self._failures[worker.node] = _DEATHS  # it would fail like that again
        self.unused[name] = str(self._failure)
        self._drop(worker)

    def _died(self, worker: _Worker, error: Exception) -> Outcome | None:
        gone = worker.node not in nodes(self._ray)
        how = self._how(worker.node, gone, error)
        if not worker.ready:
            self._failures[worker.node] += 1
            self._failure = RunError(f"a process that was getting ready died: {how}")
            if self._failures[worker.node] == _DEATHS:
                self.unused[self._name(worker.node)] = str(self._failure)
        self._drop(worker)
        job = worker.job
        if job is None:
            return None
        return Outcome(number=job.number, rung=job.rung, ended="died", reason=how, blameless=gone)

    def _how(self, node: str, gone: bool, error: Exception) -> str:
        """Say what became of a process on a node, which may be gone itself."""
        name = self._name(node)
        if gone:
            return f"Ray node {name} left the cluster"
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            return f"Ray node {name}, or the process there, cannot be reached any more"
        lines = [line.strip() for line in str(error).splitlines()[1:] if not line.startswith("\t")]
        return f"the process on Ray node {name} ended: {' '.join(lines)[:300] or error}"

    def _overdue(self) -> list[Outcome]:
        """End processes that did not answer long after their time, and jobs for which there was no process so long."""
        found = []
        for waiting in list(self._jobs):
            job, since = waiting
            ended = _late(replace(job, trial_limit_s=None), time.monotonic() - since)  # which it has not begun
            if ended is not None:
                self._jobs.remove(waiting)
                found.append(ended)
        for worker in list(self._workers):
            late = worker.job and _late(worker.job, time.monotonic() - worker.since)
            if late:
                self._drop(worker)
                found.append(late)
        return found

    def _drop(self, worker: _Worker) -> None:
        """Make sure that a process ends; with the next look another one takes its place."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)
        self._looked = float("-inf")

    def _name(self, node: str) -> str:
        return next((found["NodeManagerHostname"] for found in self._ray.nodes() if found["NodeID"] == node), node)


@dataclass(eq=False)
class _Worker:
    """A process, as the driver sees it."""

    node: str
    slot: int
    actor: Any
    ref: Any
    """Of what is awaited of it; None: nothing."""
    since: float
    """When it was started, or its job was."""
    ready: bool = False
    job: Job | None = None
    run: int = -1
    """Which of all runs of jobs its last one is."""
    told: int = 0
    """How much of that one's progress was passed on."""


def _late(job: Job, seconds: float) -> Outcome | None:
    """Return the outcome of a job that has not answered for so long that it is given up; None: wait."""
    times, more = _SILENCE
    if job.trial_limit_s is not None and seconds > times * job.trial_limit_s + more:
        reason = f"time limit of {job.trial_limit_s:g} s: did not answer after {seconds:.0f} s"
        return Outcome(number=job.number, rung=job.rung, ended="failed", reason=reason)
    if job.seconds_left is not None and seconds > job.seconds_left + _GRACE_S:
        reason = f"the run's time was over, and for {_GRACE_S:g} s more there was no answer"
        return Outcome(number=job.number, rung=job.rung, ended="time", reason=reason, state=job.state)
    return None


def connect(address: str | None = None) -> Any:
    """Connect this process to a cluster, unless it is connected already, and return Ray.

    Args:
        address: see `OnRay`.
    Raises:
        RunError: Ray is not installed, or there is no such cluster.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise RunError("Ray is not installed: pip install 'pareto-nas[ray]'") from None
    if ray.is_initialized():
        return ray
    _check_address(address or os.environ.get("RAY_ADDRESS", ""))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is started here reports to nobody
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds, as an address is wrong in many ways
        raise _unreachable(address, error) from None
    finally:
        if main and handler is not None:
            signal.signal(signal.SIGTERM, handler)  # Ray puts its own there
    return ray


def _check_address(address: str) -> None:
    """Ask whether anybody listens at host:port, where Ray would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str | None, error: Exception) -> RunError:
    return RunError(
        f"Ray cluster {address or 'of this machine'}: cannot be reached: {' '.join(str(error).split())[:300]}\n"
        "  start one with 'ray start --head', or leave the address out"
    )


def nodes(ray: Any) -> dict[str, Mapping[str, float]]:
    """Return the resources of each node that is alive, by its id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def measures(ray: Any) -> bool:
    """Return whether a node is set aside for measuring."""
    return any(LATENCY in resources for resources in nodes(ray).values())


def _on(ray: Any, node: str, what: Any, num_cpus: float = 0, num_gpus: float = 0) -> Any:
    """Return an actor class, or a task, that runs on one node or not at all."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    where = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(what).options(num_cpus=num_cpus, num_gpus=num_gpus, scheduling_strategy=where)
