"""ExecuTorch with XNNPACK: what runs on phones and boards, without Python."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.export.formats.base import FORMATS, Format, stderr_closed
from nas.export.formats.pt2 import exported
from nas.export.metadata import Metadata
from nas.export.onnx import silence
from nas.export.standalone import open_executorch
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import nn


class ExecuTorchFormat(Format):
    """A .pte file for a fixed number of samples: its memory is planned when it is written."""

    called, suffix, runtime, needs = "executorch", ".pte", "executorch", "executorch and torch"
    extra = "executorch"
    any_batch = False
    opens = open_executorch

    def write(self, module: nn.Module, in_shape: Shape, path: Path, metadata: Metadata, batch: int) -> int:
        path.write_bytes(lowered(module, in_shape, batch))
        return batch


def lowered(module: nn.Module, in_shape: Shape, batch: int) -> bytes:
    """Return the program that the XNNPACK partitioner makes of `module` for `batch` samples.

    Raises:
        NasError: the network cannot be lowered, or ExecuTorch does not load.

    Cost: 1 to 5 s; for recurrent layers, which it unrolls, 6 s at 8 steps, 25 s at 25, a minute at 49.
    """
    import torch

    with silence(), stderr_closed(), _as_of_this_torch():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        # A pass of ExecuTorch's refuses weights whose channels lie last, as training leaves them.
        plain = copy.deepcopy(module).to(memory_format=torch.contiguous_format)
        program = exported(plain, in_shape, batch)
        try:
            edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            return bytes(edge.to_executorch().buffer)
        except Exception as error:  # it has many
            why = error.__cause__ or error  # it says in which pass, its cause says what
            reason = (str(why).strip().splitlines() or [type(why).__name__])[0]
            raise NasError(f"{type(module).__name__}: ExecuTorch cannot lower it: {reason}") from error


def loaded(program: bytes | Path) -> Any:
    """Return a program, or one in a file, in ExecuTorch's own runtime."""
    with _as_of_this_torch():
        from executorch.runtime import Runtime
    return Runtime.get().load_program(program)


@contextmanager
def _as_of_this_torch() -> Iterator[None]:
    """Say of an ExecuTorch that does not load why that may be."""
    import torch

    try:
        yield
    except ImportError as error:
        raise NasError(
            f"executorch: ExecuTorch is installed but does not load: {error}\n"
            f"  each version of it goes with one of torch, here {torch.__version__}"
        ) from error


FORMATS.add("executorch")(ExecuTorchFormat())
