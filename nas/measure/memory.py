"""How much memory the activations of a network need at least, read off the file that ships."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import NasError
from nas.export.onnx import quiet_session
from nas.shapes import Shape

if TYPE_CHECKING:
    from onnx import GraphProto

_VIEWS = frozenset(("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze"))
"""Operators whose output is the memory of their first input."""

_OF_SHAPES = frozenset(("Shape", "Size"))
"""Operators whose output is known before there is an input."""


def peak_activation_bytes(onnx_path: Path, in_shape: Shape) -> int:
    """Return the largest sum of the bytes of the activations alive at one time, at inference of one sample.

    The operators run one after the other, in the order of the file. While one runs, its inputs and all its outputs are
    alive, and so is every earlier activation that a later operator reads; each is freed after the last operator that
    reads it, the outputs of the network never. The input is an activation; a reshaped tensor is the tensor itself.

    Left out are weights and constants, and what depends on no value of the input, such as the zeros that a recurrent
    layer starts from. So is what an operator needs for itself while it runs (unfolded patches of a convolution, gates
    of an LSTM): that differs between runtimes.

    A runtime that needs less writes an operator's output over its input, fuses a convolution with its activation, or
    puts operators into another order; where it does so, the figure is an upper bound. It counts the file's operators:
    a SiLU or GELU of several has up to three tensors of the same size alive, a ReLU or Hardswish two.

    Args:
        onnx_path: one input and no control flow, as `export_onnx` writes it. The numbers of its tensors, mostly
            float32, have the bytes of their type.
        in_shape: of one sample, without the batch axis.
    Raises:
        NasError: the file cannot be loaded, or not be run at `in_shape`; or it holds control flow.

    Cost: loading and one inference of which every tensor is kept, 3 ms for a network on 28 x 28 and 6 ms on 64 x 64 in
    the median. The shapes come from that run: `onnx.shape_inference` finds none from the first attention on, whose
    reshapes the exporter computes from the batch size.

    Reference:
        Liberis and Lane 2019, https://arxiv.org/abs/1910.05110 (the working set of an operator; the same
        order of operators is kept here); as an objective of search: Liberis et al. 2020 (µNAS),
        https://arxiv.org/abs/2010.14246.
    """
    import onnx

    try:
        model = onnx.load(onnx_path)
    except Exception as error:  # of protobuf, of the file system, of external data
        raise NasError(f"{onnx_path}: cannot be loaded: {error}\n  write it again with 'nas export'") from error
    graph = model.graph
    for node in graph.node:
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise NasError(
                f"{onnx_path}: what is alive within {node.op_type} '{node.name}' depends on values\n"
                "  write the block without control flow"
            )
    lifetimes = _lifetimes(graph)
    n_bytes = _n_bytes(model, list(lifetimes), in_shape, onnx_path)
    changes = [0] * (len(graph.node) + 2)
    for name, (born, last) in lifetimes.items():
        changes[born] += n_bytes[name]
        changes[last + 1] -= n_bytes[name]
    return max(accumulate(changes))


def _lifetimes(graph: GraphProto) -> dict[str, tuple[int, int]]:
    """Return, of each activation that has memory of its own, the numbers of its first and last operator."""
    constants = {weight.name for weight in graph.initializer}
    memory = {value.name: value.name for value in graph.input if value.name not in constants}
    born, last = dict.fromkeys(memory, 0), dict.fromkeys(memory, 0)
    for i, node in enumerate(graph.node):
        read = [memory[name] for name in node.input if name in memory]
        if not read or node.op_type in _OF_SHAPES:
            continue
        last.update(dict.fromkeys(read, i))
        if node.op_type in _VIEWS and node.input[0] in memory:
            memory[node.output[0]] = memory[node.input[0]]
            continue
        for name in filter(None, node.output):  # the name of an output that is left out is empty
            memory[name] = name
            born[name] = last[name] = i
    for value in graph.output:
        if value.name in memory:
            last[memory[value.name]] = len(graph.node)
    return {name: (born[name], last[name]) for name in born}


def _n_bytes(model: Any, names: list[str], in_shape: Shape, path: Path) -> dict[str, int]:
    """Return the sizes that the tensors `names` have in a run on one sample."""
    import numpy as np
    from onnx import ValueInfoProto

    constants = {weight.name for weight in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - constants
    if len(inputs) != 1:
        raise NasError(f"{path}: a network of one input is measured here, this has {len(inputs)}")
    shown = inputs | {value.name for value in model.graph.output}
    model.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in shown)
    try:
        session = quiet_session(model.SerializeToString())
    except NasError as error:
        raise NasError(f"{path}: {error}") from None
    sample = dict.fromkeys(inputs, np.zeros((1, *in_shape), np.float32))
    try:
        outputs = session.run(None, sample)
    except Exception as error:  # ONNX Runtime has a class for each status, below Exception
        raise NasError(f"{path}: cannot be run on one sample of shape {in_shape}: {error}") from error
    found = dict(zip((value.name for value in model.graph.output), outputs, strict=True)) | sample
    return {name: array.nbytes for name, array in found.items()}
