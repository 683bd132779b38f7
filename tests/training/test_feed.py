"""What a stretch learns from: its samples, their mixture, their resolution, and who is judged."""

import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.data import SUBSETS
from nas.rng import torch_seed
from nas.training import FULL, Rung, TrainConfig, fit, plan, rungs, torch_seeded
from nas.training.config import AdamW, Crop, Jitter
from nas.training.feed import Feed, pool
from nas.training.judge import MOST_JUDGED, few
from nas.training.resolution import reduce, reduced_size

N = 100
X = torch.arange(N * 4.0).reshape(N, 4)
Y = torch.arange(N) % 5


def feed(config, stretch, number=0, seed=0, x=X, y=Y):
    return Feed(
        *(x, y, pool(x, y, stretch.subset, "stratified", seed), config, stretch, number),
        **{"seed": seed, "size": None, "layout": torch.contiguous_format},
    )


def drawn(config, seed=0):
    """Indices of the samples of every stretch."""
    stretches = plan(N, config.batch_size, config.epochs, config.rungs)
    return [torch.cat(feed(config, s, i, seed).batches).tolist() for i, s in enumerate(stretches)]


def test_a_lap_is_every_sample_once_wherever_rungs_cut_it():
    config = TrainConfig(epochs=3, batch_size=7)
    whole = drawn(config)
    assert [sorted(lap) for lap in whole] == [list(range(N))] * 3
    assert whole[0] != whole[1]
    assert whole != drawn(config, seed=1)
    cut = drawn(dataclasses.replace(config, rungs=rungs("auto")))
    assert len(cut) > 3
    assert list(itertools.chain(*cut)) == list(itertools.chain(*whole))


def test_a_lap_over_a_subset_is_some_passes():
    first, second = drawn(TrainConfig(epochs=2, batch_size=7, rungs=(Rung(0.5, subset=0.25), *FULL)))
    assert sorted(first) == sorted(4 * pool(X, Y, 0.25, "stratified", 0).tolist())
    assert first[:25] != first[25:50]
    assert sorted(second) == list(range(N))


def test_pools_are_stratified_nested_and_seeded():
    small, large = (pool(X, Y, share, "stratified", 0) for share in (0.1, 0.3))
    assert torch.bincount(Y[small]).tolist() == [2] * 5
    assert set(small.tolist()) < set(large.tolist())
    assert pool(X, Y, 0.1, "stratified", 0).tolist() == small.tolist() != pool(X, Y, 0.1, "stratified", 1).tolist()
    assert pool(X, Y, 1.0, "stratified", 0) is None


def test_mixup_mixes_samples_and_labels_in_the_same_shares():
    config = TrainConfig(batch_size=50, mixup=0.5)
    stretch = plan(N, 50, 10, FULL)[0]
    made = feed(config, stretch)
    shares = []
    for chosen in made.batches:
        batch = made.load(chosen)
        partner = (batch.inputs - batch.share * X[chosen]) / (1 - batch.share) / 4  # rows of X begin with 4 * index
        partner = partner[:, 0].round().long()
        torch.testing.assert_close(batch.inputs, batch.share * X[chosen] + (1 - batch.share) * X[partner])
        assert sorted(partner.tolist()) == sorted(chosen.tolist())
        assert torch.equal(batch.labels, Y[chosen])
        assert torch.equal(batch.others, Y[partner])
        shares.append(batch.share)
        logits = torch.randn(50, 5)
        soft = batch.share * F.one_hot(batch.labels, 5) + (1 - batch.share) * F.one_hot(batch.others, 5)
        for smoothing in (0.0, 0.1):
            wanted = F.cross_entropy(logits, soft, label_smoothing=smoothing)
            torch.testing.assert_close(batch.loss(logits, smoothing), wanted)
    assert len(set(shares)) == 2
    again = feed(config, stretch)
    assert torch.equal(again.load(again.batches[0]).inputs, feed(config, stretch).load(made.batches[0]).inputs)


def test_mixup_leaves_order_and_augmentation_alone():
    config, stretch = TrainConfig(batch_size=50, augment=Jitter(std=1.0)), plan(N, 50, 1, FULL)[0]
    plain, mixed = feed(config, stretch), feed(dataclasses.replace(config, mixup=1.0), stretch)
    for a, b in zip(plain.batches, mixed.batches, strict=True):
        assert torch.equal(a, b)
        jittered, batch = plain.load(a), mixed.load(b)
        torch.testing.assert_close(batch.inputs.mean(0), jittered.inputs.mean(0), rtol=1e-4, atol=1e-3)  # a permutation


def test_every_stretch_has_streams_of_its_own():
    config, stretch = TrainConfig(batch_size=N, augment=Jitter(std=1.0)), plan(N, N, 1, FULL)[0]
    noise = [feed(config, stretch, number).load(torch.arange(N)).inputs - X for number in (0, 1, 0)]
    assert torch.equal(noise[0], noise[2])
    assert not torch.equal(noise[0], noise[1])


def test_no_two_purposes_share_a_stream(monkeypatch):
    seeds = []

    def noted(*owner):
        seeds.append(torch_seed(*owner))
        return seeds[-1]

    monkeypatch.setattr("nas.training.feed.torch_seed", noted)
    for number, stretch in enumerate(plan(N, 50, 3, FULL)):
        feed(TrainConfig(batch_size=50, mixup=1.0), stretch, number)
    assert len(set(seeds)) == len(seeds) == 9


class Sides(nn.Module):
    """Notes the sides of the images it is given, to learn from and to be judged on."""

    def __init__(self, head):
        super().__init__()
        with torch_seeded(0):
            self.net = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.1), *head
            )
        self.seen, self.judged = [], []

    def forward(self, x):
        (self.seen if self.training else self.judged).append(tuple(x.shape[2:]))
        return self.net(x)


def pooled():
    return Sides([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)])


def flat():
    return Sides([nn.Flatten(), nn.Linear(4 * 8 * 6, 5)])


@pytest.mark.parametrize(("make", "sides"), [(pooled, (4, 3)), (flat, (8, 6))])
def test_a_cheap_rung_has_fewer_pixels_where_the_network_takes_them(make, sides):
    with torch_seeded(0):
        x = torch.randn(N, 1, 8, 6)
    config = TrainConfig(epochs=2, batch_size=50, rungs=(Rung(0.5, resolution=0.5), *FULL), augment=Crop(pad=1))
    net = make()
    fit(net, x, Y, config, seed=0, evaluate_on=(x, Y))
    assert net.seen == [sides, sides, (8, 6), (8, 6)]
    assert net.judged[-2:] == [sides, (8, 6)]


@pytest.mark.parametrize("make", [pooled, flat])
def test_trying_a_resolution_changes_nothing(make):
    net, x, state = make(), torch.randn(10, 1, 8, 6), torch.get_rng_state()
    before = {k: t.clone() for k, t in net.state_dict().items()}
    assert reduced_size(net, x, 0.5) == ((4, 3) if make is pooled else None)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(t, before[k]) for k, t in net.state_dict().items())
    assert reduced_size(net, x, 1.0) is None
    assert reduced_size(nn.Flatten(), torch.randn(10, 8, 6), 0.5) is None  # no images
    assert reduced_size(nn.Flatten(), x, 0.5) is None  # other logits


def test_a_reduced_pixel_is_the_mean_over_its_area():
    x = torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(reduce(x, (4, 3)), x.reshape(2, 3, 4, 2, 3, 2).mean((3, 5)))
    torch.testing.assert_close(reduce(x, (3, 5)).shape, torch.Size([2, 3, 3, 5]))


def test_few_are_judged_on_always_the_same_and_all_in_the_end():
    n = 3 * MOST_JUDGED
    y = torch.cat([torch.zeros(n - 90, dtype=torch.long), torch.ones(90, dtype=torch.long)])
    x = torch.arange(float(n))[:, None]
    a, b = few(x, y)
    assert len(a) == len(b) == MOST_JUDGED
    assert b.sum() == 30
    assert torch.equal(a, few(x, y)[0])
    assert torch.equal(y[a[:, 0].long()], b)
    assert torch.equal(few(-x, y)[0], -a)  # the labels alone decide
    assert len(few(x[:50], y[:50])[0]) == 50
    assert len(few(x[:MOST_JUDGED], y[:MOST_JUDGED])[0]) == MOST_JUDGED

    judged = []
    net = nn.Linear(1, 2)
    net.register_forward_pre_hook(lambda m, args: None if m.training else judged.append(len(args[0])))
    config = TrainConfig(epochs=2, rungs=rungs(["0.25"]))
    told = []
    fit(net, x[:512] / n, y[-512:], config, seed=0, evaluate_on=(x / n, y), on_epoch=lambda _: told.append(sum(judged)))
    assert told == [MOST_JUDGED, 2 * MOST_JUDGED, 2 * MOST_JUDGED + n]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_cuda_it_learns_in_mixed_precision_and_goes_on_from_a_checkpoint_of_the_cpu():
    x, y = torch.randn(512, 1, 8, 6, generator=torch.Generator().manual_seed(0)), torch.arange(512) % 2
    x[y == 1] += 1
    config = TrainConfig(epochs=20, optimizer=AdamW(lr=0.1), rungs=rungs(["0.5"]))
    state = fit(pooled(), x, y, config, seed=0, until=0).state
    data = x.cuda(), y.cuda()
    result = fit(pooled().cuda(), *data, config, seed=0, state=state, evaluate_on=data)
    assert result.curve[-1].scores["accuracy"] > 0.9


@pytest.mark.parametrize("method", sorted(SUBSETS))
def test_a_method_chooses_the_share_of_a_training(method):
    """The trainings of a study choose alike by a method that looks at the samples, and each its own at random."""
    x, y = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 3
    one, same, other = (pool(x, y, 0.25, method, seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert torch.equal(one, other) == (method != "stratified")
    assert torch.bincount(y[one]).tolist() == [5, 5, 5]
    assert torch.equal(pool(x.flip(0), y.flip(0), 0.25, method, 1), one) is False
    assert pool(x, y, 1.0, method, 1) is None
