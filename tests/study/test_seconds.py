"""What is said of trainings before they were seen."""

import pytest

from nas.catalog import find_space
from nas.records import TrialRecord
from nas.rng import generator
from nas.study.config import StudyConfig
from nas.study.seconds import TrainingTimes


@pytest.mark.parametrize(("device", "sure_from"), [("cpu", 0), ("cuda", 20)])
def test_on_a_gpu_nothing_is_sure_before_some_trainings(device, sure_from):
    space = find_space("digits")
    config = StudyConfig(space=space, data="digits", device=device)
    times = TrainingTimes(config, (1, 8, 8), 10, 1000, 100)
    archs = [space.sample(generator(0, i)) for i in range(25)]
    sure = []
    for number, arch in enumerate(archs):
        assert times.full(archs[-1]).expected > 0
        sure.append(times.full(archs[-1]).least > 0)
        times.learn(TrialRecord(number, arch, "complete", epochs=1.0, epoch_seconds=0.5))
    assert all(sure[sure_from + 2 :])  # a tenth of news is waited for
    assert sum(sure) >= len(archs) - sure_from - 2
    assert not any(sure[:sure_from])
