"""The same space in YAML, in Python and in memory."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from space_strategies import spaces

from nas.errors import SpaceError
from nas.space import Categorical, Centre, Chain, Choice, Fixed, Float, Forbidden, Group, Integer, Repeat, Space, When
from nas.space.conditions import Compare, OneOf
from nas.space.write import outline
from nas.space.yaml import parse

calm = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))


def same(a: Space, b: Space) -> bool:
    """Equal to the last type and in order: `==` takes 1 for 1.0 and forgets the order of fields."""
    return a == b and repr(a) == repr(b) and list(a.slots.values()) == list(b.slots.values())


def of(body, forbid=(), **sections):
    return Space("vector", {"body": body, "head": {"pool": {}}, **sections}, forbid)


FINE = Float(1234567.0, 7654321.0)
AWKWARD = [
    of(Chain((1, 2))),  # in YAML, a plain list of constants is a choice among them
    of(Chain(({"conv": {}}, 3))),
    of({"a": [1, 2], "b": When({".a": 1}, Chain(({"conv": {}},)))}),
    of({"a": [1, 2], "b": When({".a": 1}, When({"body.a": [1, 2]}, 3))}),  # conditions within conditions
    of({"a": FINE, "b": When({".a": Compare(">=", 1234568.0)}, [3, 5])}),  # more than six digits
    of({"a": [">=3", "x"], "b": When({".a": OneOf((">=3",))}, True)}),  # a word that looks like a comparison
    of({"a": [">=3", "x"]}, [Forbidden((("body.a", OneOf((">=3",))),))]),
    of({"a": Fixed("1e-3"), "b": Fixed(1e-3), "c": Fixed("no"), "d": Fixed("010"), "e": Fixed(1e22), "f": Fixed(-0.0)}),
    of({"a": [True, "true", 2]}),
    of(Repeat(Integer(1, 3), Repeat([1, 2], Choice({"conv": {"kernel": [3, 5]}, "skip": None})))),
    Space("vector", {"training": {"lr": Float(0, 1)}, "head": {}, "body": When({"training.lr": "<0.1"}, {})}),  # order
    of({"a": Categorical((True, "true", 2), prior={"true": 3}), "b": Categorical((0.5,), prior=(1e300,))}),
    of({"a": Categorical((3, 5), prior=(1, 1)), "b": Choice(["true", "no"], prior=(1, 1))}),  # a prior, if an even one
    of({"a": [1, 2], "b": When({".a": 1}, Categorical((3, 5), prior=(0, 1)))}),
    of({"a": [1, 2], "b": When({".a": 1}, Choice({"conv": {}, "pool": {}}, prior=(0.5, 1)))}),
    of({"a": Float(1e-300, 1e300, prior=Centre(1e300, 0.8)), "b": Float(-1, 1, prior=Centre(-0.0))}),
    of(Repeat(Integer(2, 8, prior=Centre(4.5)), Repeat(Categorical((1, 2), prior={2: 3}), ["a", "b"]))),
    of({f"{'x' * 200}": 1, "y": ["word " * 40 + "end", "z"]}),
]


@pytest.mark.parametrize("space", AWKWARD, ids=range(len(AWKWARD)))
def test_yaml_and_python_keep_awkward_spaces(space):
    assert same(parse(space.to_yaml()), space), space.to_yaml()
    assert same(executed(space.to_python()), space), space.to_python()


def executed(source: str) -> Space:
    namespace: dict[str, object] = {}
    exec(source, namespace)  # our own text
    return namespace["space"]


@given(spaces())
@calm
def test_yaml_keeps_a_space(space):
    text = space.to_yaml()
    again = parse(text)
    assert same(again, space), text
    assert again.to_yaml() == text
    assert again.fingerprint() == space.fingerprint()


@given(spaces())
@calm
def test_python_keeps_a_space(space):
    assert same(executed(space.to_python()), space), space.to_python()


@given(spaces(max_leaves=3))
@settings(calm, max_examples=60)
def test_the_outline_names_every_parameter(space):
    lines = outline(space).splitlines()
    for path in space.slots:
        last = path.split(".")[-1]
        assert last.isdigit() or last == "repeat" or any(line.strip().startswith(f"{last}:") for line in lines), path


def test_a_file_written_is_a_file_read(tmp_path):
    space = of({"dense": {"width": Integer(8, 64, step=8)}})
    path = tmp_path / "small.yaml"
    path.write_text(space.to_yaml(), encoding="utf-8")
    again = Space.from_yaml(path)
    assert same(again, Space("vector", space.root, name="small"))
    assert (
        again.where("body.dense.width") == f"{path}:{again.where('body.dense.width').split(':')[-2]}: body.dense.width"
    )


def test_a_fingerprint_names_the_contents_and_not_the_name():
    a = of({"a": [1, 2]})
    assert a.fingerprint() == Space("vector", a.root, name="other").fingerprint()
    assert a.fingerprint() != of({"a": [1, 3]}).fingerprint()
    assert a.fingerprint() != of({"a": [1.0, 2.0]}).fingerprint()


def test_a_prior_is_part_of_what_a_space_is():
    plain = of({"a": [3, 5], "b": Choice(["conv", "pool"]), "lr": Float(1e-4, 0.1, log=True)})
    believing = [
        of({**plain.root.fields["body"].fields, name: here})
        for name, here in [
            ("a", Categorical((3, 5), prior=(1, 2))),
            ("a", Categorical((3, 5), prior=(2, 1))),
            ("b", Choice(["conv", "pool"], prior={"conv": 2})),
            ("lr", Float(1e-4, 0.1, log=True, prior=Centre(0.01))),
            ("lr", Float(1e-4, 0.1, log=True, prior=Centre(0.01, 0.8))),
        ]
    ]
    spaces = [plain, *believing]
    assert all((a == b) == (i == j) for i, a in enumerate(spaces) for j, b in enumerate(spaces))
    assert len({space.fingerprint() for space in spaces}) == len(spaces)
    assert Categorical((3, 5), prior={5: 2}) == Categorical((3, 5), prior=[1.0, 2.0])
    assert len({Categorical((3, 5), prior=(1, 2)), Categorical((3, 5)), Integer(1, 2, prior=Centre(1))}) == 3


def test_an_outline_says_priors_in_short():
    space = of(
        Repeat(
            Integer(2, 8, prior=Centre(4)),
            Choice({"conv": {"kernel": Categorical((3, 5, 7), prior=(1, 2, 1))}, "lstm": {}}, prior={"conv": 3}),
        ),
        training={
            "lr": Float(1e-4, 0.1, log=True, prior=Centre(0.01, 0.8)),
            "nesterov": Categorical((False, True), prior={True: 4}),
        },
    )
    lines = [line.strip() for line in outline(space).splitlines()]
    assert "body: repeated, an integer from 2 to 8  (prior near 4)" in lines
    assert "block: one of  (prior conv: 3)" in lines
    assert "kernel: one of 3, 5, 7  (prior 5: 2)" in lines
    assert "lr: a number from 0.0001 to 0.1 (log)  (prior near 0.01, confidence 0.8)" in lines
    assert "nesterov: one of false, true  (prior true: 4)" in lines


@pytest.mark.parametrize(
    ("make", "needles"),
    [
        (lambda: of({"a": 1, "b": When({"nope": 1}, 2)}), ["body.b", "nope", "Known"]),
        (lambda: of({"a": When({".b": 1}, 2), "b": [1, 2]}), ["body.a", "body.b", "comes later"]),
        (lambda: of({"a": [1, 2], "b": When({".a": 3}, 2)}), ["body.b", "body.a", "3", "one of 1, 2"]),
        (lambda: of({"a": [1, 2]}, [{"body.aa": 1}]), ["forbid[0]", "body.aa", "Did you mean 'body.a'"]),
        (lambda: of({"a": [1, 2]}, [{"body.a": 3}]), ["forbid[0]", "body.a", "3"]),
        (lambda: of({"a": [1, 2]}, [{}]), ["forbidden combination", "{}"]),
        (lambda: of({"a": float("nan")}), ["nan", "finite"]),
        (lambda: of({"a": None}), ["None"]),
        (lambda: of({"a": ["x\ny"]}), ["printable"]),
        (lambda: of({"a": ["\ud800"]}), ["printable"]),
        (lambda: of({"value": 3}), ["'value'", "word of space files"]),
        (lambda: of({"block": {}}), ["'block'", "repeat"]),
        (lambda: of({"a\n": 3}), ["'a\\n'"]),
        (lambda: of({3: 3}), ["got 3"]),
        (lambda: Group([1]), ["[1]", "mapping"]),
        (lambda: Choice({"conv": [3, 5]}), ["[3, 5]", "mapping"]),
        (lambda: Choice("conv"), ["'conv'"]),
        (lambda: Choice(["a", "b", "a"]), ["twice"]),
        (lambda: Choice([]), ["at least one"]),
        (lambda: Chain(()), ["at least one"]),
        (lambda: Repeat(-1, {}), ["-1", "0 to 1000"]),
        (lambda: Repeat(2.0, {}), ["2.0"]),
        (lambda: Repeat(True, {}), ["True"]),
        (lambda: Repeat(Float(1, 2), {}), ["a number from 1 to 2"]),
        (lambda: Repeat({"a": 1}, {}), ["Group"]),
        (lambda: Float(0.1, 1.0, 0.1), ["log is true or false", "0.1"]),  # the third is log, not step
        (lambda: Integer(1, 4, 1, "no"), ["log is true or false", "no"]),
        (lambda: When({"a": 1}, When({"a": 2}, 3)), ["two conditions on a"]),
        (lambda: of(Repeat(1000, Repeat(1000, Repeat(1000, {})))), ["100,000 nodes", "lower"]),
        (lambda: Space("picture", {}), ["picture", "image"]),
    ],
)
def test_python_gets_the_same_checks_as_yaml(make, needles):
    with pytest.raises(SpaceError) as caught:
        make()
    for needle in needles:
        assert needle in str(caught.value)


@example(of({"a": FINE}))
@given(spaces(max_leaves=3))
@settings(calm, max_examples=30)
def test_equal_spaces_have_equal_fingerprints(space):
    twin = Space(space.input, space.root, space.forbid, name="twin", places={"body": "x:1"})
    assert twin == space
    assert twin.fingerprint() == space.fingerprint()
