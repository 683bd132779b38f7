"""Prices of built networks: each different network is measured once."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from nas.build import Network
from nas.export.onnx import export_onnx, structure
from nas.export.quantize import Precision, quantize
from nas.measure.meter import Measures
from nas.measure.module import count
from nas.measure.open import OpenMeter
from nas.measure.runtimes.network import write_network
from nas.objectives import Measurement, Prices
from nas.shapes import Shape

_N_SAMPLES = 8


class Pricer:
    """Prices networks, and remembers them by what was built and by what its file computes.

    Two architectures that differ in training hyperparameters alone are built alike and have one price; so have two that
    differ in what has no effect at inference, such as a dropout rate, since their files compute the same.

    Args:
        meters: what measures each latency, by name of the price.
        in_shape: of one sample, without the batch axis.
        scratch: an existing folder for the files being measured; each is gone afterwards.
        limits: the figures at which somebody decides, by name of the price: one that lies within a measured interval
            is worth a longer measurement.
        samples: (n, *in_shape) float32, for what is quantised statically. A few are enough: latency does not depend
            on the ranges that they give.
        own: objectives of a user's own that are prices here, by name.
        keep: told what was measured of each different file, by a name for `remember`; the last word counts.
    """

    def __init__(
        self,
        meters: Mapping[str, OpenMeter],
        in_shape: Shape,
        scratch: Path,
        limits: Mapping[str, Sequence[float]] = {},
        samples: np.ndarray | None = None,
        keep: Callable[[str, Prices], None] = lambda key, prices: None,
        own: Sequence[str] = (),
    ) -> None:
        self.meters, self.in_shape, self.scratch, self.limits = meters, in_shape, scratch, limits
        self.keep, self.own = keep, own
        self.samples = samples[:_N_SAMPLES] if samples is not None else np.zeros((1, *in_shape), np.float32)
        self._known: dict[str, Prices] = {}

    def price(self, network: Network, precision: Precision = "fp32") -> Prices:
        """Return every price of a network; see `price_module` for errors and cost. A known network costs nothing.

        Args:
            precision: of the file that is measured and weighed. What is counted is the same in all of them.
        Raises:
            NasError: there is nothing in the network to quantise, too.
        """
        key = network_key(network, precision)
        if key not in self._known:
            with self._exported(network) as path:
                file_key = _file_key(path, precision)
                if file_key not in self._known:
                    shipped = self._shipped(path, precision)
                    counted = count(network, self.in_shape, shipped, self.own)
                    self._known[file_key] = {**self._measure(network, shipped, self.limits), **counted}
                    self.keep(file_key, self._known[file_key])
            self._known[key] = self._known[file_key]
        return self._known[key]

    def sharpen(self, network: Network, limits: Mapping[str, Sequence[float]], precision: Precision = "fp32") -> Prices:
        """Measure the latencies named in `limits` again, with these limits too, and return every price with them.

        Two figures of one network differ by chance. What is kept is the mean, weighted by how sure each of them is, so
        that measuring again until it suits is of no use.
        """
        known = self.price(network, precision)
        also = {name: [*self.limits.get(name, ()), *values] for name, values in limits.items()}
        with self._exported(network) as path:
            again = self._measure(network, self._shipped(path, precision), also, only=limits)
            file_key = _file_key(path, precision)
        new = {**known, **{name: _pooled(known[name], m) for name, m in again.items()}}
        self.keep(file_key, new)
        self._known.update((key, new) for key, prices in self._known.items() if prices == known)
        return new

    def known(self, network: Network) -> Prices | None:
        """Return the prices of a network that was priced before; None, and nothing is measured, for another."""
        return self._known.get(network_key(network))

    def remember(self, key: str, prices: Prices) -> None:
        """Take over what an earlier process has measured of the network, or file, `key`; the last word counts."""
        self._known[key] = prices

    @contextmanager
    def _exported(self, network: Network) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix=".price-") as folder:
            path = Path(folder) / "network.onnx"
            export_onnx(network, self.in_shape, path)
            yield path

    def _shipped(self, path: Path, precision: Precision) -> Path:
        """Return the file that ships: the one at `path`, or one in another precision beside it."""
        if precision == "fp32":
            return path
        quantised = path.with_name(f"network.{precision}.onnx")
        quantize(path, quantised, precision, self.samples)
        return quantised

    def _measure(
        self,
        network: Network,
        path: Path,
        limits: Mapping[str, Sequence[float]],
        only: Collection[str] | None = None,
    ) -> Prices:
        return {
            name: meter.measure(measured_file(network, meter, path, path.parent), self.in_shape, limits.get(name, ()))
            for name, meter in self.meters.items()
            if only is None or name in only
        }


def measured_file(network: Network, meter: Measures, onnx_path: Path, scratch: Path) -> Path:
    """Return the file of a network that a meter takes: its ONNX file, or one that is written into `scratch`, once."""
    if meter.takes == "onnx":
        return onnx_path
    path = scratch / "network.json"
    if not path.exists():
        write_network(network, path)
    return path


def _pooled(a: Measurement, b: Measurement) -> Measurement:
    """Return the mean of two measurements of one thing, weighted by the inverse square of their widths.

    >>> round(_pooled(Measurement(1.0, 0.9, 1.1), Measurement(2.0, 1.9, 2.1)).value, 9)
    1.5
    """
    widths = [max(m.high - m.low, 1e-9 * m.value) for m in (a, b)]
    weight = widths[1] ** 2 / (widths[0] ** 2 + widths[1] ** 2)
    half = widths[0] * math.sqrt(weight) / 2
    value = weight * a.value + (1 - weight) * b.value
    half = max(half, abs(a.value - b.value) / 2)  # an interval knows nothing of what two readings differ by
    return Measurement(value, value - half, value + half)


def _file_key(path: Path, precision: Precision) -> str:
    """Return what names the file that is made of the one at `path`, whatever its weights are."""
    return structure(path) + ("" if precision == "fp32" else precision)


def network_key(network: Network, precision: Precision = "fp32") -> str:
    """Return 16 hex digits that name the network built and the precision in which it ships."""
    said = "" if precision == "fp32" else f"{precision} "
    return hashlib.sha256(f"{said}{network.signature()}".encode()).hexdigest()[:16]
