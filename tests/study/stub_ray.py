"""What the processes in test_executor_ray.py run: as in stub_work.py, but they say on which node of the cluster."""

import os
import threading
from pathlib import Path

import ray
from stub_work import prepare

from nas.study.jobs import Outcome


def prepare_somewhere(slot):
    """Answer with the node as the reason."""
    runner = prepare(slot)

    def run(job, tell):
        found = runner(job, tell)
        facts = {**found.scores, "gpus": len(os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) if gpus() else 0}
        return Outcome(number=job.number, rung=job.rung, ended="rung", reason=node(), scores=facts, state=found.state)

    return run


def prepare_from(folder: Path, slots: int, slot: int):
    """Answer with what is in a folder as the state, where it is as the reason, and how many train there."""

    def run(job, tell):
        content = b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
        facts = {"slots": slots}
        return Outcome(number=job.number, rung=job.rung, ended="rung", reason=str(folder), scores=facts, state=content)

    return run


def prepare_unsendable(slot):
    """Answer with what no other process can have."""
    lock = threading.Lock()
    return lambda job, tell: Outcome(number=job.number, rung=job.rung, ended="rung", scores={"lock": lock})


def node() -> str:
    return ray.get_runtime_context().get_node_id()


def gpus() -> bool:
    return bool(ray.get_gpu_ids())
