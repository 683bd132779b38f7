"""Zero-cost proxies of the architectures of a study: what they are, and that a search asks for them."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from tiny_run import TINY

import nas
from nas.blocks import BLOCKS
from nas.build import Network, build
from nas.errors import NasError
from nas.measure.price import Pricer, network_key
from nas.measure.synflow import synflow
from nas.objectives import Measurement
from nas.rng import torch_seed
from nas.space import Architecture
from nas.space.yaml import parse
from nas.study import evaluate
from nas.study.config import StudyConfig
from nas.study.evaluate import Evaluator
from nas.study.folder import RunFolder
from nas.study.loop import Limits
from nas.study.session import open_search
from nas.training import torch_seeded


def evaluator_of(digits, tree: str) -> Evaluator:
    """Return one that cannot measure anything: there is no meter."""
    config = StudyConfig(space=parse(tree, name="described"), objectives=("accuracy", "n_params"), seed=3)
    return Evaluator(config, digits, Pricer(None, digits.in_shape, None))


@pytest.fixture
def evaluator(digits) -> Evaluator:
    return evaluator_of(digits, TINY)


def one_conv(width: int = 8, lr: float = 0.1) -> Architecture:
    values = {"body.repeat": 1, "body.0": "conv", "body.0.conv.width": width, "training.optimizer.sgd.lr": lr}
    return Architecture.of(values)


def network_of(evaluator: Evaluator, arch: Architecture) -> Network:
    with torch_seeded(torch_seed(3, "price")):
        return build(evaluator.config.space, arch, (1, 8, 8), 10)


def test_known_values(evaluator):
    """3 x 3 on 4 x 4 positions, then 8 to 10; the norm has two parameters a channel."""
    flow, macs, n_params = evaluator.describe(one_conv())
    assert flow == synflow(network_of(evaluator, one_conv()), (1, 8, 8)) > 1
    assert macs == math.log1p(4 * 4 * 8 * 9 + 8 * 10)
    assert n_params == math.log1p(8 * 9 + 2 * 8 + (8 + 1) * 10)
    assert all(more > less for more, less in zip(evaluator.describe(one_conv(64)), (flow, macs, n_params), strict=True))


def test_networks_built_alike_are_described_once_and_only_as_far_as_wanted(evaluator, monkeypatch):
    looked_at = []
    monkeypatch.setattr(evaluate, "synflow", lambda network, in_shape: looked_at.append(network) or 5.0)
    known = evaluator.describe(one_conv(lr=0.3), [1, 2])
    assert not looked_at
    assert math.isnan(known[0])
    assert evaluator.describe(one_conv(lr=0.1)) == (5.0, *known[1:])
    assert evaluator.describe(one_conv(lr=0.3)) == (5.0, *known[1:])
    assert len(looked_at) == 1


def test_the_weights_are_those_of_the_study_whatever_was_drawn_before(evaluator, digits):
    first = evaluator.describe(one_conv())
    fresh = evaluator_of(digits, TINY)
    fresh.describe(one_conv(64))
    assert fresh.describe(one_conv()) == first


def test_what_was_priced_is_not_counted_again(evaluator):
    network = network_of(evaluator, one_conv())
    assert evaluator.pricer.known(network) is None
    evaluator.pricer.remember(network_key(network), {"macs": Measurement.exact(999)})
    assert evaluator.describe(one_conv())[1] == math.log1p(999)


def test_of_what_cannot_be_built_nothing_is_told(digits):
    evaluator = evaluator_of(digits, "input: image\nbody: {conv: {width: 8, groups: [1, 3]}}\nhead: {pool: {}}\n")
    one, three = (Architecture.of({"body.conv.groups": n}) for n in (1, 3))
    assert all(map(math.isfinite, evaluator.describe(one)))
    assert all(map(math.isnan, evaluator.describe(three)))


WITHOUT = {
    "flow, which overflows": (lambda y: y * 1e300 * 1e300, 0),
    "flow, for which single precision alone will do": (lambda y: y @ torch.ones(4, 4), 0),
    "count of multiply-adds": (lambda y: y + F.bilinear(y, y, y.new_ones(1, 4, 4)), 1),
}
"""What a block does beside its convolution, and the place of what cannot be told then."""


@pytest.mark.parametrize("name", WITHOUT)
def test_what_cannot_be_told_is_not_a_number_and_the_rest_is_told(digits, monkeypatch, name):
    does, place = WITHOUT[name]

    class Odd(BLOCKS["conv"]):
        def forward(self, x):
            return does(super().forward(x))

    monkeypatch.setitem(BLOCKS._parts, "odd", Odd)
    evaluator = evaluator_of(digits, "input: image\nbody: {odd: {width: [8], stride: 2}}\nhead: {pool: {}}\n")
    told = evaluator.describe(Architecture.of({"body.odd.width": 8}))
    assert [i for i in range(3) if math.isnan(told[i])] == [place]
    assert told[2] == math.log1p(8 * 9 + 2 * 8 + (8 + 1) * 10)


# --- in a search ----------------------------------------------------------------------------------------------------

SPACE = TINY.replace("[4, 8, 64]", "{int: [4, 32]}").replace("[0.1, 0.3, 1.0e+12]", "{float: [0.01, 0.5], log: true}")


@pytest.fixture
def asked(monkeypatch) -> list[tuple[Architecture, tuple[int, ...], tuple[float, float, float]]]:
    """Every architecture that a search asks about, what it wants to know, and the answer."""
    heard = []

    def listening(self, arch, wanted=None):
        told = describe(self, arch, wanted)
        heard.append((arch, tuple(range(3) if wanted is None else wanted), told))
        return told

    describe = Evaluator.describe
    monkeypatch.setattr(Evaluator, "describe", listening)
    return heard


@pytest.mark.parametrize("budgets", [(), ("n_params<=3000",)], ids=["free", "budget"])
def test_the_same_seed_asks_the_same_and_tries_the_same(tmp_path, digits, asked, budgets):
    runs = []
    for name in ("one", "other"):
        asked.clear()
        space = parse(SPACE, name="described")
        study = nas.Study(
            space,
            digits,
            ["accuracy", "macs"],
            budgets,
            out=tmp_path / name,
            sampler="tpe(n_startup=3)",
            seed=4,
            subset=0.3,
        )
        records = study.search(trials=6).records
        runs.append((list(asked), [(r.arch, r.state, r.scores) for r in records]))
    assert repr(runs[0]) == repr(runs[1]), "NaN too"
    described, tried = runs[0]
    assert len({(arch, wanted) for arch, wanted, _ in described}) == len(described), "each once"
    assert {arch for arch, _, _ in tried} & {arch for arch, _, _ in described}
    assert all(math.isfinite(told[k]) for _, wanted, told in described for k in wanted)


@pytest.mark.parametrize("sampler", ["evolution", "tpe(n_startup=3, without='proxies')"])
def test_others_do_not_ask(tmp_path, digits, asked, sampler):
    space = parse(SPACE, name="described")
    nas.Study(space, digits, ["accuracy"], out=tmp_path / "run", sampler=sampler, subset=0.3).search(trials=4)
    assert asked == []


@pytest.mark.parametrize(
    "sampler", ["tpe(explore=2.0)", "tpe(describe=1)", "evolution(population=0)", "optuna:GridSampler"]
)
def test_a_wrong_sampler_is_told_before_anything_is_written(tmp_path, digits, sampler):
    config = StudyConfig(space=parse(TINY), objectives=("accuracy",), budgets=("n_params<=2k",), sampler=sampler)
    with pytest.raises(NasError), open_search(config, RunFolder(tmp_path / "run"), Limits(trials=1), task=digits):
        pass
    assert not list(tmp_path.iterdir())
