"""What every format must do with every block: a file that its runtime loads and that computes the same, or a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_blocks import CONFIGS, PARTS

from nas.errors import NasError
from nas.export import FORMATS
from nas.export.parity import BATCH_SIZES, compare, torch_outputs
from nas.export.quantize import PRECISIONS
from nas.measure.runtimes import RUNTIMES
from nas.testing.blocks import SHAPES, BlockCase, block_cases, draw

METADATA = {"batch": None}

REFUSED: dict[tuple[str, str], str] = {}
"""Format and block: the reason, as the error gives it."""

QUICK = ("onnx", "openvino")
"""The others take a second or more for a network."""

SAMPLED = [("conv", 0), ("lstm", 1), ("transformer", 1), ("dense", 1)]
"""Blocks and configs that stand for all in a quick run: ONNX files of each are in the contract of blocks."""


def quick(format: str, name: str, i: int) -> bool:
    return (name, i) in SAMPLED and format != "executorch"


CASES = [
    pytest.param(format, case, id=f"{format}-{name}-{i}", marks=[] if quick(format, name, i) else [pytest.mark.slow])
    for format in FORMATS
    for name in PARTS
    for i, case in enumerate(block_cases(name, [SHAPES[PARTS[name].takes][1]], CONFIGS[name]))  # sizes that are odd
]


@pytest.mark.parametrize(("format", "case"), CASES)
def test_a_block_in_a_file_computes_what_torch_computes(
    format: str, case: BlockCase, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    form, name, in_shape = FORMATS[format], case.name, case.in_shape
    if reason := form.unavailable():
        pytest.skip(reason)
    module, path, x = case.settled(), tmp_path / f"net{form.suffix}", case.draw(9)
    if (format, name) in REFUSED:
        with pytest.raises(NasError, match=REFUSED[format, name]):
            form.write(module, in_shape, path, METADATA, batch=2)
        return
    fixed = form.write(module, in_shape, path, METADATA, batch=2)
    assert fixed == (None if form.any_batch else 2)
    form.finish(path, {**METADATA, "batch": fixed})
    sizes = (*BATCH_SIZES, 2) if fixed is None else (fixed,)
    compare(form.load(path), torch_outputs(module, x), x.numpy(), str(path), sizes)
    assert all(part.exists() for part in form.parts(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("format", [pytest.param(f, marks=[] if f in QUICK else pytest.mark.slow) for f in FORMATS])
def test_weights_may_lie_as_training_leaves_them(format: str, tmp_path: Path) -> None:
    """With the channels last: once ExecuTorch refused all convolutions that had just been trained."""
    form, in_shape = FORMATS[format], (4, 8, 8)
    if reason := form.unavailable():
        pytest.skip(reason)
    module, path, x = BlockCase("conv", in_shape).settled(), tmp_path / f"net{form.suffix}", draw(4, in_shape)
    module.to(memory_format=torch.channels_last)
    form.write(module, in_shape, path, METADATA, batch=2)
    form.finish(path, METADATA)
    compare(form.load(path), torch_outputs(module, x), x.numpy(), str(path), batch_sizes=(2,))
    assert module.layers[0].weight.is_contiguous(memory_format=torch.channels_last), "left as it was"


@pytest.mark.parametrize("format", [pytest.param(f, marks=[] if f in QUICK else pytest.mark.slow) for f in FORMATS])
def test_its_runtime_measures_the_file_itself(format: str, tmp_path: Path) -> None:
    form = FORMATS[format]
    runtime = RUNTIMES[form.runtime]
    assert form.suffix == (runtime.ships or ".onnx")
    if reason := form.unavailable() or runtime.unavailable():
        pytest.skip(reason)
    in_shape = (4, 8, 8)
    module, path, x = BlockCase("conv", in_shape).settled(), tmp_path / f"net{form.suffix}", draw(2, in_shape)
    form.write(module, in_shape, path, METADATA, batch=2)
    threads = torch.get_num_threads()
    found = runtime().outputs(path, x.numpy())
    torch.set_num_threads(threads)
    compare(lambda inputs: found, torch_outputs(module, x), x.numpy(), str(path), batch_sizes=(2,))


@pytest.mark.parametrize("format", FORMATS)
def test_says_what_it_is(format: str) -> None:
    form = FORMATS[format]
    assert form.called == format
    assert form.suffix.startswith(".")
    assert form.precisions[0] == "fp32"
    assert "\n" not in form.unavailable()
    for precision in PRECISIONS:
        reason = form.refuses(precision)
        assert bool(reason) == (precision not in form.precisions)
        assert not reason or ("--format onnx" in reason and precision in reason)


@pytest.mark.parametrize(
    "format", [pytest.param(f, marks=pytest.mark.slow) if f == "executorch" else f for f in FORMATS]
)
def test_what_is_no_file_of_its_format_is_named(format: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    form = FORMATS[format]
    if reason := form.unavailable():
        pytest.skip(reason)
    path = tmp_path / f"net{form.suffix}"
    path.write_bytes(b"no network")
    with pytest.raises(NasError, match=rf"net\{form.suffix}.*cannot load it"):
        form.load(path)
    assert capfd.readouterr() == ("", "")
