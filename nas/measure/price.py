"""Prices of built networks: each different network is exported and measured once."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from nas.build import Network
from nas.measure.meter import Meter
from nas.measure.module import price_module
from nas.objectives import Prices
from nas.shapes import Shape


class Pricer:
    """Prices networks, and remembers them by what was built.

    Two architectures that differ in training hyperparameters alone are one network and have one price.

    Args:
        meter: measures the latency.
        in_shape: of one sample, without the batch axis.
        scratch: an existing folder for the ONNX files being measured; each is gone afterwards.
    """

    def __init__(self, meter: Meter, in_shape: Shape, scratch: Path) -> None:
        self.meter, self.in_shape, self.scratch = meter, in_shape, scratch
        self._known: dict[str, Prices] = {}

    def price(self, network: Network) -> Prices:
        """Return every price of a network; see `price_module` for errors and cost. A known network costs nothing."""
        key = network_key(network)
        if key not in self._known:
            with tempfile.TemporaryDirectory(dir=self.scratch, prefix=".price-") as folder:
                self._known[key] = price_module(network, self.in_shape, self.meter, Path(folder) / "network.onnx")
        return self._known[key]

    def remember(self, key: str, prices: Prices) -> None:
        """Take over what an earlier process has measured."""
        self._known.setdefault(key, prices)


def network_key(network: Network) -> str:
    """Return 16 hex digits that name the network built."""
    return hashlib.sha256(network.signature().encode()).hexdigest()[:16]
