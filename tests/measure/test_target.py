"""Targets as text: what is written is read, what is odd is told."""

import pickle
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import NasError
from nas.measure.runtimes import RUNTIMES, OnnxRuntime
from nas.measure.target import Target

counts = st.integers(1, 10**9 - 1)
hosts = st.from_regex(r"\A[a-z_][a-z0-9_]{0,8}@[A-Za-z0-9][A-Za-z0-9.-]{0,20}(:[0-9]{1,5})?\Z")
on_cpu = sorted(set(RUNTIMES) - {"cuda", "cudagraphs"})
on_onnx = [name for name in on_cpu if RUNTIMES[name].takes == "onnx"]
pythons = st.just("python3") | st.from_regex(r"\A(~/|/)?[!-+.-}]([ -+.-~é]{0,20}[!-+.-~])?\Z")  # no comma
targets = st.builds(Target, runtime=st.sampled_from(on_cpu), threads=counts, batch=counts) | st.builds(
    Target, runtime=st.sampled_from(on_onnx), threads=counts, batch=counts, host=hosts, python=pythons
)


@given(targets)
def test_what_is_written_is_read(target: Target) -> None:
    assert Target.parse(str(target)) == target
    assert str(Target.parse(f" {target} ")) == str(target)


@given(targets)
def test_its_runtime_has_its_settings_and_its_name(target: Target) -> None:
    made = target.make()
    assert type(made) is RUNTIMES[target.runtime]
    assert (made.threads, made.batch, made.precision) == (target.threads, target.batch, target.precision)
    assert made.name in str(target)


@given(st.text(st.sampled_from("onxruteagsh:/=,@-.1 ") | st.characters(), max_size=30))
def test_any_text_is_a_target_or_a_users_error(text: str) -> None:
    with suppress(NasError):
        target = Target.parse(text)
        assert Target.parse(str(target)) == target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("onnxruntime", Target()),
        ("onnxruntime:threads=1,batch=1,precision=fp32", Target()),
        ("openvino: batch = 8 , threads = 2", Target(runtime="openvino", threads=2, batch=8)),
        ("ssh:pi/openvino:threads=4", Target(runtime="openvino", threads=4, host="pi")),
        ("ssh:pi/onnxruntime:python=/my venv;x=1/python", Target(host="pi", python="/my venv;x=1/python")),
        ("ssh:pi/onnxruntime:python= ~/v/bin/python ,batch=2", Target(host="pi", python="~/v/bin/python", batch=2)),
        ("ssh:me@10.0.0.7:2222/onnxruntime", Target(host="me@10.0.0.7:2222")),
    ],
)
def test_read_by_hand(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no runtime called ''"),
        ("onxruntime", "target 'onxruntime': no runtime called 'onxruntime'. Did you mean 'onnxruntime'"),
        ("onnxruntime:thread=1", "no setting called 'thread'. Did you mean 'threads'"),
        ("onnxruntime:host=pi", "no setting called 'host'"),
        ("onnxruntime:threads=two", "threads must be a whole number, got 'two'"),
        ("onnxruntime:batch=1.5", "batch must be a whole number, got '1.5'"),
        ("onnxruntime:batch=-1", "batch must be a whole number, got '-1'"),
        ("onnxruntime:batch=" + 5000 * "1", "batch must be a whole number"),
        ("onnxruntime:threads=0", "onnxruntime: threads must be at least 1, got 0"),
        ("onnxruntime:batch=0", "batch must be at least 1, got 0"),
        ("onnxruntime:precision=int7", "precision must be fp32, got 'int7'"),
        ("onnxruntime:threads=1,threads=2", "threads is said twice"),
        ("onnxruntime:", "'' is no setting; write e.g. threads=1"),
        ("onnxruntime:threads", "'threads' is no setting"),
        ("onnxruntime:threads=1,", "'' is no setting"),
        ("cuda:threads=2", "threads are those of the CPU"),
        ("ssh:pi", "names no runtime of a machine; write e.g. ssh:user@host/onnxruntime"),
        ("ssh:/onnxruntime", "names no runtime of a machine"),
        ("ssh:-oProxyCommand=x/onnxruntime", "host '-oProxyCommand=x' is no name that ssh knows"),
        ("ssh:a b/onnxruntime", "host 'a b'"),
        ("ssh:pi/onnxruntime:threads=0", "threads must be at least 1"),
        ("ssh:pi/eager", "eager runs torch modules, which stay on this machine; on another use onnxruntime or"),
        ("ssh:pi/onnxruntime:python=-c", "python must be a name or a path such as ~/venv/bin/python, got '-c'"),
        ("ssh:pi/onnxruntime:python=a\nb", "python must be a name or a path"),
        ("ssh:pi/onnxruntime:python=", "'python=' is no setting"),
        ("onnxruntime:python=/usr/bin/python3", "python is a setting of another machine"),
    ],
)
def test_what_is_odd_is_told(text: str, words: str) -> None:
    with pytest.raises(NasError) as error:
        Target.parse(text)
    assert words in str(error.value)
    assert repr(text) in str(error.value)


def test_made_by_hand_it_is_checked_too() -> None:
    with pytest.raises(NasError, match="Did you mean 'eager'"):
        Target(runtime="eagre")
    with pytest.raises(NasError, match="threads must be at least 1, got 0"):
        Target(threads=0)
    with pytest.raises(NasError, match="host"):
        Target(host="-v")
    for python in ("", " python3", "-c", "python3\t", "a,b"):
        with pytest.raises(NasError, match="python must be"):
            Target(host="pi", python=python)


def test_the_default_is_what_it_always_was() -> None:
    assert Target().make() == OnnxRuntime()
    assert str(Target()) == OnnxRuntime().name == "onnxruntime"


def test_travels() -> None:
    target = Target(threads=2, host="pi")
    assert pickle.loads(pickle.dumps(target)) == target
    assert len({target, Target(threads=2, host="pi")}) == 1
