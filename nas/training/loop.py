"""Training one network, up to the end of a rung; read from top to bottom."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nas.metrics import Judge
from nas.rng import torch_seed
from nas.training.augment import check_augment
from nas.training.checkpoint import TrainState, written
from nas.training.clock import Clock
from nas.training.config import TrainConfig
from nas.training.failures import as_trial_failed, check_loss
from nas.training.feed import Feed, class_weights, pool
from nas.training.fidelity import Stretch, plan
from nas.training.judge import evaluate, few, memory_format
from nas.training.learner import Learner
from nas.training.log import EpochLog
from nas.training.resolution import reduce, reduced_size
from nas.training.seeding import torch_seeded

_CHECK_EVERY = 16
"""Batches between two looks at the loss on a CPU. On another device a look would wait for all batches sent there."""


@dataclass(frozen=True, slots=True)
class FitResult:
    """What became of a training."""

    ended: Literal["rung", "stopped", "time"]
    """rung: its end was reached. stopped: given up, see `reason`. time: the deadline came first."""

    reason: str
    epochs: float
    """Samples seen up to the end of the last stretch, in passes over the training set."""

    train_seconds: float
    """Wall time up to there since the training began, without evaluation and pauses."""

    curve: tuple[EpochLog, ...]
    """One entry for each stretch since the training began."""

    state: TrainState | None
    """To go on from, at the end of the last stretch; None where the training is over (done or stopped), and where the
    deadline came before a stretch of this call ended."""


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    config: TrainConfig,
    *,
    seed: int,
    evaluate_on: tuple[Tensor, Tensor] | None = None,
    judge: Judge = Judge(),  # noqa: B008  # a frozen value
    until: int | None = None,
    state: TrainState | None = None,
    deadline: float | None = None,
    trial_limit_s: float | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
    between_batches: Callable[[], None] | None = None,
    stop: Callable[[Sequence[EpochLog]], str] | None = None,
) -> FitResult:
    """Train `module` in place on (x, y), and leave the averaged weights in it: those that were judged.

    On one CPU thread the result is a function of the module, the data, the config and the seed, bit for bit, wherever
    the training was set aside in between. torch's global generators are as before afterwards. Networks with 2-D
    convolutions are left in channels_last.

    Args:
        x: (n, *in_shape) float32, on the device of `module`.
        y: (n,) int64, indices into the logits (N, n_outputs) that `module` gives, or (n, n_outputs) float32, the
            standardised targets of a regression.
        seed: owns the subsets, the order of samples, augmentation and dropout.
        evaluate_on: (x_val, y_val), judged on at the end of every stretch, at its resolution: on all of them where
            the full training ends, before on those that `few` chooses.
        judge: by which figures.
        until: index of the rung to train to; None: the last.
        state: to go on from, of a training with the same data, config and seed; None: from the start.
        deadline: on the clock of `time.monotonic`, when the whole run ends.
        trial_limit_s: seconds that the training may take, those behind `state` among them, this call's evaluation
            included and pauses not.
        on_epoch: told of every stretch; what it raises ends the training and is passed on as it is.
        between_batches: called before every batch, of evaluation too; may take its time (a pause), and raise nothing.
        stop: asked after every stretch but this call's last; a text ends the training for this reason.
    Raises:
        TrialFailed: diverged, beyond its limit, out of memory, or an error inside the network; the text is the reason.
        SpaceError: an augmentation for another kind of data.
        RunError: `state` is of another training.
    """
    clock = Clock(between_batches, deadline, trial_limit_s, state.train_seconds if state else 0.0)
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} samples, y has {len(y)} labels")
    check_augment(config.augment, x)
    chosen = pool(x, y, config.subset, config.subset_method, seed)
    if chosen is not None:
        with as_trial_failed():
            x, y = x[chosen], y[chosen]

    n_rungs = len(config.rungs)
    last_rung = n_rungs - 1 if until is None else until
    if not 0 <= last_rung < n_rungs:
        raise ValueError(f"until must be the index of one of {n_rungs} rungs, got {until}")
    pools = [pool(x, y, rung.subset, config.subset_method, seed) for rung in config.rungs]
    sizes = [len(y) if p is None else len(p) for p in pools]
    stretches = plan(len(x), config.batch_size, config.epochs, config.rungs, sizes)
    ahead = [s for s in stretches if s.rung <= last_rung]
    judged_on = None if evaluate_on is None else few(*evaluate_on)

    with as_trial_failed():
        layout = memory_format(module, x)
        module.to(memory_format=layout)
        weights = class_weights(y) if config.class_weights and not y.is_floating_point() else None
        learner = Learner(module, config, sum(s.n_steps for s in stretches), x.device, weights)
    first, curve, train_seconds = 0, list[EpochLog](), 0.0
    if state is not None:
        state.check(len(x), config, seed)
        with as_trial_failed():
            learner.load(state)
        first, curve, train_seconds = state.stretches, list(state.curve), state.train_seconds

    ended: Literal["rung", "stopped", "time"] = "rung"
    reason, kept = "", state
    for number, stretch in enumerate(ahead[first:], start=first):
        began = clock.now()
        with as_trial_failed(), torch_seeded(torch_seed(seed, "layers", number)):
            size = reduced_size(module, x, stretch.resolution)
            feed = Feed(x, y, pools[stretch.rung], config, stretch, number, seed=seed, size=size, layout=layout)
            module.train()
            train_loss = _train(learner, feed, stretch, clock)
        if train_loss is None:
            ended = "time"
            if kept is not None:
                learner.load(kept)
            break
        train_seconds += clock.now() - began

        scores, done = None, stretch is stretches[-1]
        if evaluate_on is not None and judged_on is not None:
            x_val, y_val = evaluate_on if done else judged_on
            # A network that has never seen an image of full size is no better than chance on one.
            x_val = x_val if size is None else reduce(x_val, size)
            with as_trial_failed(), learner.judged():
                scores = evaluate(module, x_val, y_val, judge=judge, between_batches=clock.pause)
        curve.append(
            EpochLog(stretch.epochs, train_loss, scores, train_seconds, stretch.rung if stretch.last_of_rung else None)
        )
        if on_epoch is not None:
            on_epoch(curve[-1])
        if stop is not None and stretch is not ahead[-1] and (reason := stop(tuple(curve))):
            ended = "stopped"

        if done or ended == "stopped":
            kept = None
            break
        if deadline is not None or stretch is ahead[-1]:
            with as_trial_failed():
                kept = TrainState(
                    seed=seed,
                    config=written(config),
                    n=len(x),
                    stretches=number + 1,
                    curve=tuple(curve),
                    train_seconds=train_seconds,
                    **learner.state(),
                )
    with as_trial_failed():
        learner.finish()
    return FitResult(
        ended=ended,
        reason=reason,
        epochs=curve[-1].epochs if curve else 0.0,
        train_seconds=train_seconds,
        curve=tuple(curve),
        state=None if ended == "time" and kept is state else kept,
    )


def _train(learner: Learner, feed: Feed, stretch: Stretch, clock: Clock) -> float | None:
    """Train on one stretch and return the mean loss of its samples; None where the deadline comes first."""
    epoch, looks_late = math.ceil(stretch.epochs), feed.device.type != "cpu"
    total = torch.zeros((), device=feed.device, dtype=torch.float64)
    seen, mean = 0, math.nan
    for batch, chosen in enumerate(feed.batches, start=1):
        clock.pause()
        clock.check_limit(epoch, stretch.first_batch + batch, stretch.lap_batches)
        if clock.deadline_passed():
            return None
        total += learner.learn(feed.load(chosen)) * len(chosen)
        seen += len(chosen)
        if batch == stretch.n_steps or (batch % _CHECK_EVERY == 0 and not looks_late):
            mean = float(total) / seen
            check_loss(mean, f"at epoch {epoch}")
    return mean
