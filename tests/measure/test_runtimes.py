"""What every runtime has to keep, and the meter that measures in one."""

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from torch import nn

from nas.errors import NasError, RunError
from nas.export import export_onnx
from nas.measure import RUNTIMES, Calibration, Meter, reference
from nas.measure.runtimes import OnnxRuntime
from nas.objectives import Measurement


@pytest.fixture(params=list(RUNTIMES))
def runtime(request):
    return RUNTIMES[request.param]()


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    export_onnx(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), (6,), path)
    return path


def test_runs_from_a_file_and_from_memory(runtime, path: Path):
    for model in (path, path.read_bytes()):
        run = runtime.prepare(model, (6,))
        assert run() is None
        assert run() is None


def test_can_be_pickled_and_keeps_its_name(runtime):
    copy = pickle.loads(pickle.dumps(runtime))
    assert copy.name == runtime.name
    assert runtime.name.startswith(next(name for name in RUNTIMES if type(runtime) is RUNTIMES[name]))


def test_an_impossible_shape_or_file_is_a_users_error(runtime, path: Path, tmp_path: Path, capfd):
    with pytest.raises(NasError, match=r"net\.onnx.* \(7,\)"):
        runtime.prepare(path, (7,))
    with pytest.raises(NasError, match=r"missing\.onnx"):
        runtime.prepare(tmp_path / "missing.onnx", (6,))
    with pytest.raises(NasError, match="the model in memory"):
        runtime.prepare(b"no model", (6,))
    assert capfd.readouterr() == ("", "")


def test_threads_are_part_of_the_name_and_at_least_one():
    assert OnnxRuntime().name == OnnxRuntime(threads=1).name != OnnxRuntime(threads=2).name
    with pytest.raises(NasError, match="threads must be at least 1, got 0"):
        OnnxRuntime(threads=0)


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

    monkeypatch.setattr(module, "measure_ratio", lambda candidate, reference: Ratio(2.0, 1.5, 3.0, 50))
    meter = Meter(OnnxRuntime(), Calibration(0.04, "onnxruntime", reference.NAME))
    assert meter.measure(path, (6,)) == Measurement(0.08, 0.06, 0.12)


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
