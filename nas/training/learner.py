"""A network that learns: one call is one step, and between two steps all of it can be kept and put back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import RunError
from nas.training.average import Average
from nas.training.checkpoint import TrainState
from nas.training.config import TrainConfig
from nas.training.feed import Batch
from nas.training.optim import load_state, lr_factor, make_optimizer, plain_state, set_lr
from nas.training.precision import Precision
from nas.training.replay import Replay, can_be_recorded


class Learner:
    """A module with its optimizer, learning rate, precision and averaged weights.

    Attributes:
        step: how many steps were made.
    """

    def __init__(
        self,
        module: nn.Module,
        config: TrainConfig,
        n_steps: int,
        device: torch.device,
        class_weights: Tensor | None = None,
    ) -> None:
        """Begin.

        Args:
            module: trained in place; its tensors must stay where they are.
            n_steps: of the full training, over which the learning rate runs its course.
            class_weights: (n_classes,) of the loss, see `nas.training.feed.class_weights`; None: all classes alike.
        """
        self.step = 0
        self._module, self._config, self._n_steps = module, config, n_steps
        self._class_weights = class_weights
        self._precision = Precision(module, device, config.mixed_precision)
        recorded = config.cuda_graphs and device.type == "cuda" and self._precision.constant and can_be_recorded(module)
        self._optimizer = make_optimizer(module, config.optimizer, on_device=recorded)
        self._base_lrs = [float(group["lr"]) for group in self._optimizer.param_groups]
        self._parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        self._average = Average(module, config.average, constant=recorded) if config.average else None
        self._replay = Replay(device) if recorded else None

    def learn(self, batch: Batch) -> Tensor:
        """Make one step and return the mean loss before it, in nats: a scalar on the device, until the next step.

        The module is in training mode.
        """
        if self._average is not None:
            self._average.before(self.step + 1)
        factor = lr_factor(self._config.schedule, self.step, self._n_steps)
        for group, lr in zip(self._optimizer.param_groups, self._base_lrs, strict=True):
            set_lr(group, lr * factor)
        loss = self._compute(batch) if self._replay is None else self._replay(self._compute, batch)
        self.step += 1
        if self._average is not None:
            self._average.after(self.step)
        return loss

    def _compute(self, batch: Batch) -> Tensor:
        """Move the weights; the part of a step that is the same each time."""
        with self._precision.forward():
            logits = self._module(batch.inputs)
        loss = batch.loss(logits.float(), self._config.label_smoothing, self._class_weights)
        self._optimizer.zero_grad(set_to_none=True)
        self._precision.backward(loss, self._optimizer)
        if self._config.clip_norm:
            nn.utils.clip_grad_norm_(self._parameters, self._config.clip_norm, foreach=True)
        self._precision.step(self._optimizer)
        return loss.detach()

    def judged(self) -> AbstractContextManager[None]:
        """Have the weights in the module that are to be judged, the averaged ones, for the length of a block."""
        return nullcontext() if self._average is None else self._average.in_place()

    def finish(self) -> None:
        """Leave the weights in the module that are to be judged. There is no learning on from them."""
        if self._average is not None:
            self._average.apply()

    def state(self) -> dict[str, Any]:
        """Return a copy of all that a step depends on and changes, but for the data: fields of `TrainState`."""
        return {
            "step": self.step,
            "module": {name: t.clone() for name, t in self._module.state_dict().items()},
            "average": {} if self._average is None else self._average.state(),
            "optimizer": plain_state(self._optimizer),
            "scaler": self._precision.state(),
        }

    def load(self, state: TrainState) -> None:
        """Take over what `state` returned, here or in another process.

        Raises:
            RunError: it is of another network or another optimizer.
        """
        try:
            self._module.load_state_dict(state.module)
            load_state(self._optimizer, state.optimizer)
            if self._average is not None:
                self._average.load(state.average)
        except (KeyError, RuntimeError, ValueError) as e:
            raise RunError(
                f"a checkpoint does not fit the network: {str(e).splitlines()[0]}; train the trial from its start"
            ) from e
        self._precision.load(state.scaler)
        if self._replay is not None:
            self._replay.forget()
        self.step = state.step
