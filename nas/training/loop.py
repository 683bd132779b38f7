"""Training and judging one network; read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data import stratified
from nas.errors import NasError, TrialFailed
from nas.rng import generator, torch_seed
from nas.training.augment import augment, check_augment
from nas.training.config import TrainConfig
from nas.training.optim import lr_factor, make_optimizer
from nas.training.seeding import torch_seeded

_CHECK_EVERY = 16
"""Batches between two looks at the loss: each look waits for the device."""

_DIVERGED = 1e6
"""Nats per sample, where guessing costs log(n_classes): clipping and norms can keep a burst network finite for ever."""


@dataclass(frozen=True, slots=True)
class Scores:
    """How good a network is on some samples."""

    accuracy: float
    """Share of samples whose largest logit is the right one."""

    loss: float
    """Mean cross-entropy in nats, without label smoothing."""


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What one epoch gave."""

    epoch: int
    """From 1."""

    train_loss: float
    """Mean over the epoch's batches as they were trained on: augmented, smoothed, in training mode."""

    scores: Scores | None
    """On `evaluate_on`, after the epoch."""

    train_seconds: float
    """Wall time of training since its start, without evaluation and pauses."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """A training that came to its end."""

    epochs: int
    train_seconds: float
    """Wall time, without evaluation and pauses."""

    curve: tuple[EpochLog, ...]


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    config: TrainConfig,
    *,
    seed: int,
    evaluate_on: tuple[Tensor, Tensor] | None = None,
    deadline: float | None = None,
    trial_limit_s: float | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
    between_batches: Callable[[], None] | None = None,
) -> FitResult:
    """Train `module` in place on (x, y).

    On one CPU thread the result is a function of the module, the data, the config and the seed, bit for bit. torch's
    global generators are as before afterwards. Networks with 2-D convolutions are left in channels_last.

    Args:
        x: (n, *in_shape) float32, on the device of `module`.
        y: (n,) int64, indices into the logits (N, n_outputs) that `module` gives.
        seed: owns the subset, the order of samples, augmentation and dropout.
        evaluate_on: (x_val, y_val), judged after every epoch.
        deadline: on the clock of `time.monotonic`, when the whole run ends.
        trial_limit_s: seconds that this call may take, evaluation included and pauses not.
        on_epoch: told of every epoch; what it raises ends the training and is passed on as it is.
        between_batches: called before every batch, of evaluation too; may take its time (a pause), and raise nothing.
    Raises:
        TrialFailed: diverged, out of time, out of memory, or an error inside the network; the text is the reason.
        SpaceError: an augmentation for another kind of data.
    """
    started = time.monotonic()
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples, y has {len(y)} labels")
    check_augment(config.augment, x)
    if config.subset < 1:
        kept = stratified(y.cpu().numpy(), config.subset, generator(seed, "subset"), leave=0)
        x, y = (t[torch.from_numpy(kept).to(t.device)] for t in (x, y))

    n, size = len(x), config.batch_size
    # A single left-over sample has no variance for a batch norm to divide by.
    last = n - 1 if n > 1 and size > 1 and n % size == 1 else n
    n_batches = -(-last // size)
    n_steps = config.epochs * n_batches
    shuffling, augmenting = (
        torch.Generator(device=x.device).manual_seed(torch_seed(seed, purpose)) for purpose in ("shuffle", "augment")
    )
    memory_format = _memory_format(module, x)
    paused = 0.0

    def pause() -> None:
        nonlocal paused
        if between_batches is not None:
            pause_started = time.perf_counter()
            between_batches()
            paused += time.perf_counter() - pause_started

    def check_clock(epoch: int, batch: int) -> None:
        now = time.monotonic()
        place = f"reached at epoch {epoch}, batch {batch} of {n_batches}"
        if trial_limit_s is not None and now - started - paused > trial_limit_s:
            raise TrialFailed(f"time limit of {trial_limit_s:g} s {place}")
        if deadline is not None and now > deadline:
            raise TrialFailed(f"end of the run {place}")

    curve: list[EpochLog] = []
    train_seconds = 0.0
    with torch_seeded(torch_seed(seed, "layers")):
        with as_trial_failed():
            module.to(memory_format=memory_format)
            optimizer = make_optimizer(module, config.optimizer)
            base_lrs = [group["lr"] for group in optimizer.param_groups]
            parameters = [p for group in optimizer.param_groups for p in group["params"]]

        for epoch in range(1, config.epochs + 1):
            epoch_started, paused_before = time.perf_counter(), paused
            with as_trial_failed():
                module.train()
                order = torch.randperm(n, generator=shuffling, device=x.device)[:last]
                total = torch.zeros((), device=x.device, dtype=torch.float64)

                for batch, chosen in enumerate(order.split(size), start=1):
                    pause()
                    check_clock(epoch, batch)
                    factor = lr_factor(config.schedule, (epoch - 1) * n_batches + batch - 1, n_steps)
                    for group, lr in zip(optimizer.param_groups, base_lrs, strict=True):
                        group["lr"] = lr * factor

                    inputs = augment(x[chosen], config.augment, augmenting).contiguous(memory_format=memory_format)
                    loss = F.cross_entropy(module(inputs), y[chosen], label_smoothing=config.label_smoothing)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    if config.clip_norm:
                        nn.utils.clip_grad_norm_(parameters, config.clip_norm, foreach=True)
                    optimizer.step()

                    total += loss.detach() * len(chosen)
                    if batch % _CHECK_EVERY == 0 or batch == n_batches:
                        seen = min(batch * size, last)
                        _check_loss(float(total) / seen, f"loss is {float(total) / seen:.3g} at epoch {epoch}")

            train_seconds += time.perf_counter() - epoch_started - (paused - paused_before)
            scores = evaluate(module, *evaluate_on, between_batches=pause) if evaluate_on is not None else None
            curve.append(EpochLog(epoch, float(total) / last, scores, train_seconds))
            if on_epoch is not None:
                on_epoch(curve[-1])
    return FitResult(config.epochs, train_seconds, tuple(curve))


@torch.no_grad()
def evaluate(
    module: nn.Module, x: Tensor, y: Tensor, batch: int = 512, *, between_batches: Callable[[], None] | None = None
) -> Scores:
    """Judge `module`, in evaluation mode, on (x, y); its mode is as before afterwards.

    Args:
        x: (n, *in_shape), at least one sample.
        y: (n,) indices into the logits.
        batch: samples at a time.
        between_batches: called before every batch; may take its time, and raise nothing.
    Raises:
        TrialFailed: as for `fit`; a loss that is not finite counts as diverged.
    """
    if len(x) == 0:
        raise ValueError("there are no samples to evaluate on")
    was_training, memory_format = module.training, _memory_format(module, x)
    right = torch.zeros((), device=x.device, dtype=torch.int64)
    total = torch.zeros((), device=x.device, dtype=torch.float64)
    module.eval()
    try:
        with as_trial_failed():
            for inputs, labels in zip(x.split(batch), y.split(batch), strict=True):
                if between_batches is not None:
                    between_batches()
                logits = module(inputs.contiguous(memory_format=memory_format))
                total += F.cross_entropy(logits, labels, reduction="sum")
                right += (logits.argmax(1) == labels).sum()
            loss = float(total) / len(x)
            _check_loss(loss, f"loss is {loss:.3g} in evaluation")
    finally:
        module.train(was_training)
    return Scores(accuracy=int(right) / len(x), loss=loss)


def _memory_format(module: nn.Module, x: Tensor) -> torch.memory_format:
    """Return channels_last where there are 2-D convolutions: 1.3 to 1.7 times as fast on CPUs."""
    convolves = x.ndim == 4 and any(isinstance(m, nn.Conv2d) for m in module.modules())
    return torch.channels_last if convolves else torch.contiguous_format


def _check_loss(loss: float, words: str) -> None:
    if not math.isfinite(loss) or loss > _DIVERGED:
        raise TrialFailed(f"diverged: {words}")


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "bad_alloc", "bad allocation")


@contextmanager
def as_trial_failed() -> Iterator[None]:
    """Turn whatever goes wrong inside a network into the reason of a failed trial; Ctrl-C is no such thing."""
    try:
        yield
    except NasError:
        raise
    except Exception as e:
        first = (str(e).splitlines() or [""])[0]
        if isinstance(e, MemoryError) or any(words in str(e).lower() for words in _OUT_OF_MEMORY):
            raise TrialFailed(f"out of memory: {first or type(e).__name__}") from e
        raise TrialFailed(f"{type(e).__name__}: {first}") from e
