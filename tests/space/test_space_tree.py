"""Architectures of a space: what is active, what is forbidden, how many there are, which share a role."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from space_strategies import few, fixed, spaces

from nas.errors import SpaceError
from nas.rng import generator
from nas.space import Architecture, Chain, Choice, Fixed, Float, Forbidden, Group, Integer, Repeat, Space, When
from nas.space.conditions import parse_forbidden, parse_test
from nas.space.parameters import grid

calm = settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))


def of(body, forbid=(), **sections):
    return Space("vector", {"body": body, "head": {"pool": {}}, **sections}, forbid)


def drawn(space, seed=0):
    try:
        return space.sample(np.random.default_rng(seed))
    except SpaceError:  # random clauses may forbid everything
        reject()


# What is active, said a second way: every node carries the list of all that must hold for it to exist.


def guarded(here, path="", group="", guards=()):
    """Yield (path, parameter or Fixed, guards) in order; a guard is (path, test of its value)."""
    if isinstance(here, When):
        extra = [
            (c.path if c.path[0] != "." else group + c.path if group else c.path[1:], c.test.holds)
            for c in here.conditions
        ]
        yield from guarded(here.node, path, group, (*guards, *extra))
    elif isinstance(here, Group | Chain):
        children = here.fields.items() if isinstance(here, Group) else enumerate(here.items)
        for name, child in children:
            yield from guarded(child, f"{path}.{name}".lstrip("."), path, guards)
    elif isinstance(here, Choice):
        yield path, None, guards
        for name, option in here.options.items():
            yield from guarded(option, f"{path}.{name}", path, (*guards, (path, lambda v, name=name: v == name)))
    elif isinstance(here, Repeat):
        yield from guarded(here.count, f"{path}.repeat", path, guards)
        for i in range(here.most):
            more = (f"{path}.repeat", lambda v, i=i: v > i)
            yield from guarded(here.block, f"{path}.{i}", path, (*guards, more))
    else:
        yield path, here, guards


@given(spaces(), st.integers(0, 2**32))
@calm
def test_a_sample_has_the_active_parameters_and_no_others(space, seed):
    arch = drawn(space, seed)
    known = {}
    for path, leaf, guards in guarded(space.root):
        active = all(where in known and holds(known[where]) for where, holds in guards)
        if active:
            known[path] = leaf.value if isinstance(leaf, Fixed) else arch.values[path]
        else:
            assert path not in arch.values
    assert {path for path in known if path in space.slots} == set(arch.values)


@given(spaces(), st.integers(0, 2**32))
@calm
def test_a_sample_is_a_point_of_the_space(space, seed):
    arch = drawn(space, seed)
    assert space.contains(arch)
    assert space.architecture(arch.values) == arch
    assert space.forbidden(arch) is None
    asked = []
    space.walk(lambda slot: asked.append(slot) or arch.values[slot.path])
    assert asked == [space.slots[path] for path in arch.values]
    for path, value in arch.items:
        assert space.slots[path].parameter.contains(value)
        broken = dict(arch.values)
        del broken[path]
        assert not space.contains(Architecture.of(broken))
    assert not space.contains(Architecture.of({**arch.values, "body.nowhere": 1}))
    assert [path for path in space.slots if path in arch.values] == list(arch.values)  # in the order of the space


def read_back(here, tree, path=""):
    """Yield (path, value) of every choice in a resolved tree; constants are checked."""
    if isinstance(here, Fixed):
        assert tree == here.value
    elif isinstance(here, Group):
        assert list(tree) == list(here.fields)
        for name, child in here.fields.items():
            yield from read_back(child, tree[name], f"{path}.{name}".lstrip("."))
    elif isinstance(here, Choice):
        ((name, fields),) = tree.items()
        yield path, name
        yield from read_back(here.options[name], fields, f"{path}.{name}")
    elif isinstance(here, Chain):
        assert len(tree) == len(here.items)
        for i, child in enumerate(here.items):
            yield from read_back(child, tree[i], f"{path}.{i}")
    elif isinstance(here, Repeat):
        yield from [] if isinstance(here.count, Fixed) else [(f"{path}.repeat", len(tree))]
        for i, item in enumerate(tree):
            yield from read_back(here.block, item, f"{path}.{i}")
    else:
        yield path, tree


@given(spaces(conditions=False), st.integers(0, 2**32))
@calm
def test_a_resolved_tree_tells_the_values(space, seed):
    arch = drawn(space, seed)
    assert dict(read_back(space.root, space.resolve(arch))) == arch.values


def test_a_resolved_tree_leaves_out_what_is_inactive():
    space = of(Chain(({"a": [1, 2], "b": When({".a": 2}, 7)}, When({"body.0.b": 7}, {"c": {}}), {"d": {}})))
    assert space.resolve(space.architecture({"body.0.a": 1}))["body"] == [{"a": 1}, {"d": {}}]
    assert space.resolve(space.architecture({"body.0.a": 2}))["body"] == [{"a": 2, "b": 7}, {"c": {}}, {"d": {}}]


def every(space):
    """Yield the choices of every architecture; a continuous parameter counts as its low end."""
    scripts = [[]]
    while scripts:
        script, options = scripts.pop(), []

        arch = space.walk(lambda slot: by_script(slot, script, options))  # noqa: B023
        yield arch
        chosen = [arch.values[path] for path in arch.values]
        for i in range(len(script), len(options)):
            scripts += [[*chosen[:i], other] for other in options[i][1:]]


def by_script(slot, script, options):
    p = slot.parameter
    options.append([p.low] if isinstance(p, Float) and p.step is None else list(grid(p, most=1000)))
    i = len(options) - 1
    return script[i] if i < len(script) else options[i][0]


SMALL = fixed | few | st.builds(lambda n, s: Integer(0, n * s, s), st.integers(0, 2), st.integers(1, 2))
SMALL |= st.sampled_from([Float(0, 1), Float(0.1, 0.3, step=0.1), Float(1, 1), Float(1e-3, 1, log=True)])


@given(spaces(leaves=SMALL, conditions=False, forbid=False, max_leaves=4))
@calm
def test_count_agrees_with_enumeration(space):
    n, continuous = space.count()
    assume(n <= 400)
    everything = list(every(space))
    assert len({arch.fingerprint() for arch in everything}) == len(everything) == n
    floats = [s.parameter for s in space.slots.values() if isinstance(s.parameter, Float)]
    assert continuous == sum(p.step is None and p.low < p.high for p in floats)
    assert not space.bounded


@given(spaces(leaves=SMALL, max_leaves=4))
@calm
def test_count_is_an_upper_bound_with_conditions(space):
    n, _ = space.count()
    assume(n <= 400)
    allowed = sum(space.forbidden(arch) is None for arch in every(space))
    assert allowed <= n
    if not space.bounded:
        assert allowed == n


def test_count_by_hand():
    conv = {"kernel": [3, 5], "width": Integer(8, 32, step=8)}  # 8
    block = Choice({"conv": conv, "skip": {}})  # 9
    assert of(Repeat(Integer(0, 2), block)).count() == (1 + 9 + 81, 0)
    assert of(Repeat([1, 2], Repeat(2, block))).count() == (9**2 + 9**4, 0)
    assert of(Repeat(3, {"x": {"rate": Float(0, 1)}})).count() == (1, 3)


NESTED = of(
    Repeat(
        Integer(1, 3),
        Repeat(Integer(1, 2), Choice({"conv": {"kernel": [3, 5], "act": ["relu", "silu"]}, "skip": {"drop": [0, 1]}})),
    ),
    training={"batch": [64, 128]},
)


@pytest.mark.parametrize("space", [NESTED, of(Repeat(3, Chain(({"a": [1, 2]}, Repeat([1, 2], {"b": [1, 2]})))))])
def test_a_role_is_the_path_without_positions(space):
    for role, sharing in space.roles.items():
        assert len({repr(slot.parameter) for slot in sharing}) == 1, role
        assert len({len(slot.at) for slot in sharing}) == 1
        assert len({slot.at for slot in sharing}) == len(sharing)
        for slot in sharing:
            assert slot.path == space.slots[slot.path].path
            if not role.endswith("repeat"):
                left = iter(slot.path.split("."))
                assert all(part in left for part in role.split("."))  # what is left out of the path are positions
                assert len(slot.path.split(".")) == len(role.split(".")) + len(slot.at)


def test_roles_by_hand():
    assert {role: len(slots) for role, slots in NESTED.roles.items()} == {
        "body.repeat": 1,
        "body.repeat.repeat": 3,  # the counts of the inner repeats are not that of the outer one
        "body": 6,
        "body.conv.kernel": 6,
        "body.conv.act": 6,
        "body.skip.drop": 6,
        "training.batch": 1,
    }
    assert NESTED.slots["body.2.1.conv.kernel"].role == "body.conv.kernel"
    assert NESTED.slots["body.2.1.conv.kernel"].at == (("body.repeat", 2), ("body.repeat.repeat", 1))


# What is forbidden, said a second way: one slot for each item, none of two at different positions of one repeat.


def forbids(space, clause, arch):
    candidates = [
        [slot.path for slot in ([space.slots[path]] if path in space.slots else space.roles[path])]
        for path, _ in clause.items
    ]
    tests = [test for _, test in clause.items]
    roles = [path not in space.slots for path, _ in clause.items]
    for paths in itertools.product(*candidates):
        held = all(
            path in arch.values and test.holds(arch.values[path]) for path, test in zip(paths, tests, strict=True)
        )
        by_role = [path for path, role in zip(paths, roles, strict=True) if role]
        if held and all(agree(a, b) for a, b in itertools.combinations(by_role, 2)):
            return True
    return False


def agree(a, b):
    """Whether two paths part at a name, not at a position (in a space without chains)."""
    parts = next(((x, y) for x, y in zip(a.split("."), b.split("."), strict=False) if x != y), ("", ""))
    return not (parts[0].isdigit() and parts[1].isdigit())


ITEMS = {
    "body": ["conv", "skip"],
    "body.0.0": ["conv"],
    "body.conv.kernel": [3, [3, 5], ">=5"],
    "body.1.0.conv.kernel": [5],
    "body.conv.act": ["relu", "silu"],
    "body.skip.drop": [0, 1],
    "body.repeat": [1, ">=2"],
    "body.repeat.repeat": [1, 2],
    "training.batch": [64, 128],
}
clauses = st.lists(st.sampled_from(sorted(ITEMS)), min_size=1, max_size=3, unique=True).flatmap(
    lambda paths: st.fixed_dictionaries({path: st.sampled_from(ITEMS[path]) for path in paths})
)


@given(clauses, st.integers(0, 2**32))
@settings(calm, max_examples=300)
def test_forbidden_means_at_one_position(written, seed):
    space = Space("vector", NESTED.root, (parse_forbidden(written),))
    rng = np.random.default_rng(seed)
    for _ in range(5):
        arch = NESTED.sample(rng)
        assert (space.forbidden(arch) is not None) == forbids(space, space.forbid[0], arch)


def test_forbidden_roles_in_repeated_chains():
    chain = Chain(({"a": [1, 2]}, {"b": [1, 2]}))
    space = of(Repeat(2, chain), [{"body.0.a": 1, "body.1.b": 1}])
    values = {"body.0.0.a": 1, "body.0.1.b": 2, "body.1.0.a": 2, "body.1.1.b": 1}
    assert space.contains(Architecture.of(values))
    assert not space.contains(Architecture.of({**values, "body.1.0.a": 1}))


@given(spaces(), st.integers(0, 2**32))
@settings(calm, max_examples=50)
def test_a_sample_is_never_forbidden(space, seed):
    rng = np.random.default_rng(seed)
    clauses = space.forbid
    for _ in range(5):
        arch = drawn(space, int(rng.integers(2**31)))
        assert not any(space._matches(clause, arch) for clause in clauses)


def test_a_space_where_all_is_forbidden_says_so():
    space = Space("vector", {"body": {"a": [1, 2]}}, ({"body.a": [1, 2]},), name="tight")
    with pytest.raises(SpaceError, match=r"tight: 1000 draws in a row were forbidden.*forbid"):
        space.sample(generator(0))


@given(spaces(), st.integers(0, 2**32))
@settings(calm, max_examples=50)
def test_fingerprints_forget_the_order_and_nothing_else(space, seed):
    arch = drawn(space, seed)
    assume(len(arch.items) > 1)
    items = list(arch.items)
    random.Random(seed).shuffle(items)
    shuffled = Architecture(tuple(items))
    assert shuffled.fingerprint() == arch.fingerprint()
    assert space.contains(shuffled)
    assert space.architecture(shuffled.values) == arch
    assert Architecture.from_json(arch.to_json()) == arch
    assert repr(Architecture.from_json(arch.to_json())) == repr(arch)
    assert Architecture(tuple(items[1:])).fingerprint() != arch.fingerprint()


def test_one_architecture_has_one_fingerprint():
    """What comes back from a table may be 3.0 for 3 or 1 for 1.0."""
    space = of({"kernel": [3, 5], "rate": Float(0, 1), "drop": Float(0.1, 0.5, step=0.1)})
    arch = space.architecture({"body.kernel": 3, "body.rate": 1.0, "body.drop": 0.3})
    again = space.architecture({"body.drop": 0.1 + 0.2, "body.rate": 1, "body.kernel": 3.0})
    assert repr(again) == repr(arch)
    assert again.fingerprint() == arch.fingerprint()


@pytest.mark.parametrize(
    "text", ["", "[", "[]", "3", "null", '{"a": [1]}', '{"a": null}', "[" * 100_000, '{"a": ' + "9" * 5000 + "}"]
)
def test_json_that_is_no_architecture(text):
    with pytest.raises(SpaceError, match="an architecture is a JSON object"):
        Architecture.from_json(text)


@pytest.mark.parametrize(
    ("values", "needles"),
    [
        ({"body.a": 1}, ["body.b", "no value"]),
        ({"body.a": 2, "body.b": 3}, ["body.b", "not active", "3"]),
        ({"body.a": 3}, ["body.a", "3", "one of 1, 2"]),
        ({"body.a": 1, "body.b": 2.5}, ["body.b", "2.5", "an integer from 1 to 4"]),
        ({"body.a": 2, "body.aa": 1}, ["body.aa", "Did you mean 'body.a'"]),
        ({"body.a": 1, "body.b": 4}, ["forbidden combination", "body.b"]),
    ],
)
def test_values_that_are_no_architecture(values, needles):
    space = of({"a": [1, 2], "b": When({".a": 1}, Integer(1, 4))}, [{"body.a": 1, "body.b": 4}])
    with pytest.raises(SpaceError) as caught:
        space.architecture(values)
    for needle in needles:
        assert needle in str(caught.value)
    assert not space.contains(Architecture.of(values))


def test_an_architecture_of_another_space_cannot_be_resolved():
    with pytest.raises(SpaceError, match=r"body\.a: no value"):
        of({"a": [1, 2]}).resolve(Architecture.of({"body.b": 1}))


@pytest.mark.parametrize(
    ("written", "value", "holds"),
    [
        (3, 3, True),
        (3, 3.0, True),
        (1, True, False),
        (True, 1, False),
        ([3, 5], 5, True),
        ([3, 5], 4, False),
        (">=3", 3, True),
        ("> 3", 3, False),
        ("<1e-3", 1e-4, True),
        ("!=3", 4, True),
        ("!=3", 3, False),
        ("<=3", True, False),
        ("<=3", "2", False),
        ("sgd", "sgd", True),
    ],
)
def test_tests_by_hand(written, value, holds):
    assert parse_test(written).holds(value) is holds
    assert parse_test(parse_test(written).plain()) == parse_test(written)


@pytest.mark.parametrize("written", [">=x", ">=nan", ">=inf", "<", None, [], [[1]], {}, float("nan")])
def test_tests_that_cannot_be_read(written):
    if written == "<":  # a word, as long as some parameter has it as an option
        assert parse_test(written).holds("<")
        return
    with pytest.raises(SpaceError):
        parse_test(written)


def test_a_condition_on_a_grid_value_can_hold():
    space = of({"drop": Float(0.1, 0.5, step=0.1), "b": When({".drop": 0.3}, [1, 2])})
    assert any("body.b" in space.sample(generator(0, i)).values for i in range(50))


def test_a_clause_names_a_path_once():
    with pytest.raises(SpaceError, match="two conditions on a"):
        Forbidden((("a", parse_test(1)), ("a", parse_test(2))))


def test_choices_and_counts_are_drawn_evenly():
    space = of(Repeat(Integer(1, 3), Choice({"conv": {"kernel": [3, 5]}, "skip": {}, "pool": {}})))
    rng = generator(0, "even")
    draws = [space.sample(rng).values for _ in range(3000)]
    for path, n in {"body.repeat": 3, "body.0": 3}.items():
        values = [draw[path] for draw in draws]
        observed = [values.count(value) for value in sorted(set(values))]
        assert len(observed) == n
        assert chisquare(observed).pvalue > 1e-4  # 1 fair seed in 10,000 fails
    deep = [draw["body.2"] for draw in draws if draw["body.repeat"] == 3]
    assert chisquare([deep.count(name) for name in ("conv", "skip", "pool")]).pvalue > 1e-4  # likewise


def test_forbidden_draws_are_drawn_again_and_the_rest_stays_even():
    space = of({"a": [1, 2], "b": [1, 2]}, [{"body.a": 1, "body.b": 1}])
    rng = generator(0, "rest")
    draws = [tuple(space.sample(rng).values.values()) for _ in range(3000)]
    assert chisquare([draws.count(pair) for pair in [(1, 2), (2, 1), (2, 2)]]).pvalue > 1e-4  # 1 fair seed in 10,000
    assert (1, 1) not in draws
