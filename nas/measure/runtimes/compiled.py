"""torch.compile on the CPU: what inductor writes in C++."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from nas.measure.runtimes.base import RUNTIMES, Opened
from nas.measure.runtimes.eager import called_on
from nas.measure.runtimes.network import NetworkTaker

if TYPE_CHECKING:
    from torch import Tensor, nn

_COMPILERS = {"darwin": "clang++", "win32": "cl"}
"""Those inductor calls for where CXX names no other; elsewhere g++."""

_NO_LIMIT = 10**6


@RUNTIMES.add("compiled")
class Compiled(NetworkTaker):
    """`torch.compile` for the one shape it runs at, in its default mode.

    Compiling takes 1 to 30 s, a quarter of a second to 1 s for a network that was compiled before. LSTM, GRU and RNN
    stay as they are, and the parts between them are compiled one by one: such networks gain nothing.
    """

    called = "compiled"

    @classmethod
    def unavailable(cls) -> str:
        compiler = os.environ.get("CXX") or _COMPILERS.get(sys.platform, "g++")
        if shutil.which(compiler) is None:
            return f"compiled: torch.compile needs a C++ compiler, and there is no {compiler}; install one, or set CXX"
        headers = Path(sysconfig.get_path("include"))
        if not (headers / "Python.h").exists():
            return f"compiled: torch.compile needs Python.h, which is not in {headers}; install Python's headers"
        return ""

    def load_module(self, module: nn.Module, inputs: Tensor) -> Opened:
        import torch
        from torch._dynamo import config

        opened = called_on(torch.compile(module, dynamic=False), inputs)
        # All our networks share one `forward`, and after 8 compiled versions of a function torch quietly runs it as
        # it is written: the twelfth network of a search read as eager, and slower by what checks its versions.
        with config.patch(recompile_limit=_NO_LIMIT, accumulated_recompile_limit=_NO_LIMIT):
            opened.run()
        return opened
