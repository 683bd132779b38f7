"""What runs a network in production, one file each: `RUNTIMES` by name."""

from nas.measure.runtimes.base import RUNTIMES as RUNTIMES
from nas.measure.runtimes.base import Runtime as Runtime
from nas.measure.runtimes.compiled import Compiled as Compiled  # registers "compiled"
from nas.measure.runtimes.cuda import Cuda as Cuda  # registers "cuda" and "cudagraphs"
from nas.measure.runtimes.eager import Eager as Eager
from nas.measure.runtimes.executorch import ExecuTorch as ExecuTorch
from nas.measure.runtimes.network import write_network as write_network
from nas.measure.runtimes.onnxruntime import OnnxRuntime as OnnxRuntime
from nas.measure.runtimes.openvino import OpenVino as OpenVino
