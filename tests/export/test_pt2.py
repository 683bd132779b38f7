"""torch.export: what fixes its batch ships with that batch, what branches on values does not ship."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.errors import NasError
from nas.export import FORMATS
from nas.export.parity import compare, torch_outputs


class FrozenBatch(nn.Module):
    """The size of the batch becomes a constant of the trace."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) * torch.arange(float(x.shape[0]))[:, None]


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.sum() == 0 else x * 3


def test_what_fixes_its_batch_ships_with_it(tmp_path: Path, capfd):
    form, path, x = FORMATS["pt2"], tmp_path / "net.pt2", torch.randn(3, 4)
    assert form.write(FrozenBatch(), (4,), path, {}, batch=3) == 3
    form.finish(path, {"batch": 3})
    run = form.load(path)
    compare(run, torch_outputs(FrozenBatch(), x), x.numpy(), "net.pt2", batch_sizes=(3,))
    with pytest.raises(NasError, match=r"net\.pt2: cannot be run at batch size 1"):
        compare(run, torch_outputs(FrozenBatch(), x), x.numpy(), "net.pt2", batch_sizes=(1,))
    assert capfd.readouterr() == ("", "")


def test_what_branches_on_values_is_refused_with_the_reason(tmp_path: Path, capfd):
    words = r"Branch: torch\.export cannot trace it: .+\n  a block that branches on the values"
    with pytest.raises(NasError, match=words):
        FORMATS["pt2"].write(Branch(), (4,), tmp_path / "net.pt2", {}, batch=1)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
