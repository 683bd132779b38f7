"""A file in its runtime, and what it says of itself."""

from __future__ import annotations

import json
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
    some = ("resolution", "length", "data_shape", "data_layout", "targets", "y_mean", "y_std", "recipe")
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
