"""The reference net, and the meter that measures in a runtime."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from nas.errors import RunError
from nas.export import export_onnx
from nas.measure import Calibration, Meter, reference
from nas.measure.runtimes import OnnxRuntime
from nas.objectives import Measurement


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    export_onnx(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (6,), path)
    return path


def test_the_reference_net_is_valid_and_always_the_same():
    made = reference.model()
    onnx.checker.check_model(onnx.load_from_string(made), full_check=True)
    reference.model.cache_clear()
    assert reference.model() == made
    from nas.export.onnx import quiet_session

    sample = np.random.default_rng(0).standard_normal((2, *reference.IN_SHAPE)).astype(np.float32)
    (logits,) = quiet_session(made).run(None, {"input": sample})
    assert logits.shape == (2, 10)
    assert 0.01 < np.abs(logits).max() < 100  # neither dead nor exploding: denormals and infinities change the time


@pytest.fixture(scope="module")
def meter() -> Meter:
    return Meter.calibrated(OnnxRuntime())


def test_a_meter_measures_and_calibrates_once(meter: Meter, path: Path):
    calibration = meter.calibration
    measured = meter.measure(path, (6,))
    assert isinstance(measured, Measurement)
    assert 0 < measured.low <= measured.value <= measured.high
    assert meter.calibration is calibration


def test_latency_is_the_ratio_times_the_frozen_reference(path: Path, monkeypatch):
    from nas.measure import meter as module
    from nas.measure.latency import Ratio

    monkeypatch.setattr(module, "measure_ratio", lambda candidate, reference, **_: Ratio(2.0, 1.5, 3.0, 50, 1e6))
    meter = Meter(OnnxRuntime(), Calibration(0.04, "onnxruntime", reference.NAME))
    assert meter.measure(path, (6,)) == Measurement(0.08, 0.06, 0.12)


def test_a_measurement_in_which_the_reference_was_slow_is_made_again_and_the_calmest_counts(path: Path, monkeypatch):
    from nas.measure import meter as module
    from nas.measure.latency import Ratio

    def meter_of(*readings: tuple[float, float]) -> Meter:
        """Return one that reads these (ratio, reference in ns), one after the other."""
        left = [Ratio(ratio, ratio, ratio, 50, ns) for ratio, ns in readings]
        monkeypatch.setattr(module, "measure_ratio", lambda *runs, **_: left.pop(0))
        return Meter(OnnxRuntime(), Calibration(1.0, "onnxruntime", reference.NAME))

    calm = meter_of((2.0, 1.02e6), (9.0, 1.0e6))
    assert (calm.measure(path, (6,)).value, calm.measure(path, (6,)).value) == (2.0, 9.0)
    disturbed = meter_of((3.0, 1.3e6), (2.0, 1.01e6))
    assert disturbed.measure(path, (6,)).value == 2.0
    assert disturbed.drift == pytest.approx(0.01)
    slowed = meter_of((2.1, 1.3e6), (2.0, 1.25e6), (2.2, 1.3e6), (5.0, 1.3e6), (6.0, 1.2e6))
    assert [slowed.measure(path, (6,)).value for _ in range(3)] == [2.0, 5.0, 6.0], "the slower clock is the usual one"


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (Calibration(0.04, "openvino", reference.NAME), "runtime 'openvino', this is 'onnxruntime'"),
        (Calibration(0.04, "onnxruntime", "old/0"), "reference net 'old/0'"),
    ],
)
def test_a_calibration_of_something_else_is_refused(calibration: Calibration, words: str):
    with pytest.raises(RunError, match=words):
        Meter(OnnxRuntime(), calibration)
