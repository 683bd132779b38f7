"""From configs to a torch optimizer and to the learning rate of each step."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.training import config as c


def make_optimizer(module: nn.Module, config: c.Part, *, on_device: bool = False) -> Optimizer:
    """Return the optimizer of `config` over the trainable parameters of `module`.

    Weight decay acts on parameters of two or more axes. A norm's scale or a bias has nothing to gain from being small:
    decay would only work against the data.

    Args:
        on_device: the parameters are on a GPU, and all that changes from step to step is to be there too, so that a
            step can be recorded; the learning rate is then a tensor.
    """
    trainable = [p for p in module.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if p.ndim > 1]},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One kernel for all parameters; torch takes it by itself on a GPU only.
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trainable)
    how: dict[str, Any] = {"lr": config.lr, "fused": fused or None}  # type: ignore[attr-defined]  # all have a rate
    if on_device:
        how["lr"] = torch.tensor(float(how["lr"]), dtype=torch.float32, device=trainable[0].device)
        how["capturable"] = True
    match config:
        case c.Sgd(momentum=momentum, nesterov=nesterov, weight_decay=decay):
            # torch refuses Nesterov without momentum, where it would be plain SGD; in a space both are drawn apart.
            ahead = nesterov and momentum > 0
            how.pop("capturable", None)  # keeps no count of steps
            return torch.optim.SGD(groups, **how, momentum=momentum, nesterov=ahead, weight_decay=decay)
        case c.Adam(beta1=beta1, beta2=beta2, weight_decay=decay):
            return torch.optim.Adam(groups, **how, betas=(beta1, beta2), weight_decay=decay)
        case c.AdamW(beta1=beta1, beta2=beta2, weight_decay=decay):
            return torch.optim.AdamW(groups, **how, betas=(beta1, beta2), weight_decay=decay)
        case c.RmsProp(alpha=alpha, momentum=momentum):
            del how["fused"]  # there is none
            return torch.optim.RMSprop(groups, **how, alpha=alpha, momentum=momentum, foreach=True)
    raise TypeError(f"no builder for the optimizer {config!r}")


def set_lr(group: dict[str, Any], lr: float) -> None:
    """Set the learning rate of a group of parameters, in the tensor that it lies in where it lies in one."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(lr)
    else:
        group["lr"] = lr


def plain_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return a copy of an optimizer's state that one on another device can take over."""
    state = copy.deepcopy(optimizer.state_dict())
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    for of_parameter in state["state"].values():
        if isinstance(step := of_parameter.get("step"), Tensor):
            of_parameter["step"] = step.cpu()  # torch moves it to where it is needed, but not from a GPU
    return state


def load_state(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Take over a copy of what `plain_state` returned; how the optimizer computes stays as it was made.

    Raises:
        ValueError: it is another optimizer's.
    """
    own = optimizer.param_groups
    if len(state["param_groups"]) != len(own):
        raise ValueError(f"state of {len(state['param_groups'])} groups of parameters, there are {len(own)}")
    groups = [
        {**theirs, **{name: value for name, value in mine.items() if name != "params"}}
        for mine, theirs in zip(own, state["param_groups"], strict=True)
    ]
    # A copy: the optimizer would go on in the tensors that it is given.
    optimizer.load_state_dict({"state": copy.deepcopy(state["state"]), "param_groups": groups})


def lr_factor(config: c.Part, step: int, n_steps: int) -> float:
    """Return what the learning rate is multiplied with at `step`, counted from 0, of `n_steps`; in (0, 1].

    >>> [round(lr_factor(c.Cosine(warmup=0.0), step, 4), 2) for step in range(4)]
    [1.0, 0.85, 0.5, 0.15]
    """
    match config:
        case c.Constant():
            return 1.0
        case c.Cosine(warmup=warmup):
            up = round(warmup * n_steps)
            if step < up:
                return (step + 1) / (up + 1)
            return _half_cosine((step - up) / (n_steps - up), 1.0, 0.0)
        case c.OneCycle(warmup=warmup):
            top = max(warmup * n_steps - 1, 0.0)
            if step < top:
                return _half_cosine(step / top, 1 / 25, 1.0)
            return _half_cosine((step - top) / max(n_steps - 1 - top, 1.0), 1.0, 1 / 25e4)
        case c.Step(drops=drops, factor=factor):
            return factor ** (step * (drops + 1) // n_steps)
    raise TypeError(f"no builder for the schedule {config!r}")


def _half_cosine(share: float, start: float, end: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
