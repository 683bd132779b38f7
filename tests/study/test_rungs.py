"""Which rungs 'auto' stands for."""

import pytest

from nas.errors import SpaceError
from nas.space.yaml import parse
from nas.study.config import StudyConfig
from nas.study.rungs import settled
from nas.training.fidelity import FULL

TEXT = "input: image\nbody: {{conv: {{width: [4, 8]}}}}\nhead: {{pool: {{}}}}\ntraining: {{{}}}\n"


def config(training: str = "epochs: 9", **options) -> StudyConfig:
    return StudyConfig(space=parse(TEXT.format(training)), **options)


@pytest.mark.parametrize(
    ("given", "n_train", "shares"),
    [
        (config(), 60_000, ("1/27", "1/9", "1/3")),
        (config(), 1_000, ("1/3",)),
        (config(), 100, ("none",)),
        (config(subset=0.01), 60_000, ("1/3",)),
        (config(epochs=1), 5_000, ("1/3",)),
        (config("epochs: [1, 9]"), 5_000, ("1/3",)),
        (config("epochs: {int: [3, 9]}"), 5_000, ("1/9", "1/3")),
        (config("batch_size: 32"), 5_000, ("1/27", "1/9", "1/3")),
        (config(rungs="none"), 60_000, ("none",)),
        (config(rungs=("0.1", "0.5,resolution=0.5")), 10, ("0.1", "0.5,resolution=0.5")),
    ],
)
def test_auto_leaves_out_what_is_not_worth_judging_at(given, n_train, shares):
    found = settled(given, n_train)
    assert found.rungs == shares
    assert found.parsed_rungs()[-1:] == FULL
    assert len(found.parsed_rungs()) == (1 if shares == ("none",) else len(shares) + 1)
    assert settled(found, 10**9) == found, "once is enough"


@pytest.mark.parametrize("rungs", [("0.5", "0.1"), ("2",), ("a third",)])
def test_rungs_that_cannot_be_are_told(rungs):
    with pytest.raises(SpaceError, match="rung"):
        settled(config(rungs=rungs), 1000)
