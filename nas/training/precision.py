"""In which precision a step is computed: mixed on CUDA, float32 elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Precision:
    """bfloat16 on CUDA; float16 with a scaled loss on cards without it; float32 on CPUs, where neither is faster."""

    def __init__(self, device: torch.device) -> None:
        self._dtype: torch.dtype | None = None
        self._scaler: torch.amp.GradScaler | None = None
        if device.type == "cuda":
            native = torch.cuda.is_bf16_supported(including_emulation=False)
            self._dtype = torch.bfloat16 if native else torch.float16
            self._scaler = None if native else torch.amp.GradScaler("cuda")

    def forward(self) -> AbstractContextManager[Any]:
        """Return what the forward pass and the loss are computed in."""
        return nullcontext() if self._dtype is None else torch.autocast("cuda", dtype=self._dtype)

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
