"""A trial's network with the weights that ship."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nas.build import Network, build
from nas.errors import RunError
from nas.records import TrialRecord
from nas.study.config import StudyConfig
from nas.study.folder import RunFolder

if TYPE_CHECKING:
    from nas.data import Task


def load_network(config: StudyConfig, record: TrialRecord, task: Task, folder: RunFolder) -> tuple[str, Network]:
    """Return where the weights of a trial come from (`retrained` or `searched`), and its network with them.

    Raises:
        RunError: there are none, or they are not of this network.
    """
    import torch

    retrained = folder.retrained_trial(record.number) / "seed-0.pt"
    source, path = ("retrained", retrained) if retrained.exists() else ("searched", folder.checkpoint(record.number))
    if not path.exists():
        raise RunError(
            f"{folder.path}: there are no weights of trial {record.number} (the search keeps those of the front); "
            f"train it first: nas retrain {folder.path} --pick trial:{record.number}"
        )
    network = build(config.space, record.arch, task.in_shape, task.n_outputs)
    try:
        network.load_state_dict(torch.load(path, weights_only=True))
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, EOFError, ...
        raise RunError(f"{path}: not the weights of trial {record.number}: {str(error).splitlines()[0]}") from None
    return source, network.eval()
