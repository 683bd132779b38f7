"""Steps on a GPU that are recorded once and played back: one launch in place of hundreds.

A small network's kernels take a few microseconds each, and Python, autograd and the driver several times as long to
launch them: on an H200 two conv nets trained five times as fast (docs/decisions/026-steps-on-a-gpu-are-recorded.md).

Gray, Getting Started with CUDA Graphs, NVIDIA 2019. https://developer.nvidia.com/blog/cuda-graphs/
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.training.feed import Batch

_WARM = 3
"""Steps made as usual before one is recorded: libraries set themselves up in them, and that cannot be recorded."""

_AHEAD = 16
"""Steps between two waits for the GPU, for the step before last that was waited for: what is sent there is never more
than twice as much, so that a pause or a deadline comes when it says, and the GPU always has something to do."""

_KNOWN = ("torch", "nas")

Step = Callable[[Batch], Tensor]


def can_be_recorded(module: nn.Module) -> bool:
    """Return whether all parts of a network are torch's and ours.

    What others do in Python at each step, such as a draw of their own, would be recorded as it was once; and what waits
    for the GPU, such as `item` (or a batch norm that counts its batches), cannot be recorded.
    """
    parts = list(module.modules())
    waits = any(isinstance(part, _BatchNorm) and part.momentum is None for part in parts)
    return not waits and all(type(part).__module__.partition(".")[0] in _KNOWN for part in parts)


@dataclass
class _Recording:
    graph: torch.cuda.CUDAGraph
    batch: Batch
    """Where the graph reads its inputs."""

    loss: Tensor
    """Where it leaves its result."""


class Replay:
    """Plays a step back. It reads and writes the very tensors that were there when it was recorded."""

    def __init__(self, device: torch.device) -> None:
        """Record nothing yet."""
        self._stream = _stream(device)
        self._warm: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, _Recording] = {}
        self._played = 0
        self._sent: torch.cuda.Event | None = None

    def __call__(self, step: Step, batch: Batch) -> Tensor:
        """Make a step and return its loss, a scalar on the device that holds until the next step.

        Args:
            step: makes one; always the same, with the same kernels for each batch of one form. Its numbers that change
                are tensors on the device. It is not kept: that would be a circle, see `_uncollected`.
        """
        form = _form(batch)
        if form not in self._recorded and not self._record(form, step, batch):
            return self._aside(step, batch)
        recording = self._recorded[form]
        _fill(recording.batch, batch)
        recording.graph.replay()
        self._wait()
        return recording.loss

    def forget(self) -> None:
        """Record anew: the tensors are others."""
        self._warm.clear()
        self._recorded.clear()

    def _aside(self, step: Step, batch: Batch) -> Tensor:
        """Make a step on the stream that recordings are made on, as torch wants it."""
        now = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            loss = step(batch)
        now.wait_stream(self._stream)
        return loss

    def _record(self, form: Hashable, step: Step, batch: Batch) -> bool:
        """Record a step, if it is time to; return whether it is recorded."""
        self._warm[form] += 1
        if self._stream.device in _GIVEN_UP or self._warm[form] <= _WARM:
            return False
        now = torch.cuda.current_stream(self._stream.device)
        try:
            self._recorded[form] = self._recording(step, batch)
            return True
        except RuntimeError:  # out of memory among others, which the step as usual need not be
            self._recorded.clear()  # they draw from the state that is replaced
        # Not above: until there, the error keeps all that the recording holds.
        _GIVEN_UP.add(self._stream.device)
        torch.cuda.set_stream(now)
        _recover(self._stream.device)
        return False

    def _recording(self, step: Step, batch: Batch) -> _Recording:
        own, graph = _copy(batch), torch.cuda.CUDAGraph()
        pool = next((one.graph.pool() for one in self._recorded.values()), None)  # one after the other: they can share
        on = torch.cuda.graph(graph, pool=pool, stream=self._stream, capture_error_mode="thread_local")
        with _uncollected(), torch.cuda.device(self._stream.device), on:
            loss = step(own)
        return _Recording(graph, own, loss)

    def _wait(self) -> None:
        self._played += 1
        if self._played % _AHEAD == 0:
            if self._sent is not None:
                self._sent.synchronize()
            self._sent = torch.cuda.Event()
            self._sent.record(torch.cuda.current_stream(self._stream.device))


_GIVEN_UP: set[torch.device] = set()
"""GPUs on which this process records no more: a recording that failed leaves torch's allocator in the middle of it."""


@cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream of this process that steps are recorded on: libraries keep memory for each."""
    return torch.cuda.Stream(device)


def _recover(device: torch.device) -> None:
    """Give the GPU's global generator a new state: after a recording that failed, its own takes no draw any more."""
    default = torch.cuda.default_generators[device.index]
    fresh = torch.Generator(device).manual_seed(default.initial_seed())
    default.graphsafe_set_state(fresh.graphsafe_get_state())


@contextmanager
def _uncollected() -> Iterator[None]:
    """Collect no garbage for the length of a block: a graph that is deleted while another is recorded spoils it."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _form(batch: Batch) -> Hashable:
    """Return what two batches have in common that one recording is of."""
    return batch.inputs.shape, batch.inputs.stride(), batch.inputs.dtype, batch.labels.shape, batch.others is None


def _copy(batch: Batch) -> Batch:
    """Return the batch in tensors of its own, its share as a tensor too."""
    return Batch(
        batch.inputs.clone(),
        batch.labels.clone(),
        None if batch.others is None else batch.others.clone(),
        torch.full((), float(batch.share), device=batch.inputs.device),
    )


def _fill(own: Batch, batch: Batch) -> None:
    """Copy a batch to where `_copy` put another one."""
    own.inputs.copy_(batch.inputs)
    own.labels.copy_(batch.labels)
    if own.others is not None and batch.others is not None:
        own.others.copy_(batch.others)
        assert isinstance(own.share, Tensor)
        own.share.fill_(float(batch.share))
