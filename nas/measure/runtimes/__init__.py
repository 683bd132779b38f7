"""What runs a network in production, one file each: `RUNTIMES` by name."""

from nas.measure.runtimes.base import RUNTIMES as RUNTIMES
from nas.measure.runtimes.base import Runtime as Runtime
from nas.measure.runtimes.onnxruntime import OnnxRuntime as OnnxRuntime  # registers "onnxruntime"
