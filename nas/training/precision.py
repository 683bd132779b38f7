"""In which precision a step is computed: mixed where that is quicker, float32 elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.training import bfloat16


class Precision:
    """bfloat16 on CUDA, or float16 with a scaled loss on cards without it; on a CPU see `nas.training.bfloat16`.

    Weights, their gradients and the optimizer's state are float32 everywhere.
    """

    def __init__(self, module: nn.Module, device: torch.device, mixed: bool) -> None:
        """Decide.

        Args:
            mixed: may it be anything but float32?
        """
        self._forward: AbstractContextManager[Any] = nullcontext()
        self._scaler: torch.amp.GradScaler | None = None
        if mixed and device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            self._forward = torch.autocast("cuda", dtype=torch.bfloat16 if native else torch.float16)
            self._scaler = None if native else torch.amp.GradScaler("cuda")
        elif mixed and device.type == "cpu" and bfloat16.suits(module) and bfloat16.pays():
            self._forward = bfloat16.InBfloat16()

    @property
    def constant(self) -> bool:
        """Whether every step is computed alike; a scale changes, and may leave a step out."""
        return self._scaler is None

    def forward(self) -> AbstractContextManager[Any]:
        """Return what the forward pass is computed in."""
        return self._forward

    def backward(self, loss: Tensor, optimizer: Optimizer) -> None:
        """Leave float32 gradients of `loss`, in its own scale, at the parameters."""
        if self._scaler is None:
            loss.backward()
        else:
            self._scaler.scale(loss).backward()
            self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Step; not where a gradient overflowed its scale."""
        if self._scaler is None:
            optimizer.step()
        else:
            self._scaler.step(optimizer)
            self._scaler.update()

    def state(self) -> dict[str, Any]:
        """Return the scale; nothing where there is none."""
        return {} if self._scaler is None else self._scaler.state_dict()

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned, on this kind of device or on another."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(state)
