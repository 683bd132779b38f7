"""Images with fewer pixels for a cheaper rung, where a network takes them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.training.seeding import torch_seeded

_TRIED = 2  # samples


@torch.no_grad()
def reduced_size(module: nn.Module, x: Tensor, share: float) -> tuple[int, int] | None:
    """Return the sides (H, W) that images of `x` have at a share of their resolution; None where they stay as they are.

    Whether the network takes them is tried on two samples in evaluation mode: it does where as many logits come out.
    Nothing of the network but its mode is changed, and no random number is drawn.

    Args:
        x: (N, *in_shape); only (N, C, H, W) can be reduced.
        share: of the sides, in (0, 1].
    """
    if share == 1 or x.ndim != 4:
        return None
    height, width = (max(1, round(share * side)) for side in x.shape[2:])
    module.eval()
    with torch_seeded(0):
        whole = module(x[:_TRIED])
        try:
            part = module(reduce(x[:_TRIED], (height, width)))
        except Exception:  # a linear layer over all pixels, a position for each token, a kernel larger than the image
            return None
    return (height, width) if part.shape == whole.shape else None


def reduce(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (N, C, H, W) with sides `size`: every pixel is the mean over the area that it stands for."""
    return F.interpolate(x, size, mode="area")
