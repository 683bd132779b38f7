"""What it takes to use a file without this package: these functions are copied into the example beside a file.

They know numpy and a runtime alone, and say what is wrong as a script does. `nas.export.example` puts them together;
`open_*` also load what is written here, before it gets its name, so that what was checked is what the example does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def open_onnx(path: Path) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """Return the metadata of an ONNX file, and what runs it in ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    always = ("in_shape", "classes", "scale", "mean", "std", "batch")
    some = ("resolution", "length", "targets", "y_mean", "y_std", "recipe")
    metadata = {key: json.loads(said[key]) for key in (*always, *some) if key in said}
    return metadata, lambda x: session.run(["logits"], {"input": x})[0]


def open_openvino(path: Path) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """Return the metadata of an OpenVINO file, and what runs it in float32."""
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # else bfloat16 where the processor has it
    network = openvino.Core().compile_model(str(path), "CPU", exact)
    metadata = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    return metadata, lambda x: network(x)[0]


def open_pt2(path: Path) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """Return the metadata of a torch.export file, and what runs it in torch.

    Loading such a file runs code that is in it: only load those you trust.
    """
    import torch

    module = torch.export.load(path).module()
    metadata = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))

    def run(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(x)).numpy()

    return metadata, run


def open_executorch(path: Path) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """Return the metadata of an ExecuTorch file, and what runs it."""
    import torch
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    method = program.load_method("forward")
    metadata = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))

    def run(x: np.ndarray, _kept: object = program) -> np.ndarray:  # a method does not keep its program
        return method.execute((torch.from_numpy(x),))[0].numpy()

    return metadata, run


def read_samples(path: Path, metadata: dict[str, Any]) -> np.ndarray:
    """Return the samples of a file in the units of the training data: (n, *in_shape).

    An image file is one sample. A .npy file holds one or many, in the layout that the network takes or in one that data
    come in, see `arranged`; of a table or of texts, the numbers that the recipe in the metadata makes of them.
    """
    shape = tuple(metadata["in_shape"])
    if not path.is_file() and not metadata.get("recipe"):
        sys.exit(f"{path}: there is no such file")
    if path.suffix == ".npy":
        x = arranged(np.load(path), shape, metadata.get("length"))  # never a pickle
    elif metadata.get("recipe"):
        what = {"text": "texts", "table": "rows of a table"}.get(metadata["recipe"]["kind"], "the data")
        sys.exit(
            f"{path}: the network takes numbers as .npy: {shape[0]} a sample, which the recipe in its metadata makes "
            f"of {what}; docs/data-tables-and-text.md has the lines that do so"
        )
    else:
        x = read_image(path, metadata)[None]
    if x.shape[1:] != shape or x.dtype.kind not in "fiub":
        wanted = ", ".join(map(str, shape))
        sys.exit(f"{path}: the network takes numbers of shape (n, {wanted}), not {x.dtype} of {x.shape}")
    return x


def sample_files(metadata: dict[str, Any]) -> str:
    """Return what samples may be given as: images where it takes any, else arrays alone."""
    images = len(metadata["in_shape"]) == 3 and metadata["in_shape"][0] in (1, 3, 4) and metadata["scale"] != 1
    return "IMAGE_OR_SAMPLES.npy" if images else "SAMPLES.npy"


def arranged(x: np.ndarray, shape: tuple[int, ...], length: int | None) -> np.ndarray:
    """Return one sample or many as (n, *shape), where that can be.

    Images may have their channels last, or none; sequences their channels first, and, where `length` is set, another
    length: they are cut at the end or padded there with zeros, as the training data were.
    """
    if len(shape) == 3 and shape[0] == 1 and x.shape[-2:] == shape[1:] and x.shape[-3:] != shape:
        x = x[..., None, :, :]
    elif len(shape) == 3 and x.shape[-3:] == (*shape[1:], shape[0]) != shape:
        x = np.moveaxis(x, -1, -3)
    elif len(shape) == 2 and x.ndim == 4:  # images whose rows are the steps
        x = x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)
    elif len(shape) == 2 and shape[1] == 1 and x.shape[-1:] == shape[:1]:
        x = x[..., None]
    elif len(shape) == 2 and x.ndim > 1 and x.shape[-2] == shape[1] and x.shape[-2:] != shape:
        x = np.swapaxes(x, -1, -2)
    elif len(shape) == 1 and x.ndim > 1:
        x = x.reshape(1 if x.size == shape[0] else len(x), -1)
    if x.ndim == len(shape):
        x = x[None]
    if length and x.ndim == 3 and x.shape[1] != length:
        x = x[:, :length]
        x = np.pad(x, ((0, 0), (0, length - x.shape[1]), (0, 0)))
    return x


def read_image(path: Path, metadata: dict[str, Any]) -> np.ndarray:
    """Return an image file as uint8 (C, H, W), prepared as the training images were."""
    from PIL import Image, ImageOps

    shape, side = tuple(metadata["in_shape"]), metadata.get("resolution")
    if len(shape) != 3 or shape[0] not in (1, 3, 4):
        sys.exit(f"{path}: the network takes samples of shape {shape}, which no image file has; give them as .npy")
    if metadata["scale"] == 1:
        sys.exit(f"{path}: the network learned from other numbers than 0 to 255; give those as .npy")
    with Image.open(path) as opened:
        if side:
            opened.draft(None, (2 * side, 2 * side))  # a large JPEG is decoded at a part of its size
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[shape[0]])
    if side and image.size != (side, side):  # the shorter side to `side` pixels, then the centre
        width, height = (int(side * size / min(image.size)) for size in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = round((width - side) / 2), round((height - side) / 2)
        image = image.crop((left, top, left + side, top + side))
    if image.size != (shape[2], shape[1]):
        print(f"{path}: resized from {image.size} to {(shape[2], shape[1])} pixels", file=sys.stderr)
        image = image.resize((shape[2], shape[1]), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(shape[1], shape[2], shape[0]).transpose(2, 0, 1)


def standardised(x: np.ndarray, metadata: dict[str, Any]) -> np.ndarray:
    """Return what the network takes: float32, (x * scale - mean) / std per channel."""
    per_channel = (-1, 1, 1) if x.ndim == 4 else (-1,)
    mean, std = (np.reshape(metadata[key], per_channel) for key in ("mean", "std"))
    return ((x.astype(np.float64) * metadata["scale"] - mean) / std).astype(np.float32)


def outputs(x: np.ndarray, run: Callable[[np.ndarray], np.ndarray], batch: int | None) -> np.ndarray:
    """Return what the network gives, (n, n_outputs); `batch`: how many samples a run takes, None for any."""
    size = batch or 256
    found = []
    for i in range(0, len(x), size):
        part = x[i : i + size]
        missing = size - len(part) if batch else 0
        found.append(run(np.concatenate([part, *[part[-1:]] * missing]))[: len(part)])
    return np.concatenate(found)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probability of each class, (n, n_classes)."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def main(file: str, open_network: Callable[[Path], tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]]) -> None:
    """Print class and probability, or what is predicted, of each sample of the file that the command line names."""
    metadata, run = open_network(Path(__file__).resolve().parent / file)
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {Path(sys.argv[0]).name} {sample_files(metadata)}")
    x = standardised(read_samples(Path(sys.argv[1]), metadata), metadata)
    found = outputs(x, run, metadata["batch"])
    if metadata.get("targets"):
        for row in found * metadata["y_std"] + metadata["y_mean"]:
            print("\t".join(f"{value:.6g}" for value in row))
        return
    for row in probabilities(found):
        name = metadata["classes"][row.argmax()]
        print(f"{name if name.isprintable() else ascii(name)}\t{row.max():.4f}")
