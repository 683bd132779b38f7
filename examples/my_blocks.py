"""Parts of one's own: a block, an objective and a data set. See docs/plugins.md.

nas search examples/my_space.yaml --plugin examples/my_blocks.py --data rings -o accuracy -o n_activations
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn

import nas
from nas.blocks.checks import at_least, check, odd
from nas.blocks.contract import expect
from nas.blocks.layers import init_conv
from nas.data import Arrays


@nas.BLOCKS.add("glu_conv")
class GluConv(nn.Module):
    """A convolution whose output is gated by another one: conv(x) * gate(conv(x)), then batch norm.

    Shapes:
        in:  (N, C, H, W)
        out: (N, width, ceil(H / stride), ceil(W / stride))

    Reference:
        Dauphin et al., Language Modeling with Gated Convolutional Networks, ICML 2017. https://arxiv.org/abs/1612.08083
    """

    takes: ClassVar = "map"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 32  # channels out
        kernel: int = 3  # odd
        stride: int = 1
        gate: Literal["sigmoid", "silu"] = "sigmoid"

        def __post_init__(self) -> None:
            check(self, width=at_least(1), kernel=odd, stride=at_least(1))

    def __init__(self, in_shape: tuple[int, ...], config: Config) -> None:
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        s = config.stride
        self.out_shape = (config.width, -(-h // s), -(-w // s))
        self.conv = nn.Conv2d(c, 2 * config.width, config.kernel, s, config.kernel // 2, bias=False)
        self.gate = nn.Sigmoid() if config.gate == "sigmoid" else nn.SiLU()
        self.norm = nn.BatchNorm2d(config.width)
        init_conv(self.conv, "none")

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.conv(x).chunk(2, dim=1)
        return self.norm(value * self.gate(gate))


@nas.OBJECTIVES.add("n_activations", unit="activations", direction="minimize")
def n_activations(module: nn.Module, in_shape: tuple[int, ...]) -> float:
    """Numbers that convolutions and linear layers write, of one sample: tells memory traffic better than macs do.

    Reference: Radosavovic et al., Designing Network Design Spaces, CVPR 2020. https://arxiv.org/abs/2003.13678
    """
    import torch

    found: list[int] = []
    layers = [part for part in module.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Linear)]
    hooks = [part.register_forward_hook(lambda part, x, y: found.append(y[0].numel())) for part in layers]
    try:
        module(torch.zeros(1, *in_shape))
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found)


@nas.DATASETS.add("rings")
def rings(how: object) -> Arrays:
    """600 images of 12 x 12: a ring, a disc or a cross somewhere, in noise."""
    rng = np.random.default_rng(0)  # the same data each time
    y = np.arange(600) % 3
    rows, columns = np.mgrid[:12, :12]
    centre = rng.uniform(4, 8, size=(600, 2))
    dy, dx = rows - centre[:, :1, None], columns - centre[:, 1:, None]
    radius = np.hypot(dy, dx)
    shapes = [abs(radius - 3) < 0.8, radius < 2.5, np.minimum(abs(dy), abs(dx)) < 0.8]
    x = np.choose(y[:, None, None], shapes) + rng.normal(0, 0.6, size=(600, 12, 12))
    x = x.astype(np.float32)
    return Arrays(
        name="rings",
        where="rings",
        layout="NHW",
        x_train=x[:480],
        y_train=y[:480],
        x_test=x[480:],
        y_test=y[480:],
        classes=np.array(["ring", "disc", "cross"]),
    )
