"""Time ONNX files alone: one net at a time in a tight loop, in a process with numpy and ONNX Runtime and nothing else.

    python scripts/latency_alone.py '[{"path": "net.onnx", "in_shape": [1, 28, 28], "seconds": 1.0, "runs": 20000}]'

The witness of `bench_latency.py`: it shares no line with the protocol that it is to be compared with. Prints a JSON
list of lists, the ns of each run after ten warm-ups; there are `runs` of them, or as many as `seconds` have room for.
"""

import gc
import json
import sys
import time

import numpy as np
import onnxruntime


def times_ns(path: str, in_shape: list[int], seconds: float, runs: int) -> list[int]:
    """Return the ns of each run on one sample."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    sample = np.random.default_rng(0).standard_normal((1, *in_shape)).astype(np.float32)
    binding.bind_cpu_input(session.get_inputs()[0].name, sample)
    binding.bind_output(session.get_outputs()[0].name)
    for _ in range(10):
        session.run_with_iobinding(binding)
    found: list[int] = []
    gc.disable()
    end = time.perf_counter_ns() + int(seconds * 1e9)
    while len(found) < runs and time.perf_counter_ns() < end:
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        found.append(time.perf_counter_ns() - start)
    gc.enable()
    return found


if __name__ == "__main__":
    print(json.dumps([times_ns(**job) for job in json.loads(sys.argv[1])]))
