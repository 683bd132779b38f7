"""Trainers in processes of their own that keep the cores busy, and stop and go on when told."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from types import TracebackType
from typing import Any

from nas.measure.quiet import Pause

MODES = ("idle", "pausing", "deaf", "unseen")
"""What trainers do while somebody measures.

idle: they do not train. pausing: they wait between two batches, as those of a study do. deaf: they train on within a
batch that never ends, which is seen: the meter counts CPU time. unseen: they train on and are not seen, as programs of
others are not.
"""

NETS: tuple[tuple[tuple[int, ...], list[Any]], ...] = (
    ((1, 28, 28), [{"conv": {"width": 32}}, {"conv": {"width": 64, "stride": 2}}, {"conv": {"width": 64}}]),
    (
        (3, 32, 32),
        [
            {"conv": {"width": 16, "stride": 2}},
            {"mbconv": {"width": 24}},
            {"mbconv": {"width": 40, "stride": 2, "se": True}},
        ],
    ),
)
"""Input and body of what is trained in turn: a conv net and one of MBConv blocks."""

_SETTLED_S = 60.0
"""A trainer starts in some seconds, and hears of another mode within a batch."""


class Trainers:
    """`n` processes that train on random images with the training of a study; one thread each. Use in a `with` block.

    They end with this process, however it ends.
    """

    def __init__(self, n: int = 2) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._wanted = spawn.Value("i", 0, lock=False)
        self._states = [(spawn.Value("i", -1, lock=False), spawn.Value("q", 0, lock=False)) for _ in range(n)]
        self._processes = [
            spawn.Process(target=_train, args=(i, os.getpid(), self._wanted, *state), daemon=True)
            for i, state in enumerate(self._states)
        ]

    def set(self, mode: str) -> None:
        """Return when every trainer is in `mode`."""
        self._wanted.value = MODES.index(mode)
        end = time.monotonic() + _SETTLED_S
        while any(at.value != self._wanted.value for at, _ in self._states):
            if not all(process.is_alive() for process in self._processes):
                raise SystemExit("a trainer ended: what it printed says why")
            if time.monotonic() > end:
                raise SystemExit(f"a trainer does not change to {mode!r} within {_SETTLED_S:g} s")
            time.sleep(0.01)

    def batches(self) -> int:
        """Return how many batches were begun, of all trainers together."""
        return sum(n.value for _, n in self._states)

    def __enter__(self) -> Trainers:
        for process in self._processes:
            process.start()
        self.set("unseen")
        time.sleep(1.0)  # the first batches are slow
        self.set("idle")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


def _train(number: int, parent: int, wanted: Any, at: Any, batches: Any) -> None:
    """Train until killed; Ctrl-C is for the process that measures."""
    import torch

    from nas.build import build_tree
    from nas.study.limits import training_process
    from nas.training import TrainConfig, fit

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pause = Pause()

    def between_batches() -> None:
        batches.value += 1
        while wanted.value != at.value or at.value == MODES.index("idle"):
            if os.getppid() != parent:  # nobody is left to end it
                os._exit(1)
            if wanted.value != at.value:
                pause.close()
                if wanted.value == MODES.index("deaf"):
                    pause()  # begins the batch that never ends
                at.value = wanted.value
            else:
                time.sleep(0.05)
        if os.getppid() != parent:
            os._exit(1)
        if at.value == MODES.index("pausing"):
            pause()

    in_shape, body = NETS[number % len(NETS)]
    torch.manual_seed(number)
    x, y = torch.randn(2048, *in_shape), torch.randint(10, (2048,))
    with training_process():
        network = build_tree({"body": body, "head": {"pool": {}}}, in_shape, 10)
        fit(network, x, y, TrainConfig(epochs=10**4), seed=number, between_batches=between_batches)
