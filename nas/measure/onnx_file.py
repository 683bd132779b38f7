"""An ONNX file that anybody wrote, as far as it can be measured: its input, its size, and what a runtime is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import NasError
from nas.measure.memory import peak_activation_bytes
from nas.measure.onnx_macs import count_onnx_macs
from nas.measure.target import Target
from nas.shapes import Shape

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

_OUR_INPUT = "nas.input"

_OTHERS = {".pt2": "torch.export", ".xml": "OpenVINO", ".bin": "OpenVINO", ".pte": "ExecuTorch", ".pt": "torch"}
"""What is often handed over, by suffix. To load one of torch's runs code that is in it."""


@dataclass(frozen=True)
class OnnxFile:
    """A file of one input whose first axis is the batch.

    Args:
        path: the file; weights it keeps in files of their own lie beside it.
        in_shape: of one sample, without the batch axis.
        batch: the number of samples that the file is fixed to; None: any.
        dtype: of its input, in the words of ONNX: FLOAT, INT64, ...
        parts: every file it consists of, `path` first.
    """

    path: Path
    in_shape: Shape
    batch: int | None
    dtype: str
    parts: tuple[Path, ...]

    @classmethod
    def read(cls, path: str | Path, shape: Shape | None = None) -> OnnxFile:
        """Read what a file takes.

        Args:
            shape: of one sample, for a file that leaves axes open.
        Raises:
            NasError: there is no such file; it is not ONNX; weights beside it are missing; it has several inputs, or
                one that is no tensor of numbers; an axis beyond the batch has no size, or another than `shape` says.
        """
        path = Path(path)
        model, parts = _load(path)
        given = _only_input(model, path)
        axes = _axes(given)
        in_shape = _in_shape(axes, given.name, shape, path)
        first = axes[0] if axes else None
        return cls(path, in_shape, first if isinstance(first, int) else None, _dtype(given, path), parts)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes on disk, files of weights included."""
        return sum(part.stat().st_size for part in self.parts)

    @cached_property
    def n_params(self) -> int:
        """Numbers among the initialisers, without those of 64-bit integers and truth values: shapes and indices.

        Constants in the graph count as well, as some exporters write weights, but for single numbers, which are part of
        a formula. A norm that the export has folded into a convolution is no longer there.
        """
        from onnx import TensorProto

        plain = (TensorProto.INT64, TensorProto.UINT64, TensorProto.BOOL, TensorProto.STRING)
        graph = _load(self.path, weights=False)[0].graph
        constants = [a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute]
        weights = [*graph.initializer, *(tensor for tensor in constants if prod(tensor.dims) > 1)]
        return sum(prod(weight.dims) for weight in weights if weight.data_type not in plain)

    def macs(self) -> int:
        """Return the multiply-adds of one sample, see `count_onnx_macs`.

        Raises:
            NasError: they cannot be told.
        """
        return count_onnx_macs(self.path, self.in_shape, batch=self.batch or 1)

    def peak_bytes(self, given: Path) -> int:
        """Return the peak of the activations, see `peak_activation_bytes`.

        Args:
            given: what `for_runtimes` returned.
        Raises:
            NasError: it cannot be told.
        """
        if self.batch not in (None, 1):
            raise NasError(f"it is of one sample, and the file takes {self.batch} at once")
        return peak_activation_bytes(given, self.in_shape)

    def check_target(self, target: Target) -> None:
        """Check that the file can be measured on a target.

        Raises:
            NasError: the target takes no ONNX files, or another batch than the file has.
        """
        if target.make().takes != "onnx":
            from nas.measure.runtimes import RUNTIMES

            takers = ", ".join(name for name in RUNTIMES if RUNTIMES[name].takes == "onnx")
            raise NasError(f"{self.path}: {target} builds the networks of a run and takes no ONNX files; take {takers}")
        if self.batch not in (None, target.batch):
            wanted = replace(target, batch=self.batch or 1)
            raise NasError(
                f"{self.path}: its batch is fixed to {self.batch}, and {target} is to run {target.batch}\n"
                f"  measure with --target {wanted}, or write the file with a batch of any size"
            )

    def for_runtimes(self, scratch: Path) -> Path:
        """Return a single file of one float32 input that computes the same: the file itself, or a copy in `scratch`.

        An input of whole numbers gets zeros and ones, which are a token's number in any vocabulary: two operators more,
        some 0.002 ms. One of another float type is converted to.

        Raises:
            NasError: weights that lie beside the file do not fit into one (2 GB).
        """
        import onnx

        if self.dtype == "FLOAT" and len(self.parts) == 1:
            return self.path
        model = _load(self.path)[0]
        if self.dtype != "FLOAT":
            _take_float(model, _only_input(model, self.path), self.dtype)
        copy = scratch / "single.onnx"
        try:
            onnx.save(model, copy)
        except Exception as error:  # protobuf stops at 2 GB, the disk where it is full
            raise NasError(f"{self.path}: cannot be copied into a single file: {error}") from error
        return copy


def _load(path: Path, *, weights: bool = True) -> tuple[ModelProto, tuple[Path, ...]]:
    """Return the model of a file, and the files it consists of; `weights`: those in other files are read too."""
    import onnx
    from onnx import external_data_helper as beside

    if not path.is_file():
        raise NasError(f"{path}: there is no such file")
    if path.suffix in _OTHERS:
        raise NasError(
            f"{path}: ONNX files are measured here, and this is one of {_OTHERS[path.suffix]}\n"
            "  'nas export RUN --format ...' measures each file as it writes it; of a network from elsewhere measure "
            "the ONNX file, e.g. with --target openvino"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf has its own, OSError, MemoryError
        raise NasError(f"{path}: is not an ONNX file: {str(error).splitlines()[0]}") from None
    if not (model.ir_version and model.graph.output):
        raise NasError(f"{path}: is not an ONNX file, or one of no network: it has no output")
    outside = [tensor for tensor in model.graph.initializer if beside.uses_external_data(tensor)]
    names = dict.fromkeys(beside.ExternalDataInfo(tensor).location for tensor in outside)
    parts = (path, *(path.parent / name for name in names))
    if missing := [part.name for part in parts if not part.is_file()]:
        raise NasError(
            f"{path}: its weights are in {', '.join(missing)}, which is not there\n"
            "  put it beside the file, or write the network into a single file"
        )
    if outside and weights:
        try:
            beside.load_external_data_for_model(model, str(path.parent))
        except Exception as error:  # it has several, ONNX's checker for one
            raise NasError(f"{path}: its weights cannot be read: {error}") from None
    return model, parts


def _only_input(model: ModelProto, path: Path) -> ValueInfoProto:
    constants = {weight.name for weight in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = f" ({', '.join(value.name for value in inputs)})" if inputs else ""
        raise NasError(
            f"{path}: a network of one input is measured here, this has {len(inputs)}{names}\n"
            "  make those that stay the same constants of the file"
        )
    return inputs[0]


def _dtype(given: ValueInfoProto, path: Path) -> str:
    from onnx import TensorProto

    kind = given.type.WhichOneof("value")
    dtype = TensorProto.DataType.Name(given.type.tensor_type.elem_type) if kind == "tensor_type" else str(kind)
    if kind != "tensor_type" or dtype in ("UNDEFINED", "STRING") or dtype.startswith("COMPLEX"):
        raise NasError(f"{path}: input '{given.name}' is {dtype}; a tensor of numbers is measured here")
    return dtype


def _axes(given: ValueInfoProto) -> list[int | str] | None:
    """Return the size of each axis, or its name where it has none; None where not even their number is known."""
    if not given.type.tensor_type.HasField("shape"):
        return None
    dims = given.type.tensor_type.shape.dim
    return [dim.dim_value if dim.dim_value > 0 else dim.dim_param for dim in dims]


def _in_shape(axes: list[int | str] | None, name: str, shape: Shape | None, path: Path) -> Shape:
    """Return the shape of one sample: the sizes that the file says, then those that `shape` says."""
    if axes is None:
        if shape is None:
            raise NasError(f"{path}: input '{name}' says nothing of its axes; say them with --shape, e.g. 3,224,224")
        return shape
    said = f"({', '.join(str(axis or '?') for axis in axes)})"
    if not axes:
        raise NasError(f"{path}: input '{name}' is a single number; the first axis of an input is that of the batch")
    if shape is None:
        if unsized := [f"{i} ('{axis}')" if axis else str(i) for i, axis in enumerate(axes) if i and _open(axis)]:
            guess = ",".join(str((224 if len(axes) == 4 else 128) if _open(axis) else axis) for axis in axes[1:])
            which = f"axis {unsized[0]} has" if len(unsized) == 1 else f"axes {', '.join(unsized)} have"
            raise NasError(f"{path}: input '{name}' is {said}, and its {which} no size\n  say it, e.g. --shape {guess}")
        return tuple(int(axis) for axis in axes[1:])
    if len(shape) != len(axes) - 1 or any(not _open(a) and a != size for a, size in zip(axes[1:], shape, strict=True)):
        raise NasError(f"{path}: input '{name}' is {said}, so a sample cannot be {shape}\n  --shape leaves out axis 0")
    return shape


def _open(axis: int | str) -> bool:
    return not isinstance(axis, int)


def _take_float(model: ModelProto, given: ValueInfoProto, dtype: str) -> None:
    """Put a float32 input in front of the one there is."""
    from onnx import TensorProto, helper

    to = TensorProto.DataType.Value(dtype)
    if dtype in ("FLOAT16", "DOUBLE", "BFLOAT16") or dtype.startswith("FLOAT"):
        nodes = [helper.make_node("Cast", [_OUR_INPUT], [given.name], to=to)]
    else:  # nothing that a runtime could work out beforehand, as zeros would be
        zero = helper.make_tensor("nas.zero", TensorProto.FLOAT, [], [0.0])
        nodes = [
            helper.make_node("Constant", [], ["nas.zero"], value=zero),
            helper.make_node("Greater", [_OUR_INPUT, "nas.zero"], ["nas.positive"]),
            helper.make_node("Cast", ["nas.positive"], [given.name], to=to),
        ]
    graph = model.graph
    kept = [*nodes, *graph.node]
    others = [value for value in graph.input if value.name != given.name]
    entry = type(given)()
    entry.CopyFrom(given)
    entry.name = _OUR_INPUT
    entry.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.node[:]
    del graph.input[:]
    graph.node.extend(kept)
    graph.input.extend([entry, *others])


def read_shape(text: str | Sequence[int]) -> Shape:
    """Read `3,32,32`.

    Raises:
        NasError: the text is no such thing.

    >>> read_shape("3,32,32"), read_shape("10")
    ((3, 32, 32), (10,))
    """
    sizes = text.replace("x", ",").split(",") if isinstance(text, str) else [str(size) for size in text]
    if not (sizes and all(size.strip().isdecimal() and int(size) > 0 for size in sizes)):
        raise NasError(f"shape {text!r} cannot be read; write the sizes of one sample, without the batch: 3,32,32")
    return tuple(int(size) for size in sizes)
