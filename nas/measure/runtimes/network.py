"""What is handed to runtimes that run torch modules: what was built, as JSON, from which they build it again.

An exported program runs from its graph, which in eager mode takes 1.1 to 2.4 times as long as the module it was made of
(a traced one 0.3 to 0.9 times) and 50 to 3000 ms to write; a pickled module can do anything when it is read. Building
takes 1 to 9 ms and gives the very module. Its weights are others: latency does not depend on them.
"""

from __future__ import annotations

import dataclasses
import json
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import BuildError, NasError
from nas.export.onnx import silence
from nas.measure import reference
from nas.measure.runtimes.base import Opened, Runtime, place
from nas.shapes import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.build import Network


def write_network(network: Network, path: Path) -> None:
    """Write what was built to `path`.

    Raises:
        NasError: the file cannot be written.
    """
    parts = [
        [step.path.partition(".")[0], step.name, dataclasses.asdict(step.config)]
        for step in network.steps
        if step.config is not None  # conversions follow from the parts
    ]
    (n_outputs,) = network.steps[-1].out_shape
    text = json.dumps({"in_shape": network.steps[0].in_shape, "n_outputs": n_outputs, "parts": parts})
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NasError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_network(model: Path | bytes) -> tuple[nn.Module, Shape]:
    """Return the network that a file or its bytes describe, in eval mode, and its in_shape; the same weights each time.

    Raises:
        NasError: it describes none, or one that cannot be built here.
    """
    import torch

    from nas.build import build_tree

    try:
        content = model if isinstance(model, bytes) else model.read_bytes()
    except OSError as error:
        raise NasError(f"{place(model)}: cannot be read: {error.strerror or error}") from error
    try:
        found: dict[str, Any] = json.loads(content)
        if found == {"reference": reference.NAME}:
            return reference_network(), reference.IN_SHAPE
        in_shape = tuple(found["in_shape"])
        sections: dict[str, Any] = {"stem": [], "body": [], "head": []}
        for section, name, fields in found["parts"]:
            sections[section].append({name: fields})
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            return build_tree(sections, in_shape, found["n_outputs"]).eval(), in_shape
    except BuildError as error:
        raise NasError(
            f"{place(model)}: cannot be built in the process that measures: {error}\n"
            "  a block of your own is known there where its file is named with --plugin; a runtime that takes ONNX "
            "needs no block"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NasError(f"{place(model)}: describes no network ({type(error).__name__}: {error})") from error


def reference_network() -> nn.Module:
    """Return the reference net, weights and all, as a torch module."""
    import onnx
    import torch
    from onnx import numpy_helper
    from torch import nn

    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)),
    )
    weights = onnx.load_from_string(reference.model()).graph.initializer
    with torch.no_grad():
        for parameter, weight in zip(net.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(numpy_helper.to_array(weight).copy()))
    return net.eval()


class NetworkTaker(Runtime):
    """A runtime that is handed networks, and runs them or what it makes of them."""

    takes = "network"

    def reference(self) -> bytes:
        return json.dumps({"reference": reference.NAME}).encode()

    def load(self, model: Path | bytes, inputs: np.ndarray) -> Opened:
        import torch

        torch.set_num_threads(self.threads)  # of the whole process
        if self.is_shipped(model):
            with silence():
                return self.load_shipped(model, torch.from_numpy(inputs))
        module, in_shape = read_network(model)
        if inputs.shape[1:] != in_shape:
            raise ValueError(f"the network takes {in_shape}")
        with silence():
            return self.load_module(module, torch.from_numpy(inputs))

    @abstractmethod
    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        """Make `module`, in eval mode, ready to run on `inputs`."""

    def load_shipped(self, path: Path, inputs: Tensor) -> Opened:
        """Make a file of the runtime's own format ready to run on `inputs`; such a file can do anything when loaded."""
        raise NotImplementedError(f"{self.called} has no format of its own")
