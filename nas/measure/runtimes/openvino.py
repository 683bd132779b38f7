"""OpenVINO on the CPU."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from nas.errors import NasError
from nas.measure.runtimes.base import RUNTIMES, OnnxTaker, Opened, not_installed, place


@RUNTIMES.add("openvino")
class OpenVino(OnnxTaker):
    """One stream, compiled for the one shape it runs at; input set once.

    The fixed shape is worth up to a third of the time of small nets. A run is called from the thread that waits for
    it: a request that is started and waited for takes 0.01 to 0.09 ms more.
    """

    called, ships = "openvino", ".xml"

    @classmethod
    def unavailable(cls) -> str:
        return not_installed("openvino", "OpenVINO")

    def load(self, model: Path | bytes, inputs: np.ndarray) -> Opened:
        import openvino
        from openvino.frontend import FrontEndManager

        # One reader alone: `read_model` tries all formats, and each complains on stderr.
        reader = FrontEndManager().load_by_framework("ir" if self.is_shipped(model) else "onnx")
        try:
            network = reader.convert(reader.load(BytesIO(model) if isinstance(model, bytes) else str(model)))
        except Exception as error:  # it has several, without a common name
            raise NasError(
                f"{place(model)}: OpenVINO cannot load it: {str(error).strip()}\n  write it again with 'nas export'"
            ) from error
        network.reshape({network.inputs[0]: list(inputs.shape)})
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the processor has it
        }
        request = openvino.compile_model(network, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(inputs))  # a copy: memory that is shared is not kept alive
        execute = request.infer

        def run() -> None:
            execute()

        def output() -> np.ndarray:
            run()
            return np.array(request.get_output_tensor(0).data)

        return Opened(run, output)
