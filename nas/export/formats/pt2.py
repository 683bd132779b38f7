"""torch.export: a graph of torch operators, for whoever stays in torch without the Python of the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.export.formats.base import FORMATS, Format, stderr_closed
from nas.export.metadata import Metadata
from nas.export.onnx import device_of, eval_mode, silence
from nas.export.standalone import open_pt2
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

_TRACED_AT = 2
"""Samples: an axis of one is taken for a constant."""


class Pt2Format(Format):
    """A .pt2 file with a free batch axis; a network that fixes it while it is traced ships with a fixed one."""

    called, suffix, runtime, needs = "pt2", ".pt2", "eager", "torch"
    as_searched = False  # a search runs the module, whose layers are one call each
    opens = open_pt2

    def write(self, module: nn.Module, in_shape: Shape, path: Path, metadata: Metadata, batch: int) -> int | None:
        import torch

        try:
            program, fixed = exported(module, in_shape, None), None
        except NasError:
            program, fixed = exported(module, in_shape, batch), batch
        with silence():
            torch.export.save(program, path)
        return fixed


def exported(module: nn.Module, in_shape: Shape, batch: int | None) -> ExportedProgram:
    """Return `module` in eval mode as a graph for `batch` samples, or for any.

    Raises:
        NasError: it cannot be traced.

    Cost: 0.1 to 2 s.
    """
    import torch

    example = torch.zeros(batch or _TRACED_AT, *in_shape, device=device_of(module))
    axes = None if batch else ({0: torch.export.Dim("batch", min=1)},)
    with eval_mode(module), silence(), stderr_closed(), torch.no_grad():  # torch prints the graph it failed on
        try:
            return torch.export.export(module, (example,), dynamic_shapes=axes)
        except Exception as error:  # torch has many
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise NasError(
                f"{type(module).__name__}: torch.export cannot trace it: {reason}\n"
                "  a block that branches on the values of its input cannot be exported"
            ) from error


FORMATS.add("pt2")(Pt2Format())
