"""Prices of built networks: each different network is measured once."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from nas.build import Network
from nas.export.onnx import export_onnx, structure
from nas.measure.meter import Measures
from nas.measure.module import price_exported
from nas.measure.runtimes.network import write_network
from nas.objectives import Prices
from nas.shapes import Shape


class Pricer:
    """Prices networks, and remembers them by what was built and by what its file computes.

    Two architectures that differ in training hyperparameters alone are built alike and have one price; so have two that
    differ in what has no effect at inference, such as a dropout rate, since their files compute the same.

    Args:
        meter: measures the latency.
        in_shape: of one sample, without the batch axis.
        scratch: an existing folder for the ONNX files being measured; each is gone afterwards.
    """

    def __init__(self, meter: Measures, in_shape: Shape, scratch: Path) -> None:
        self.meter, self.in_shape, self.scratch = meter, in_shape, scratch
        self._known: dict[str, Prices] = {}

    def price(self, network: Network) -> Prices:
        """Return every price of a network; see `price_module` for errors and cost. A known network costs nothing."""
        key = network_key(network)
        if key not in self._known:
            self._known[key] = self._price(network)
        return self._known[key]

    def known(self, network: Network) -> Prices | None:
        """Return the prices of a network that was priced before; None, and nothing is measured, for another."""
        return self._known.get(network_key(network))

    def remember(self, key: str, prices: Prices) -> None:
        """Take over what an earlier process has measured of the network `key`."""
        self._known.setdefault(key, prices)

    def _price(self, network: Network) -> Prices:
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix=".price-") as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(network, self.in_shape, path)
            file_key = structure(path)
            if file_key not in self._known:
                given = measured_file(network, self.meter, path, Path(folder))
                self._known[file_key] = price_exported(network, self.in_shape, self.meter, path, given)
        return self._known[file_key]


def measured_file(network: Network, meter: Measures, onnx_path: Path, scratch: Path) -> Path:
    """Return the file of a network that a meter takes: its ONNX file, or one that is written into `scratch`."""
    if meter.takes == "onnx":
        return onnx_path
    path = scratch / "network.json"
    write_network(network, path)
    return path


def network_key(network: Network) -> str:
    """Return 16 hex digits that name the network built."""
    return hashlib.sha256(network.signature().encode()).hexdigest()[:16]
