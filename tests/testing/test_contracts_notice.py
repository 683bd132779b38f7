"""What breaks a contract is noticed by it, and named: a fault for each function of each contract."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

import nas
from nas.blocks.checks import at_least, check
from nas.blocks.contract import expect
from nas.blocks.operations import Plan
from nas.data import Arrays, make_task
from nas.errors import NasError
from nas.samplers import RandomSearch
from nas.testing import (
    ContractBroken,
    check_block,
    check_dataset,
    check_objective,
    check_part,
    check_sampler,
    check_task,
)
from nas.testing.blocks import BLOCK_CONTRACT, BlockCase, check_fields
from nas.testing.samplers import SAMPLER_CONTRACT

pytestmark = pytest.mark.usefixtures("own_parts")


class Good(nn.Module):
    """A convolution, normed."""

    takes = "map"

    @dataclass(frozen=True, kw_only=True)
    class Config:
        width: int = 8

        def __post_init__(self) -> None:
            check(self, width=at_least(1))

    def __init__(self, in_shape, config):
        super().__init__()
        c, h, w = expect(self.takes, in_shape)
        self.out_shape = (config.width, h, w)
        self.conv = nn.Conv2d(c, config.width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(config.width)

    def forward(self, x):
        return self.norm(self.conv(x))


def broken(**changes):
    return type("Broken", (Good,), changes)


def built(change):
    """A block whose constructor does one thing more."""

    def __init__(self, in_shape, config):
        Good.__init__(self, in_shape, config)
        change(self)

    return broken(__init__=__init__)


class Frozen(nn.Module):
    """Keeps a tensor where no state has it."""

    def __init__(self):
        super().__init__()
        self.gain = torch.rand(1)

    def forward(self, x):
        return x * (0.5 + self.gain)


def gain_outside(self):
    self.norm = nn.Sequential(self.norm, Frozen())


def centred(self, x):
    return Good.forward(self, x) - x.mean()


def noisy(self, x):
    return Good.forward(self, x) + torch.rand(1)


def cancelling(self, x):
    return self.norm((self.conv(x) + 1e4) - 1e4)


def in_place(self, x):
    return Good.forward(self, x.add_(1.0))


def viewed(self, x):
    y = Good.forward(self, x)
    return y.view(len(y), -1).reshape(y.shape)


def branching(self, x):
    return Good.forward(self, x) if x.shape[0] == 2 else Good.forward(self, x) * 1.5


FAULTS = {
    "promises_its_shape": built(lambda self: setattr(self, "out_shape", (8, 1, 1))),
    "plans_what_it_builds": broken(plan=staticmethod(lambda in_shape, config: Plan(in_shape, []))),
    "can_be_counted": broken(forward=lambda self, x: Good.forward(self, x) + torch.cdist(x, x).mean()),
    "every_parameter_learns": built(lambda self: setattr(self, "spare", nn.Linear(2, 2))),
    "starts_at_an_ordinary_size": broken(forward=lambda self, x: 100 * Good.forward(self, x)),
    "eval_depends_on_the_sample_alone": broken(forward=centred),
    "leaves_its_input_alone": broken(forward=in_place),
    "the_same_seed_gives_the_same_weights": built(
        lambda self: nn.init.constant_(self.norm.bias, np.random.default_rng().random())
    ),
    "its_state_is_all_there_is": built(gain_outside),
    "trains_in_bfloat16": broken(forward=cancelling),
    "takes_any_memory_format": broken(forward=viewed),
    "exports_to_onnx": broken(forward=branching),
}
CASE = BlockCase("broken", (4, 8, 6))


def test_every_function_has_its_fault():
    assert [test.__name__ for test in BLOCK_CONTRACT] == list(FAULTS)


@pytest.mark.parametrize("test", BLOCK_CONTRACT, ids=lambda test: test.__name__)
def test_a_good_block_is_good_and_a_fault_is_noticed(test):
    nas.BLOCKS.add("good")(Good)
    test(BlockCase("good", (4, 8, 6)))
    nas.BLOCKS.add("broken")(FAULTS[test.__name__])
    with pytest.raises(ContractBroken, match=r"broken\(\) on \(4, 8, 6\): "):
        test(CASE)


def test_chance_in_eval_is_noticed():
    nas.BLOCKS.add("broken")(broken(forward=noisy))
    with pytest.raises(ContractBroken, match="in eval mode it gives another output the second time"):
        check_block("broken")


@dataclass(frozen=True, kw_only=True)
class Careless:
    width: int = 8


@dataclass(frozen=True)
class Positional:
    width: int = 8

    def __post_init__(self) -> None:
        check(self, width=at_least(1))


def unexpecting(self, in_shape, config):
    nn.Module.__init__(self)
    self.out_shape = (config.width, *in_shape[1:])


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (broken(Config=Careless), r"Config\(width=-1\): is accepted; in Config write def __post_init__"),
        (broken(Config=Positional), r"Config\.width can be given by position; write @dataclass\(frozen=True, kw_only"),
        (broken(__init__=unexpecting), r"broken on \(10, 6\): is accepted; in __init__ begin with in_shape = expect"),
    ],
)
def test_fields_and_shapes_that_are_not_checked_are_noticed(part, words):
    nas.BLOCKS.add("broken")(part)
    with pytest.raises(ContractBroken, match=words):
        check_fields("broken")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"takes": "image"}, r"takes must be 'map' \(C, H, W\), 'tokens' .* got 'image'"),
        ({"Config": dict}, "Config must be a dataclass of its fields"),
        ({"Config": dataclass(type("C", (), {}))}, r"write @dataclass\(frozen=True\)"),
        (
            {"Config": dataclass(frozen=True)(type("C", (), {"__annotations__": {"width": int}}))},
            r"Config\.width has no default, and a space may leave it out; write e\.g\. width: int = 32",
        ),
        (
            {"Config": dataclass(frozen=True)(type("C", (), {"__annotations__": {"w": tuple}, "w": ()}))},
            r"Config\.w is of type tuple; a field is an int, float, bool, str or Literal",
        ),
        ({"__init__": lambda self, in_shape: None}, r"write def __init__\(self, in_shape, config\)"),
    ],
)
def test_what_can_be_seen_of_a_class_is_refused_where_it_is_filed(changes, words):
    with pytest.raises(NasError, match=f"block 'broken': .*{words}"):
        nas.BLOCKS.add("broken")(broken(**changes))
    assert "broken" not in nas.BLOCKS


def test_other_kinds_are_looked_at_where_they_are_filed():
    with pytest.raises(NasError, match=r"must be a class that inherits torch\.nn\.Module, got 3"):
        nas.HEADS.add("broken")(3)
    with pytest.raises(NasError, match=r"write def __init__\(self, space, objectives, \*, gated=False\)"):
        nas.SAMPLERS.add("broken")(lambda space: None)
    with pytest.raises(NasError, match=r"its argument n has no default"):
        nas.SAMPLERS.add("broken")(lambda space, objectives, n, gated=False: None)
    with pytest.raises(NasError, match=r"write def broken\(how\)"):
        nas.DATASETS.add("broken")(lambda: None)
    with pytest.raises(NasError, match="must be a class that inherits OnnxTaker or NetworkTaker"):
        nas.RUNTIMES.add("broken")(dict)
    with pytest.raises(NasError, match="called must be its name, got 'onnxruntime'; write called = 'broken'"):
        nas.RUNTIMES.add("broken")(nas.RUNTIMES["onnxruntime"])


class Repeating(RandomSearch):
    def propose(self, seen, pending, price, rng):
        return self.fresh.space.sample(rng)


class Stateful(RandomSearch):
    calls = 0

    def propose(self, seen, pending, price, rng):
        self.calls += 1
        rng.random(self.calls % 7)
        return super().propose(seen, pending, price, rng)


class Unseeded(RandomSearch):
    def propose(self, seen, pending, price, rng):
        return super().propose(seen, pending, price, np.random.default_rng())


class Greedy(RandomSearch):
    def propose(self, seen, pending, price, rng):
        arch = super().propose(seen, pending, price, rng)
        price(arch)
        return arch


class Deaf(RandomSearch):
    def propose(self, seen, pending, price, rng):
        return super().propose([], pending, price, rng)


class ByLoss(RandomSearch):
    def propose(self, seen, pending, price, rng):
        rng.random(1 + int(1000 * abs(sum(o.losses[0] or 0.0 for o in seen))))
        return super().propose(seen, pending, price, rng)


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        (Repeating, "proposes what was tried|repeats itself"),
        (Stateful, "answers by what it was asked before"),
        (Unseeded, "the same seed gives another run"),
        (Greedy, "asks for prices where `gated` is False"),
        (Deaf, "proposes what was tried"),
        (ByLoss, "."),
    ],
)
def test_a_sampler_at_fault_is_noticed(sampler, words):
    nas.SAMPLERS.add("broken")(sampler)
    with pytest.raises((ContractBroken, ValueError, OverflowError), match=words):
        check_sampler("broken")


def test_a_sampler_of_ones_own_that_is_good_is_good():
    nas.SAMPLERS.add("mine")(type("Mine", (RandomSearch,), {}))
    for test in SAMPLER_CONTRACT:
        test("mine")


def by_weights(module, in_shape):
    return float(sum(p.abs().sum() for p in module.parameters()))


def by_chance(module, in_shape):
    return np.random.default_rng().random()


def hooking(module, in_shape):
    next(module.modules()).register_forward_hook(lambda *_: None)
    return 1.0


def changing(module, in_shape):
    for parameter in module.parameters():
        parameter.zero_()
    return 1.0


@pytest.mark.parametrize(
    ("price", "words"),
    [
        (by_weights, "is another with other weights"),
        (by_chance, "is another the second time"),
        (hooking, "leaves a hook behind"),
        (changing, "changes weights"),
        (lambda module, in_shape: float("nan"), "a price is a finite number, got nan"),
        (lambda module, in_shape: module.width, "AttributeError"),
    ],
)
def test_an_objective_at_fault_is_noticed(price, words):
    nas.OBJECTIVES.add("broken", unit="x")(price)
    with pytest.raises(ContractBroken, match=f"broken: .*{words}"):
        check_objective("broken")


def test_data_at_fault_are_noticed():
    x, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3

    @nas.DATASETS.add("changing")
    def changing(how):
        return Arrays(name="c", where="c", x_train=np.random.default_rng().normal(size=(60, 5)), y_train=y)

    @nas.DATASETS.add("wrong")
    def wrong(how):
        return x, y

    @nas.DATASETS.add("unpaired")
    def unpaired(how):
        return Arrays(name="u", where="u", x_train=x, y_train=y[1:])

    for name, words in (
        ("changing", "x_train is another the second time"),
        ("wrong", "its function returns tuple"),
        ("unpaired", "60 samples, y_train has 59 labels"),
    ):
        with pytest.raises(ContractBroken, match=words):
            check_dataset(name)
    task = make_task(Arrays(name="own", where="own", x_train=x, y_train=y))
    check_task(task)
    object.__setattr__(task, "x_train", task.x_train * 2)
    with pytest.raises(ContractBroken, match="standard deviation is not 1"):
        check_task(task)


def test_the_example_keeps_every_contract(own_parts):
    plugin = nas.load_plugin(own_parts)
    for part in plugin.id.parts:
        assert check_part(part)
