"""A training that was set aside comes to the very same as one that never was."""

import io

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from nas.errors import RunError
from nas.training import OPTIMIZERS, SCHEDULES, Rung, TrainConfig, TrainState, fit, plan, rungs, torch_seeded
from nas.training.checkpoint import _digest
from nas.training.config import Crop, Jitter, NoAugment, Standard


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


N, N_VAL = 61, 20
with torch_seeded(5):
    X, Y = torch.randn(N + N_VAL, 2, 6, 6), torch.arange(N + N_VAL) % 3
DATA, VAL = (X[:N], Y[:N]), (X[N:], Y[N:])


def conv():
    with torch_seeded(0):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Conv2d(4, 6, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 3),
        )


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        with torch_seeded(0):
            self.lstm, self.head = nn.LSTM(12, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.lstm(x.flatten(2).transpose(1, 2).reshape(len(x), 6, 12))[0].mean(1))


def all_of(state):
    """Everything in a state but its seconds, as a list in a fixed order."""
    optimizer = [
        (key, name, value.tolist() if isinstance(value, torch.Tensor) else value)
        for key, of_parameter in sorted(state.optimizer["state"].items())
        for name, value in sorted(of_parameter.items())
    ]
    weights = [(k, v.tolist()) for d in (state.module, state.average) for k, v in d.items()]
    return state.step, state.stretches, state.n, weights, optimizer, state.optimizer["param_groups"], seen(state.curve)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def seen(curve):
    return [(log.epochs, log.train_loss, log.scores) for log in curve]


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    make=st.sampled_from([conv, Recurrent]),
    config=st.builds(
        lambda optimizer, schedule, **fields: TrainConfig(
            optimizer=OPTIMIZERS[optimizer](), schedule=SCHEDULES[schedule](), **fields
        ),
        optimizer=st.sampled_from(sorted(OPTIMIZERS)),
        schedule=st.sampled_from(sorted(SCHEDULES)),
        augment=st.sampled_from([NoAugment(), Crop(pad=1, flip=True), Jitter(), Standard(pad=1, cutout=2)]),
        batch_size=st.sampled_from([7, 12, 30]),
        epochs=st.integers(1, 3),
        average=st.sampled_from([0.0, 0.1, 0.5]),
        mixup=st.sampled_from([0.0, 0.4]),
        subset=st.sampled_from([1.0, 0.8]),
        rungs=st.sampled_from(
            [
                rungs("auto"),
                rungs("none"),
                rungs(["0.2,subset=0.4,resolution=0.5", "0.5,subset=0.4", "0.7"]),
                rungs(["0.3,resolution=0.5"]),
            ]
        ),
    ),
    seed=st.integers(0, 3),
)
def test_stopping_at_every_rung_and_going_on_changes_nothing(make, config, seed):
    whole = make()
    expected = fit(whole, *DATA, config, seed=seed, evaluate_on=VAL)
    state = None
    for rung in range(len(config.rungs)):
        net = make() if rung % 2 else make().to(memory_format=torch.channels_last)
        with torch.no_grad():
            for p in net.parameters() if state is not None else ():
                p.zero_()  # all that matters is in the state
        before = None if state is None else state.to_bytes()
        torch.rand(3)
        result = fit(net, *DATA, config, seed=seed, evaluate_on=VAL, until=rung, state=state)
        assert before is None or state.to_bytes() == before  # going on leaves it as it is
        assert result.ended == "rung"
        assert seen(result.curve) == seen(expected.curve)[: len(result.curve)]
        if result.state is None:
            break
        state = TrainState.from_bytes(result.state.to_bytes())
        assert all_of(state) == all_of(result.state)
    assert seen(result.curve) == seen(expected.curve)
    assert result.epochs == expected.epochs == config.epochs
    assert same(net, whole)


@pytest.mark.parametrize("average", [0.0, 0.1])
def test_stopping_at_every_stretch_and_going_on_changes_nothing(monkeypatch, average):
    """The deadline comes before the last batch of each stretch in turn."""
    config = TrainConfig(epochs=2, batch_size=12, rungs=rungs(["0.3,resolution=0.5", "0.6"]), average=average)
    whole = conv()
    expected = fit(whole, *DATA, config, seed=1, evaluate_on=VAL)
    stretches = plan(N, 12, 2, config.rungs)
    assert len(stretches) == 4
    for stretch in stretches[1:]:
        calls = 0

        def passed(self, after=stretch.first_step + stretch.n_steps - 1):
            nonlocal calls
            calls += 1
            return calls > after

        with monkeypatch.context() as patch:
            patch.setattr("nas.training.clock.Clock.deadline_passed", passed)
            result = fit(conv(), *DATA, config, seed=1, evaluate_on=VAL, deadline=1e12)
        assert (result.ended, result.state.step) == ("time", stretch.first_step)
        net = conv()
        state = TrainState.from_bytes(result.state.to_bytes())
        assert seen(fit(net, *DATA, config, seed=1, evaluate_on=VAL, state=state).curve) == seen(expected.curve)
        assert all(
            torch.equal(a, b) for a, b in zip(net.state_dict().values(), whole.state_dict().values(), strict=True)
        )


def test_the_seconds_add_up():
    config = TrainConfig(epochs=4, batch_size=12, rungs=rungs(["0.5"]))
    first = fit(conv(), *DATA, config, seed=0, until=0)
    second = fit(conv(), *DATA, config, seed=0, state=first.state)
    assert second.curve[:2] == first.curve
    assert first.train_seconds == first.state.train_seconds == first.curve[-1].train_seconds
    assert second.train_seconds == second.curve[-1].train_seconds > second.curve[2].train_seconds > first.train_seconds


def test_rungs_that_coincide_go_on_from_each_other():
    config = TrainConfig(epochs=1, batch_size=30, average=0.3, rungs=tuple(map(Rung, (0.1, 0.11, 1.0))))  # two batches
    net, other = conv(), conv()
    first = fit(net, *DATA, config, seed=0, until=0, evaluate_on=VAL)
    second = fit(other, *DATA, config, seed=0, until=1, evaluate_on=VAL, state=first.state)
    assert second.ended == "rung"
    assert second.state is first.state
    assert second.curve == first.curve
    assert same(net, other)
    assert fit(other, *DATA, config, seed=0, state=second.state).state is None


@pytest.fixture(scope="module")
def kept():
    return fit(conv(), *DATA, TrainConfig(epochs=2, batch_size=12, rungs=rungs(["0.5"])), seed=0, until=0).state


def test_a_damaged_checkpoint_says_so(kept):
    data = kept.to_bytes()
    for damaged in (b"", data[:10], data[:-1], data[: len(data) // 2], data + b"x", data[16:]):
        with pytest.raises(RunError, match=r"^a checkpoint of \d+ bytes is damaged; train the trial from its start$"):
            TrainState.from_bytes(damaged)
    for place in range(0, len(data), 997):
        flipped = bytearray(data)
        flipped[place] ^= 1
        with pytest.raises(RunError, match="damaged"):
            TrainState.from_bytes(bytes(flipped))


def test_a_checkpoint_runs_no_code():
    buffer = io.BytesIO()
    torch.save({"curve": [], "module": print}, buffer)
    with pytest.raises(RunError, match=r"^a checkpoint cannot be read: .*; train the trial from its start$"):
        TrainState.from_bytes(_digest(buffer.getvalue()) + buffer.getvalue())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": (X, Y)}, r"^a checkpoint is of a training on 61 samples, and there are 81; go on with the data"),
        ({"subset": 0.9}, r"is of a training on 61 samples, and there are 55"),
        ({"batch_size": 13}, r"^a checkpoint is of a training with batch_size 12, not 13; go on as it began, or train"),
        ({"epochs": 4}, r"with epochs 2, not 4"),
        ({"rungs": rungs(["0.5", "0.7"])}, r"with rungs \['0\.5', '1'\], not \['0\.5', '0\.7', '1'\]"),
        ({"seed": 1}, r"with seed 0, not 1"),
        ({"net": nn.Sequential(nn.Flatten(), nn.Linear(72, 3))}, r"^a checkpoint does not fit the network: .*; train"),
    ],
    ids=["data", "subset", "batch size", "epochs", "rungs", "seed", "network"],
)
def test_a_checkpoint_of_another_training_is_refused(kept, change, words):
    rest = {"epochs": 2, "batch_size": 12, "rungs": rungs(["0.5"]), "data": DATA, "net": conv(), "seed": 0} | change
    data, net, seed = rest.pop("data"), rest.pop("net"), rest.pop("seed")
    with pytest.raises(RunError, match=words):
        fit(net, *data, TrainConfig(**rest), seed=seed, state=kept)
