"""A meter in its own process: the same figures, and it survives what it measures."""

import pytest

from nas.errors import NasError
from nas.measure import MeterApart, apart, reference
from nas.measure.latency import Calibration
from nas.measure.quiet import CAN_PAUSE, Pause


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "reference.onnx"
    path.write_bytes(reference.model())
    return path


@pytest.fixture
def meter():
    with MeterApart("onnxruntime") as meter:
        yield meter


def test_the_reference_net_takes_about_what_it_was_calibrated_at(meter, net):
    found = meter.measure(net, reference.IN_SHAPE)
    assert found.low <= found.value <= found.high
    assert found.value == pytest.approx(meter.calibration.reference_ms, rel=0.5)  # the same net, on any machine


def test_a_kept_calibration_is_the_unit(meter, net):
    meter.calibration = Calibration(1000.0, "onnxruntime", reference.NAME)
    assert 500 < meter.measure(net, reference.IN_SHAPE).value < 2000
    assert meter.calibration.reference_ms == 1000.0


def test_a_file_that_cannot_be_run_is_an_error_and_the_meter_lives_on(meter, net, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    with pytest.raises(NasError, match=r"broken\.onnx"):
        meter.measure(tmp_path / "broken.onnx", (1, 8, 8))
    with pytest.raises(NasError, match=r"reference\.onnx"):
        meter.measure(net, (7, 7))
    assert meter.measure(net, reference.IN_SHAPE).value > 0


def test_a_process_that_dies_is_an_error_and_replaced(meter, net):
    before = meter.measure(net, reference.IN_SHAPE), meter.calibration
    meter._process.kill()
    with pytest.raises(NasError, match=r"reference\.onnx: brings the measuring process down"):
        meter.measure(net, reference.IN_SHAPE)
    assert meter.measure(net, reference.IN_SHAPE).value == pytest.approx(before[0].value, rel=0.9)
    assert meter.calibration == before[1]


def test_one_that_keeps_silent_is_given_up(meter, net, monkeypatch):
    meter.measure(net, reference.IN_SHAPE)
    monkeypatch.setattr(apart, "TIMEOUT_S", 0.0)
    with pytest.raises(NasError, match="takes longer than 0 s to measure"):
        meter.measure(net, reference.IN_SHAPE)


def test_its_process_holds_no_torch(net):
    import subprocess
    import sys

    source = "import nas.measure.apart, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout == "False\n"


def test_the_folder_one_stands_in_has_no_say(net, tmp_path, monkeypatch):
    for name in ("random.py", "secrets.py", "nas.py", "numpy.py"):
        (tmp_path / name).write_text("print('not me'); raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    with MeterApart("onnxruntime") as meter:
        assert meter.measure(net, reference.IN_SHAPE).value > 0


@pytest.mark.skipif(not CAN_PAUSE, reason="the system has no locks to pause by")
def test_a_trainer_that_does_not_pause_is_noticed_and_the_figure_is_the_same(meter, net):
    calm = meter.measure(net, reference.IN_SHAPE)
    assert meter.disturbed == 0
    with Pause() as pause:
        pause()  # a batch that lasts
        beside = meter.measure(net, reference.IN_SHAPE)
    assert meter.disturbed == 1
    assert beside.value == pytest.approx(calm.value, rel=0.9)
    meter.measure(net, reference.IN_SHAPE)
    assert meter.disturbed == 1


def test_an_unknown_runtime_is_told_at_once():
    with pytest.raises(NasError, match="Did you mean 'onnxruntime'"):
        MeterApart("onnxruntim")


def test_a_target_says_the_settings(net):
    with MeterApart("onnxruntime:batch=4") as meter:
        assert meter.takes == "onnx"
        assert meter.calibration.runtime == "onnxruntime:batch=4"
        assert meter.measure(net, reference.IN_SHAPE).value > 0
