"""Training on real data: it learns, it repeats itself, and it says why it stopped."""

import dataclasses
import itertools
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nas.data import load_task
from nas.errors import SpaceError, TrialFailed
from nas.training import OPTIMIZERS, SCHEDULES, TrainConfig, evaluate, fit, rungs, torch_seeded
from nas.training.config import AdamW, Crop, Jitter, NoAugment, Sgd, TimeShift

REAL = Path(os.environ.get("NAS_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_task("digits")


def cnn(seed=0, dropout=0.0):
    def block(i, o, stride):
        return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    with torch_seeded(seed):
        return nn.Sequential(
            block(1, 16, 1),
            block(16, 32, 2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(128, 10),
        )


def mlp():
    with torch_seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


class Recurrent(nn.Module):
    def __init__(self, channels, n_outputs):
        super().__init__()
        self.lstm = nn.LSTM(channels, 32, batch_first=True)
        self.head = nn.Linear(32, n_outputs)

    def forward(self, x):
        return self.head(self.lstm(x)[0].mean(1))


def outcome(result):
    return [(log.epochs, log.train_loss, log.scores) for log in result.curve]


def test_a_small_cnn_learns_the_digits(digits):
    net, logs = cnn(), []
    config = TrainConfig(epochs=15, batch_size=32, optimizer=AdamW(lr=1e-2), augment=Crop(pad=1))
    val = (digits.x_val, digits.y_val)
    result = fit(net, digits.x_train, digits.y_train, config, seed=0, evaluate_on=val, on_epoch=logs.append)
    assert result.curve == tuple(logs)
    assert [log.epochs for log in logs] == list(range(1, 16))
    assert logs[-1].scores["accuracy"] > 0.95
    assert evaluate(net, *val) == logs[-1].scores
    assert evaluate(net, *digits.test())["accuracy"] > 0.95
    assert result.train_seconds == logs[-1].train_seconds >= logs[0].train_seconds > 0


def test_an_lstm_learns_japanese_vowels():
    path = REAL / "sequences" / "JapaneseVowels.npz"
    if not path.exists():
        pytest.skip(f"no {path.name} in {path.parent.resolve()}; NAS_TEST_DATA names the folder of real data")
    task = load_task(str(path), input="sequence")
    with torch_seeded(0):
        net = Recurrent(task.in_shape[1], task.n_outputs)
    config = TrainConfig(epochs=25, batch_size=32, optimizer=AdamW(lr=1e-2), augment=TimeShift(max=2))
    fit(net, *task.full(), config, seed=0)
    assert evaluate(net, *task.test())["accuracy"] > 0.9


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_with_every_schedule_learns(digits, optimizer, schedule):
    config = TrainConfig.from_tree({"epochs": 8, "batch_size": 64, "optimizer": optimizer, "schedule": schedule})
    curve = fit(mlp(), digits.x_train, digits.y_train, config, seed=0).curve
    assert curve[-1].train_loss < 0.8 * curve[0].train_loss


def test_same_seed_same_curve_bit_for_bit(digits):
    config = TrainConfig(epochs=2, augment=Crop(pad=1, flip=True), label_smoothing=0.1, subset=0.5)

    def run(seed):
        torch.rand(seed + 1)  # the state of the global generator must not matter
        net = cnn(dropout=0.3)
        return outcome(fit(net, digits.x_train, digits.y_train, config, seed=seed, evaluate_on=digits.full())), net

    (one, net), (same, twin), (other, _) = run(1), run(1), run(2)
    assert one == same
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))
    assert one != other


def test_the_global_generator_and_the_data_are_left_as_they_were(digits):
    before = torch.get_rng_state(), digits.x_train.clone()
    fit(cnn(dropout=0.2), digits.x_train, digits.y_train, TrainConfig(epochs=1, augment=Crop()), seed=3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.equal(digits.x_train, before[1])


def test_torch_seeded_restores_after_an_error():
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError), torch_seeded(1):
        torch.rand(3).reshape(2)
    assert torch.equal(torch.get_rng_state(), state)
    with torch_seeded(1):
        one = torch.rand(3)
    with torch_seeded(1):
        assert torch.equal(torch.rand(3), one)


class Count(nn.Module):
    """Notes how many samples of each mode come by, and their marks."""

    def __init__(self):
        super().__init__()
        self.net = mlp()
        self.sizes, self.marks = [], []

    def forward(self, x):
        if self.training:
            self.sizes.append(len(x))
            self.marks += x[:, 0, 0, 0].tolist()
        return self.net(x)


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [
        (100, 32, [32, 32, 32, 4]),
        (97, 32, [32, 32, 32]),
        (20, 128, [20]),
        (1, 8, [1]),
        (3, 1, [1, 1, 1]),
        (9, 4, [4, 4]),
    ],
)
def test_batches(digits, n, batch_size, sizes):
    net = Count()
    fit(net, digits.x_train[:n], digits.y_train[:n], TrainConfig(epochs=1, batch_size=batch_size), seed=0)
    assert net.sizes == sizes


@pytest.mark.parametrize(
    ("augment", "dropout"), [(Jitter(std=1e-3), 0.0), (NoAugment(), 0.5)], ids=["noise", "dropout"]
)
def test_other_randomness_leaves_the_order_of_samples_alone(digits, augment, dropout):
    x = digits.x_train.clone()
    x[:, 0, 0, 0] = torch.arange(len(x))
    orders = []
    for config, rate in ((TrainConfig(epochs=2), 0.0), (TrainConfig(epochs=2, augment=augment), dropout)):
        net = Count()
        net.net = cnn(dropout=rate)
        fit(net, x, digits.y_train, config, seed=0)
        orders.append([round(mark) for mark in net.marks])
    assert orders[0] == orders[1]
    assert orders[0][:1150] != orders[0][1150:]
    assert sorted(orders[0][:1150]) == list(range(1150))


def test_convolutions_are_given_channels_last():
    seen = []
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    net[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    fit(net, torch.randn(8, 3, 6, 5), torch.arange(8) % 2, TrainConfig(epochs=1), seed=0)
    evaluate(net, torch.randn(8, 3, 6, 5), torch.arange(8) % 2)
    assert len(seen) == 2
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (*seen, net[0].weight))


def test_a_subset_is_stratified_and_seeded(digits):
    x = digits.x_train.clone()
    x[:, 0, 0, 0] = torch.arange(len(x))
    chosen = []
    for seed in (0, 0, 1):
        net = Count()
        fit(net, x, digits.y_train, TrainConfig(epochs=1, batch_size=50, subset=0.2), seed=seed)
        chosen.append(sorted(int(mark) for mark in net.marks))
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(set(chosen[0])) == 230
    counts = torch.bincount(digits.y_train[chosen[0]], minlength=10)
    assert (counts - 0.2 * torch.bincount(digits.y_train)).abs().max() < 1


@pytest.mark.parametrize("make", [cnn, mlp])
@pytest.mark.parametrize("optimizer", [Sgd(lr=1e6), AdamW(lr=1e6)], ids=["sgd", "adamw"])
def test_divergence_is_a_failed_trial(digits, make, optimizer):
    config = TrainConfig(epochs=3, optimizer=optimizer)
    with pytest.raises(TrialFailed, match=r"^diverged: loss is \S+ at epoch 1$"):
        fit(make(), digits.x_train, digits.y_train, config, seed=0)


def test_nan_is_a_failed_trial_with_its_epoch(digits):
    class Bursts(Count):
        def forward(self, x):
            return super().forward(x) * (float("nan") if len(self.sizes) > 12 else 1.0)

    with pytest.raises(TrialFailed, match=r"^diverged: loss is nan at epoch 2$"):
        fit(Bursts(), digits.x_train, digits.y_train, TrainConfig(epochs=3), seed=0)  # 9 batches an epoch
    net = mlp()
    net[3].weight.data.fill_(torch.inf)
    with pytest.raises(TrialFailed, match=r"^diverged: loss is nan in evaluation$"):
        evaluate(net, digits.x_val, digits.y_val)


class Slow(Count):
    def forward(self, x):
        time.sleep(0.02)
        return super().forward(x)


def test_limits_of_time(digits):
    config = TrainConfig(epochs=50)
    with pytest.raises(TrialFailed, match=r"^time limit of 0\.1 s reached at epoch 1, batch \d of 9$"):
        fit(Slow(), digits.x_train, digits.y_train, config, seed=0, trial_limit_s=0.1)
    fit(mlp(), digits.x_train, digits.y_train, TrainConfig(epochs=1), seed=0, trial_limit_s=60)


def test_the_time_behind_a_state_counts_and_that_of_a_state_which_is_lost_does_not(digits):
    config = TrainConfig(epochs=2, rungs=rungs(["0.5"]))
    few = slice(0, 256)
    first = fit(mlp(), digits.x_train[few], digits.y_train[few], config, seed=0, until=0)
    late = dataclasses.replace(first.state, train_seconds=59.999)
    with pytest.raises(TrialFailed, match=r"^time limit of 60 s reached"):
        fit(mlp(), digits.x_train[few], digits.y_train[few], config, seed=0, state=late, trial_limit_s=60)
    for state in (first.state, None):
        fit(mlp(), digits.x_train[few], digits.y_train[few], config, seed=0, state=state, trial_limit_s=60)


@pytest.fixture
def second_a_batch(monkeypatch):
    """A clock for deadlines that gains a second with every batch it is told of, from 0."""
    now = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: clock.seconds, perf_counter=time.perf_counter, seconds=-1)
    monkeypatch.setattr("nas.training.clock.time", clock)

    def between_batches():
        clock.seconds = next(now)

    return between_batches


def test_the_deadline_ends_a_training_where_its_last_epoch_ended(digits, second_a_batch):
    data, val, config = (digits.x_train, digits.y_train), (digits.x_val, digits.y_val), TrainConfig(epochs=4)
    net = mlp()  # 9 batches an epoch, and one to judge
    result = fit(net, *data, config, seed=0, evaluate_on=val, deadline=25, between_batches=second_a_batch)
    assert (result.ended, result.epochs, result.state.step) == ("time", 2.0, 18)
    assert [log.epochs for log in result.curve] == [1, 2]
    assert result.train_seconds == result.curve[-1].train_seconds
    assert evaluate(net, *val) == result.curve[-1].scores

    before = [t.clone() for t in net.state_dict().values()]
    late = {"deadline": 25, "between_batches": second_a_batch}
    again = fit(net, *data, config, seed=0, evaluate_on=val, state=result.state, **late)
    assert (again.ended, again.epochs, again.curve, again.state) == ("time", 2.0, result.curve, None)
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))
    never = fit(mlp(), *data, config, seed=0, **late)
    assert (never.ended, never.epochs, never.curve, never.state) == ("time", 0.0, (), None)

    one, two = mlp(), mlp()
    whole = fit(one, *data, config, seed=0, evaluate_on=val)
    assert outcome(fit(two, *data, config, seed=0, evaluate_on=val, state=result.state)) == outcome(whole)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))


def test_a_training_is_given_up_for_the_reason_it_is_told(digits):
    config = TrainConfig(epochs=5, rungs=rungs(["0.4", "1"]))
    asked = []

    def stop(curve):
        asked.append([log.epochs for log in curve])
        return "no hope at 3" if len(curve) == 3 else ""

    data, val = (digits.x_train, digits.y_train), (digits.x_val, digits.y_val)
    net = cnn()
    result = fit(net, *data, config, seed=0, evaluate_on=val, stop=stop)
    assert (result.ended, result.reason, result.epochs, result.state) == ("stopped", "no hope at 3", 3.0, None)
    assert asked == [[1], [1, 2], [1, 2, 3]]
    assert evaluate(net, *val) == result.curve[-1].scores

    asked.clear()
    assert fit(cnn(), *data, config, seed=0, until=0, stop=stop).ended == "rung"
    assert asked == [[1]]  # the end of the rung is for others to judge


def test_between_batches_is_called_before_each_and_changes_nothing(digits):
    config, val = TrainConfig(epochs=2, batch_size=256), (digits.x_val, digits.y_val)
    order = []

    def run(between_batches):
        net = cnn(dropout=0.3)
        net.register_forward_pre_hook(lambda module, _: order.append("train" if module.training else "judge"))
        return outcome(fit(net, *digits.full(), config, seed=0, evaluate_on=val, between_batches=between_batches)), net

    one, net = run(lambda: order.append("pause"))
    n, n_val = -(-len(digits.full()[0]) // 256), -(-len(val[0]) // 512)
    assert order == (["pause", "train"] * n + ["pause", "judge"] * n_val) * 2
    same, twin = run(None)
    assert one == same
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))


def test_pauses_are_no_time_of_training_but_the_run_goes_on(digits):
    config, val, started = TrainConfig(epochs=2), (digits.x_val, digits.y_val), time.monotonic()
    pauses = []

    def pause():
        pauses.append(time.monotonic())
        time.sleep(0.05)

    result = fit(
        *(mlp(), digits.x_train, digits.y_train, config),
        seed=0,
        evaluate_on=val,
        trial_limit_s=0.5,  # of which the pauses alone take the double
        between_batches=pause,
    )
    whole = time.monotonic() - started
    assert len(pauses) == 20
    assert 0 < result.train_seconds < whole - 1.0
    assert result.curve[0].train_seconds < result.curve[1].train_seconds == result.train_seconds
    assert fit(*(mlp(), *val, config), seed=0, deadline=time.monotonic() + 0.06, between_batches=pause).ended == "time"


class Raises(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.layer, self.error = nn.Linear(64, 10), error

    def forward(self, x):
        if isinstance(self.error, int):
            return self.layer(torch.empty(self.error))
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no\nsecond line"), r"^ValueError: no$"),
        (AssertionError(), r"^AssertionError: $"),
        (MemoryError(), r"^out of memory: MemoryError$"),
        (RuntimeError("CUDA out of memory. Tried"), r"^out of memory: CUDA"),
        (2**60, r"^out of memory: "),
    ],
    ids=["error", "no text", "python memory", "gpu memory", "cpu memory"],
)
def test_an_error_in_the_network_is_a_failed_trial(digits, error, reason):
    for call in (
        lambda: fit(Raises(error), digits.x_train, digits.y_train, TrainConfig(epochs=1), seed=0),
        lambda: evaluate(Raises(error), digits.x_val, digits.y_val),
    ):
        with pytest.raises(TrialFailed, match=reason):
            call()


@pytest.mark.parametrize("where", ["state", "judged", "finish"])
def test_memory_that_is_short_at_the_end_of_a_rung_is_a_failed_trial(digits, monkeypatch, where):
    def short(self):
        raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")

    monkeypatch.setattr(f"nas.training.loop.Learner.{where}", short)
    config = TrainConfig(epochs=2, rungs=rungs(["0.5"]))
    with pytest.raises(TrialFailed, match="out of memory: DefaultCPUAllocator"):
        fit(
            *(mlp(), digits.x_train, digits.y_train, config),
            seed=0,
            evaluate_on=(digits.x_val, digits.y_val),
            until=1 if where == "finish" else 0,
        )


def test_too_few_logits_are_a_failed_trial(digits):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 9))
    with pytest.raises(TrialFailed, match="out of bounds"):
        fit(net, digits.x_train, digits.y_train, TrainConfig(epochs=1), seed=0)


def test_ctrl_c_and_a_callback_pass(digits):
    interrupted = Raises(KeyboardInterrupt())
    state = torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, digits.x_train, digits.y_train, TrainConfig(epochs=1), seed=0)

    def stop(log):
        raise LookupError(log.epochs)

    with pytest.raises(LookupError, match="1"):
        fit(mlp(), digits.x_train, digits.y_train, TrainConfig(epochs=1), seed=0, on_epoch=stop)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_augmentation_for_other_data_is_the_spaces_fault(digits):
    with pytest.raises(SpaceError, match=r"training\.augment"):
        fit(mlp(), digits.x_train, digits.y_train, TrainConfig(augment=TimeShift()), seed=0)


def test_fit_never_opens_the_test_set(digits, monkeypatch):
    def closed(self):
        raise AssertionError("the test set was opened")

    monkeypatch.setattr(type(digits), "test", closed)
    fit(mlp(), *digits.full(), TrainConfig(epochs=1), seed=0, evaluate_on=(digits.x_val, digits.y_val))


def test_evaluate_agrees_with_one_plain_pass(digits):
    net = cnn()
    net.train()
    scores = evaluate(net, digits.x_val, digits.y_val, batch=100)
    assert net.training
    with torch.no_grad():
        logits = net.eval()(digits.x_val)
    assert scores["accuracy"] == pytest.approx((logits.argmax(1) == digits.y_val).double().mean().item(), abs=1e-9)
    assert scores["loss"] == pytest.approx(nn.functional.cross_entropy(logits, digits.y_val).item(), rel=1e-5)


def test_gradients_are_clipped(digits):
    steps = []
    for clip in (0.0, 1e-3):
        net = mlp()
        before = nn.utils.parameters_to_vector(net.parameters()).detach()
        config = TrainConfig.from_tree(
            {
                "epochs": 1,
                "batch_size": 1150,
                "clip_norm": clip,
                "schedule": "constant",
                "optimizer": {"sgd": {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}},
            }
        )
        fit(net, digits.x_train, digits.y_train, config, seed=0)
        steps.append((nn.utils.parameters_to_vector(net.parameters()).detach() - before).norm().item())
    assert steps[1] == pytest.approx(1e-3, rel=1e-2) != steps[0]


def test_label_smoothing_is_in_the_training_loss_by_hand(digits):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(net[1].weight)
    net[1].bias.data = torch.arange(10.0)
    log_p = torch.log_softmax(net[1].bias.detach(), 0)
    x, y = digits.x_train[:50], digits.y_train[:50]
    wanted = -(0.7 * log_p[y].mean() + 0.3 * log_p.mean()).item()
    config = TrainConfig(epochs=1, batch_size=50, label_smoothing=0.3)
    assert fit(net, x, y, config, seed=0).curve[0].train_loss == pytest.approx(wanted, rel=1e-5)


def test_dropout_follows_the_seed(digits):
    """Sixty-four times the same sample: the order, which the seed decides too, makes no difference."""
    x, y = digits.x_train[:1].expand(64, -1, -1, -1), digits.y_train[:1].expand(64)
    losses = []
    for rate in (0.5, 0.0):
        for seed in (0, 1):
            net = nn.Sequential(nn.Dropout(rate), mlp())
            losses.append(fit(net, x, y, TrainConfig(epochs=1), seed=seed).curve[0].train_loss)
    assert abs(losses[0] - losses[1]) > 1e-3
    assert losses[2] == losses[3]


def test_dropout_is_new_in_every_epoch(digits):
    kept = []

    class Noted(nn.Dropout):
        def forward(self, x):
            y = super().forward(x)
            if self.training:
                kept.append(y != 0)
            return y

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), Noted(0.5), nn.Linear(64, 10))
    fit(net, digits.x_train[:32], digits.y_train[:32], TrainConfig(epochs=3), seed=0)
    assert len(kept) == 3
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(kept, 2))
