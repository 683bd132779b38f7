"""Space files: what is read, and what every mistake is told. Only SpaceError comes out."""

import contextlib
import re
import string
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nas.errors import SpaceError
from nas.space import Categorical, Centre, Chain, Choice, Fixed, Float, Group, Integer, Repeat, Space, When
from nas.space.tree import KEYWORDS
from nas.space.yaml import parse

SKETCH = """\
# image.yaml - small images; ranges after MobileNetV3 and MNIST-scale nets
input: image                                        # (C, H, W)
stem: {conv: {width: {int: [8, 32], step: 8}, stride: [1, 2]}}
body:
  repeat: {int: [1, 4]}                             # how many blocks is searched too
  block:
    choice:                                         # conditional: only the chosen block's parameters exist
      conv:        {kernel: [3, 5], width: {int: [8, 96], step: 8}, stride: [1, 2], act: [relu, silu]}
      mbconv:      {expand: [1, 3, 6], kernel: {options: [3, 5], when: {.expand: '>=3'}}, stride: 1, se: [true, false]}
      lstm:        {hidden: {int: [16, 96], step: 16}, bidirectional: [true, false]}
      skip:
head: {pool: {dropout: {float: [0.0, 0.5]}}}
training:
  optimizer:
    choice:
      sgd:   {lr: {float: [1e-3, 1.0], log: true}, momentum: {float: [0.0, 0.99]}, nesterov: [true, false]}
      adamw: {lr: {float: [1e-4, 3e-2], log: true}, weight_decay: {float: [1e-6, 1e-1], log: true}}
  batch_size: [64, 128, 256]
  warmup: {when: {training.optimizer: sgd, .batch_size: [128, 256]}, epochs: {int: [0, 3]}}
forbid:
  - {training.batch_size: 256, training.optimizer: sgd}
  - {body.conv.kernel: 5, body.conv.stride: 2}
"""


def test_the_sketch_is_read_as_it_is_meant():
    space = parse(SKETCH, "image.yaml", "image")
    conv = {"kernel": [3, 5], "width": Integer(8, 96, step=8), "stride": [1, 2], "act": ["relu", "silu"]}
    mbconv = {"expand": [1, 3, 6], "kernel": When({".expand": ">=3"}, [3, 5]), "stride": 1, "se": [True, False]}
    lstm = {"hidden": Integer(16, 96, step=16), "bidirectional": [True, False]}
    sgd = {"lr": Float(1e-3, 1, log=True), "momentum": Float(0, 0.99), "nesterov": [True, False]}
    adamw = {"lr": Float(1e-4, 3e-2, log=True), "weight_decay": Float(1e-6, 0.1, log=True)}
    by_hand = Space(
        name="image",
        input="image",
        root={
            "stem": {"conv": {"width": Integer(8, 32, step=8), "stride": [1, 2]}},
            "body": Repeat(Integer(1, 4), Choice({"conv": conv, "mbconv": mbconv, "lstm": lstm, "skip": {}})),
            "head": {"pool": {"dropout": Float(0, 0.5)}},
            "training": {
                "optimizer": Choice({"sgd": sgd, "adamw": adamw}),
                "batch_size": [64, 128, 256],
                "warmup": When({"training.optimizer": "sgd", ".batch_size": [128, 256]}, {"epochs": Integer(0, 3)}),
            },
        },
        forbid=[
            {"training.batch_size": 256, "training.optimizer": "sgd"},
            {"body.conv.kernel": 5, "body.conv.stride": 2},
        ],
    )
    assert repr(space) == repr(by_hand)
    # 4 x 2 stems; blocks 96 + 3 x 2 x 2 + 12 + 1 = 121; (2 + 1) optimisers x 3 x 4
    assert space.count() == (8 * (121 + 121**2 + 121**3 + 121**4) * 3 * 3 * 4, 5)
    assert space.bounded


def test_the_spaces_of_the_readme_are_read():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    plain, believing = (parse(text, "README.md") for text in re.findall("```yaml\n(input:.*?)```", readme, re.DOTALL))
    assert all(slot.parameter.prior is None for slot in plain.slots.values())
    assert {slot.role: slot.parameter.prior for slot in believing.slots.values() if slot.parameter.prior} == {
        "body.repeat": Centre(4),
        "body": (3, 1, 1),
        "body.conv.kernel": (1, 2, 1),
        "training.optimizer.sgd.lr": Centre(0.1),
        "training.optimizer.sgd.momentum": Centre(0.9, 0.8),
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("stem.conv.width", 3),
        ("body.repeat", 5),
        ("body.0.conv.kernel", 8),
        ("body.3.mbconv.kernel", 9),
        ("body.mbconv.kernel", 9),
        ("training.optimizer.adamw.lr", 17),
    ],
)
def test_a_path_remembers_its_line(path, line):
    assert parse(SKETCH, "image.yaml").where(path) == f"image.yaml:{line}: {path}"


def test_every_keyword_is_reserved():
    assert {"int", "float", "options", "value", "choice", "chain", "repeat", "block", "when"} == KEYWORDS


HEAD = "input: vector\nhead: {pool: {}}\n"  # what follows begins in line 3


def body(text):
    return parse(f"{HEAD}body: {text}\n").root.fields["body"]


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("1e-3", Fixed(0.001)),
        ("1E5", Fixed(100000.0)),
        ("-.5", Fixed(-0.5)),
        ("+1", Fixed(1)),
        ("1.", Fixed(1.0)),
        ("010", Fixed(10)),
        ("-007", Fixed(-7)),
        ("1_000", Fixed(1000)),
        ("0x10", Fixed("0x10")),
        ("1:30", Fixed("1:30")),
        ("2001-01-01", Fixed("2001-01-01")),
        ("no", Fixed("no")),
        ("[on, off, yes, No, y, n]", Categorical(("on", "off", "yes", "No", "y", "n"))),
        ("[true, False]", Categorical((True, False))),
        ("'3'", Fixed("3")),
        ('"1e-3"', Fixed("1e-3")),
        ("=", Fixed("=")),
        ("{value: 3}", Fixed(3)),
        ("{options: [3]}", Categorical((3,))),
        ("{chain: [a, b]}", Chain((Fixed("a"), Fixed("b")))),
        ("[{conv: {}}, 3]", Chain((Group({"conv": {}}), Fixed(3)))),
        ("[[3, 5]]", Chain((Categorical((3, 5)),))),
        ("{choice: [no, on]}", Choice({"no": {}, "on": {}})),
        ("{choice: {conv: , pool: ~}}", Choice({"conv": {}, "pool": {}})),
        ("{repeat: 0, block: {}}", Repeat(0, {})),
        ("{repeat: [1, 3], block: [a, b]}", Repeat([1, 3], ["a", "b"])),
        ("{float: [1, 2], step: 0.5}", Float(1.0, 2.0, step=0.5)),
        ("{int: [1, 8], log: true, }", Integer(1, 8, log=True)),
        ("{options: [3, 5, 7], prior: [1, 2, 1]}", Categorical((3, 5, 7), prior=(1, 2, 1))),
        ("{options: [3, 5, 7], prior: {5: 3}}", Categorical((3, 5, 7), prior=(1, 3, 1))),
        ("{options: [3, 5, 7], prior: {5.0: 0}}", Categorical((3, 5, 7), prior=(1, 0, 1))),
        ("{options: [true, 'true'], prior: {true: .5}}", Categorical((True, "true"), prior=(0.5, 1))),
        ("{options: [no, yes], prior: {yes: 2}}", Categorical(("no", "yes"), prior=(1, 2))),
        ("{int: [2, 8], prior: 4}", Integer(2, 8, prior=Centre(4))),
        ("{int: [8, 32], step: 8, prior: 20}", Integer(8, 32, step=8, prior=Centre(20))),  # between two steps
        ("{float: [1e-4, 1e-1], log: true, prior: 0.01}", Float(1e-4, 0.1, log=True, prior=Centre(0.01))),
        ("{float: [0, 1], prior: {centre: 1, confidence: 0.8}}", Float(0, 1, prior=Centre(1, 0.8))),
        ("{float: [0, 1], prior: {centre: 0.9}}", Float(0, 1, prior=Centre(0.9))),
        ("{choice: [a, b], prior: [0, 1]}", Choice(["a", "b"], prior=(0, 1))),
        ("{choice: {a: {k: [3, 5]}, b: }, prior: {b: 3}}", Choice({"a": {"k": [3, 5]}, "b": {}}, prior=(1, 3))),
        ("{repeat: {int: [2, 8], prior: 4}, block: {}}", Repeat(Integer(2, 8, prior=Centre(4)), {})),
        ("{repeat: {options: [1, 3], prior: {3: 2}}, block: {}}", Repeat(Categorical((1, 3), prior=(1, 2)), {})),
        (
            "{a: [x, y], b: {options: [3, 5], prior: {5: 3}, when: {.a: x}}}",
            Group({"a": ["x", "y"], "b": When({".a": "x"}, Categorical((3, 5), prior=(1, 3)))}),
        ),
        (
            "{a: [x, y], b: {choice: [c, d], when: {.a: x}, prior: {d: 3}}}",
            Group({"a": ["x", "y"], "b": When({".a": "x"}, Choice(["c", "d"], prior=(1, 3)))}),
        ),
        ("{prior: 3, step: [1, 2]}", Group({"prior": 3, "step": [1, 2]})),  # a field may have such a name
        ("{}", Group({})),
        ("{a: &k [3, 5], b: *k}", Group({"a": [3, 5], "b": [3, 5]})),
        ("{a: &c {k: 3, w: 8}, b: {<<: *c, w: 9}}", Group({"a": {"k": 3, "w": 8}, "b": {"k": 3, "w": 9}})),
        (
            "[&p {a: 1, b: 1}, &q {b: 2, c: 2}, {<<: [*p, *q], c: 3}]",
            Chain(({"a": 1, "b": 1}, {"b": 2, "c": 2}, {"a": 1, "b": 1, "c": 3})),
        ),
    ],
)
def test_details_of_yaml(text, node):
    assert repr(body(text)) == repr(node)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "windows.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SKETCH.replace("\n", "\r\n").encode())
    assert repr(Space.from_yaml(path)) == repr(parse(SKETCH, name="windows"))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
LAUGHS = (
    "{int: [&a [1,1,1,1,1,1,1,1,1,1], "
    + ", ".join(f"&{b} [{','.join([f'*{a}'] * 10)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]}"
)

# name: (text, the line that is named, what else the message must say)
MISTAKES = {
    # not YAML
    "open bracket": (HEAD + "body: [3, 5\n", 4, ["not YAML", "','"]),
    "open quote": (HEAD + "body: 'a\n", 4, ["not YAML", "quoted"]),
    "two colons": (HEAD + "body: a: b\n", 3, ["not YAML", "mapping values are not allowed"]),
    "tab": (HEAD + "body:\n\tconv: {}\n", 4, ["not YAML", "\\t", "spaces for tabs"]),
    "tab in a value": (HEAD + "body:\n  conv:\t{}\n", 4, ["not YAML", "spaces for tabs"]),
    "bad indent": (HEAD + "body:\n  conv: {}\n pool: {}\n", 5, ["not YAML"]),
    "control character": (HEAD + "body: {a: \x07}\n", 3, ["not YAML", "'\\x07'"]),
    "zero byte": ("\0", 1, ["not YAML", "'\\x00'"]),
    "escape of no character": (HEAD + 'body: {a: "\\UFFFFFFFF"}\n', 3, ["not YAML"]),
    "two documents": (HEAD + "body: {}\n---\nbody: {}\n", 4, ["not YAML", "another document"]),
    "unknown alias": (HEAD + "body: *a\n", 3, ["not YAML", "'a'"]),
    # tops
    "empty": ("", None, ["a mapping with input, body, head", "empty"]),
    "only a comment": ("# nothing\n", None, ["empty"]),
    "list at the top": ("- body: {}\n", 1, ["a mapping with input, body, head", "a list"]),
    "word at the top": ("body", 1, ["a mapping with input, body, head", "one value"]),
    "unknown section": (HEAD + "body: {}\ntrainig: {}\n", 4, ["'trainig'", "Did you mean 'training'"]),
    "misspelt input": ("inptu: vector\nhead: {}\nbody: {}\n", 1, ["'inptu'", "Did you mean 'input'"]),
    "no input": ("body: {}\nhead: {}\n", 1, ["'input' is missing", "input: image"]),
    "no body": ("input: image\nhead: {}\n", 1, ["'body' is missing", "body: {repeat"]),
    "no head": ("input: image\nbody: {}\n", 1, ["'head' is missing", "head: {pool: {}}"]),
    "unknown input": ("input: images\nhead: {}\nbody: {}\n", 1, ["input", "'images'", "Did you mean 'image'"]),
    "input a list": ("input: [image]\nhead: {}\nbody: {}\n", 1, ["input", "['image']"]),
    "empty body": (HEAD + "body:\n", 3, ["body", "nothing", "{}"]),
    "empty field": (HEAD + "body: {conv: {kernel: }}\n", 3, ["body.conv.kernel", "nothing"]),
    # keys
    "duplicate section": (HEAD + "body: {}\nbody: {}\n", 4, ["'body' is written twice"]),
    "duplicate key": (HEAD + "body:\n  kernel: 3\n  kernel: 5\n", 5, ["body", "'kernel' is written twice"]),
    "duplicate option": (HEAD + "body:\n  choice:\n    a: {}\n    a: {}\n", 6, ["body", "'a' is written twice"]),
    "key a number": (HEAD + "body:\n  3: 5\n", 4, ["body", "a key is a word, got 3"]),
    "key true": (HEAD + "body: {true: 5}\n", 3, ["body", "a key is a word, got True"]),
    "key a list": (HEAD + "body: {? [a, b] : 5}\n", 3, ["body", "['a', 'b']"]),
    "key a mapping": (HEAD + "body: {? {a: b} : 5}\n", 3, ["body", "{'a': 'b'}"]),
    "key with a dot": (HEAD + "body: {a.b: 5}\n", 3, ["body", "'a.b'", "letters, digits"]),
    "key with a dash": (HEAD + "body: {my-conv: 5}\n", 3, ["body", "'my-conv'", "letters, digits"]),
    "key with a line": (HEAD + 'body: {"a\\n": 5}\n', 3, ["body", "'a\\n'"]),
    "key a bad integer": (HEAD + "body: {? " + "9" * 5000 + " : 5}\n", 3, ["body", "4300"]),
    "merge of no mapping": (HEAD + "body: {<<: 3, a: 5}\n", 3, ["body", "<<", "3"]),
    # categories and constants
    "no options": (HEAD + "body: {kernel: []}\n", 3, ["body.kernel", "[]", "e.g. [3, 5, 7]"]),
    "no options, long": (HEAD + "body: {kernel: {options: []}}\n", 3, ["body.kernel", "at least one option"]),
    "options a number": (HEAD + "body: {kernel: {options: 3}}\n", 3, ["body.kernel", "a list, got 3"]),
    "option twice": (HEAD + "body:\n  kernel: [3, 5, 3]\n", 4, ["body.kernel", "3", "twice"]),
    "option null": (HEAD + "body: {kernel: [3, ~]}\n", 3, ["body.kernel", "nothing"]),
    "option nan": (HEAD + "body: {rate: [0.1, .nan]}\n", 3, ["body.rate", "nan", "finite"]),
    "constant nan": (HEAD + "body: {rate: .nan}\n", 3, ["body.rate", "nan", "finite"]),
    "constant too large": (HEAD + "body: {rate: 1e999}\n", 3, ["body.rate", "inf", "finite"]),
    "word of two lines": (HEAD + 'body: {act: "a\\nb"}\n', 3, ["body.act", "'a\\nb'", "one line"]),
    "half a character": (HEAD + 'body: {act: "\\uD800"}\n', 3, ["body.act", "printable"]),
    # ranges
    "low above high": (HEAD + "body:\n  k: {int: [5, 3]}\n", 4, ["body.k", "[5, 3]", "low <= high", "[3, 5]"]),
    "low above high, float": (HEAD + "body: {r: {float: [1, 0.5]}}\n", 3, ["body.r", "[1, 0.5]", "[0.5, 1]"]),
    "log of zero": (HEAD + "body: {r: {float: [0, 1], log: true}}\n", 3, ["body.r", "log", "above 0", "[0, 1]"]),
    "log of zero, int": (HEAD + "body: {k: {int: [0, 8], log: true}}\n", 3, ["body.k", "log", "[0, 8]"]),
    "log below zero": (HEAD + "body: {r: {float: [-1, 1], log: true}}\n", 3, ["body.r", "[-1, 1]"]),
    "log a word": (HEAD + "body: {r: {float: [1, 2], log: yes}}\n", 3, ["body.r", "log", "true or false", "'yes'"]),
    "log with step": (HEAD + "body: {k: {int: [1, 9], log: true, step: 2}}\n", 3, ["body.k", "log", "step: 2"]),
    "step misses high": (HEAD + "body: {k: {int: [8, 30], step: 8}}\n", 3, ["body.k", "[8, 30]", "write 24 or 32"]),
    "step misses, float": (HEAD + "body: {r: {float: [0, 1], step: 0.3}}\n", 3, ["body.r", "0.3", "write 0.9 or 1.2"]),
    "step zero": (HEAD + "body: {k: {int: [0, 4], step: 0}}\n", 3, ["body.k", "step", "0"]),
    "step a float": (HEAD + "body: {k: {int: [0, 4], step: 2.0}}\n", 3, ["body.k", "step", "2.0"]),
    "step a list": (HEAD + "body: {k: {int: [0, 4], step: [2]}}\n", 3, ["body.k", "[2]"]),
    "steps without end": (HEAD + "body: {r: {float: [0, 1], step: 1e-300}}\n", 3, ["body.r", "1e-300"]),
    "bound a word": (HEAD + "body: {k: {int: [a, 4]}}\n", 3, ["body.k", "low", "'a'"]),
    "bound a float": (HEAD + "body: {k: {int: [1.5, 4]}}\n", 3, ["body.k", "low", "1.5", "integer"]),
    "bound true": (HEAD + "body: {k: {float: [true, 4]}}\n", 3, ["body.k", "low", "True"]),
    "bound quoted": (HEAD + "body: {k: {float: [0, '4']}}\n", 3, ["body.k", "high", "'4'"]),
    "bound nan": (HEAD + "body: {r: {float: [0, .nan]}}\n", 3, ["body.r", "high", "nan"]),
    "bound inf": (HEAD + "body: {r: {float: [-.inf, 0]}}\n", 3, ["body.r", "low", "inf"]),
    "bound null": (HEAD + "body: {r: {float: [~, 0]}}\n", 3, ["body.r", "low", "None"]),
    "bound of 400 digits": (HEAD + "body: {r: {float: [0, 1" + "0" * 400 + "]}}\n", 3, ["body.r", "high", "10^12"]),
    "bound of 5000 digits": (HEAD + "body: {r: {float: [0, 1" + "0" * 5000 + "]}}\n", 3, ["body.r", "digits"]),
    "one bound": (HEAD + "body: {k: {int: 4}}\n", 3, ["body.k", "[low, high], got 4", "e.g. int: [1, 8]"]),
    "three bounds": (HEAD + "body: {k: {int: [1, 2, 3]}}\n", 3, ["body.k", "[1, 2, 3]", "[low, high]"]),
    "bounds a mapping": (HEAD + "body: {k: {int: {low: 1}}}\n", 3, ["body.k", "{'low': 1}", "[low, high]"]),
    "extra key beside int": (
        HEAD + "body:\n  k: {int: [1, 4], stp: 1}\n",
        4,
        ["body.k", "'stp'", "Did you mean 'step'"],
    ),
    "extra key beside choice": (HEAD + "body: {choice: [a], block: {}}\n", 3, ["body", "'block'", "when"]),
    "two kinds": (HEAD + "body: {k: {int: [1, 4], float: [0, 1]}}\n", 3, ["body.k", "'int'", "'float'"]),
    # priors
    "prior of no option": (HEAD + "body: {k: {options: [3, 5], prior: {7: 2}}}\n", 3, ["body.k", "7 is not", "[3, 5]"]),
    "prior of a misspelt option": (
        HEAD + "body:\n  choice: [conv, lstm]\n  prior:\n    conv: 3\n    lstmm: 2\n",
        7,
        ["body", "'lstmm'", "Did you mean 'lstm'"],
    ),
    "prior of a quoted number": (
        HEAD + "body: {k: {options: [3, 5], prior: {'5': 2}}}\n",
        3,
        ["body.k", "'5' is not", "[3, 5]", "as it is written"],
    ),
    "prior of one and true": (
        HEAD + "body: {k: {options: [1, 2], prior: {true: 2}}}\n",
        3,
        ["body.k", "True is not", "[1, 2]"],
    ),
    "prior of an option twice": (
        HEAD + "body: {k: {options: [1, 2], prior: {1: 2, 1.0: 3}}}\n",
        3,
        ["body.k", "'1.0' is written twice"],
    ),
    "weight below zero": (
        HEAD + "body:\n  k:\n    options: [3, 5]\n    prior:\n      3: 1\n      5: -2\n",
        8,
        ["body.k", "at least 0, got -2 for 5", "write 0"],
    ),
    "weight below zero, listed": (HEAD + "body: {k: {options: [3, 5], prior: [-1, 1]}}\n", 3, ["-1 for 3", "write 0"]),
    "weights all zero": (HEAD + "body: {k: {options: [3, 5], prior: [0, 0]}}\n", 3, ["body.k", "above 0", "leave out"]),
    "weights all zero, named": (
        HEAD + "body:\n  choice: [a, b]\n  prior: {a: 0, b: 0}\n",
        5,
        ["body", "above 0", "leave out"],
    ),
    "weights too few": (
        HEAD + "body: {k: {options: [3, 5, 7], prior: [1, 2]}}\n",
        3,
        ["body.k", "got 2 for 3", "write 3", "e.g. {3: 2}"],
    ),
    "weight nan": (HEAD + "body: {k: {options: [3, 5], prior: [1, .nan]}}\n", 3, ["body.k", "weight of 5", "finite"]),
    "weight inf": (HEAD + "body: {k: {options: [3, 5], prior: {3: .inf}}}\n", 3, ["body.k", "weight of 3", "finite"]),
    "weight a word": (
        HEAD + "body: {k: {options: [3, 5], prior: {3: high}}}\n",
        3,
        ["body.k", "weight of 3", "'high'"],
    ),
    "weight true": (HEAD + "body: {k: {options: [3, 5], prior: [true, 1]}}\n", 3, ["body.k", "weight of 3", "True"]),
    "weight null": (HEAD + "body: {k: {options: [3, 5], prior: {3: }}}\n", 3, ["body.k", "weight of 3", "nothing"]),
    "weight a list": (HEAD + "body: {k: {options: [3, 5], prior: {3: [1]}}}\n", 3, ["body.k", "weight of 3", "[1]"]),
    "prior of options a number": (HEAD + "body: {k: {options: [3, 5], prior: 5}}\n", 3, ["body.k", "got 5", "{3: 2}"]),
    "prior of options empty": (HEAD + "body: {k: {options: [3, 5], prior: {}}}\n", 3, ["body.k", "got {}", "{3: 2}"]),
    "prior null": (HEAD + "body: {choice: [a, b], prior: }\n", 3, ["body", "nothing", "leave it out"]),
    "prior with a centre of options": (
        HEAD + "body: {k: {options: [3, 5], prior: {centre: 3}}}\n",
        3,
        ["body.k", "'centre'", "[3, 5]"],
    ),
    "centre below": (
        HEAD + "body:\n  lr:\n    float: [1e-4, 0.1]\n    prior: 0.2\n",
        6,
        ["body.lr", "float: [0.0001, 0.1]", "got 0.2", "widen"],
    ),
    "centre above, int": (
        HEAD + "body: {repeat: {int: [2, 8], prior: 9}, block: {}}\n",
        3,
        ["body.repeat", "[2, 8]", "9"],
    ),
    "centre a word": (HEAD + "body: {k: {int: [2, 8], prior: high}}\n", 3, ["body.k", "centre", "'high'"]),
    "centre nan": (HEAD + "body: {k: {int: [2, 8], prior: .nan}}\n", 3, ["body.k", "centre", "finite"]),
    "centre of 400 digits": (HEAD + f"body: {{k: {{int: [2, 8], prior: 1{'0' * 400}}}}}\n", 3, ["body.k", "10^12"]),
    "centre null": (HEAD + "body: {k: {int: [2, 8], prior: }}\n", 3, ["body.k", "centre", "nothing"]),
    "weights of a range": (HEAD + "body: {k: {int: [2, 3], prior: [1, 2]}}\n", 3, ["body.k", "centre", "[1, 2]"]),
    "confidence of one": (
        HEAD + "body: {k: {int: [2, 8], prior: {centre: 4, confidence: 1}}}\n",
        3,
        ["body.k", "between 0 and 1, got 1", "0.9"],
    ),
    "confidence of zero": (
        HEAD + "body: {k: {int: [2, 8], prior: {centre: 4, confidence: 0.0}}}\n",
        3,
        ["body.k", "between 0 and 1, got 0"],
    ),
    "confidence in per cent": (
        HEAD + "body: {k: {int: [2, 8], prior: {centre: 4, confidence: 80 %}}}\n",
        3,
        ["body.k", "confidence", "'80 %'", "0.5"],
    ),
    "no centre": (
        HEAD + "body: {k: {int: [2, 8], prior: {confidence: 0.8}}}\n",
        3,
        ["body.k", "'centre' is missing", "write e.g."],
    ),
    "other spelling": (
        HEAD + "body:\n  k:\n    int: [2, 8]\n    prior:\n      confidence: 0.8\n      center: 4\n",
        8,
        ["body.k", "'center'", "Did you mean 'centre'"],
    ),
    "prior of a constant": (HEAD + "body: {k: {value: 3, prior: 3}}\n", 3, ["body.k", "'prior'", "beside 'value'"]),
    "prior misspelt": (HEAD + "body: {k: {int: [2, 8], priro: 3}}\n", 3, ["body.k", "'priro'", "Did you mean 'prior'"]),
    "prior beside a repeat": (
        HEAD + "body: {repeat: {int: [2, 8]}, prior: 4, block: {}}\n",
        3,
        ["body", "beside 'repeat'", "'prior'"],
    ),
    # choices, chains, repeats
    "choice of nothing": (HEAD + "body: {choice: {}}\n", 3, ["body", "at least one option", "e.g. choice"]),
    "choice of no names": (HEAD + "body: {choice: []}\n", 3, ["body", "at least one option"]),
    "choice a word": (HEAD + "body: {choice: conv}\n", 3, ["body", "got 'conv'"]),
    "choice named twice": (HEAD + "body:\n  choice:\n  - a\n  - a\n", 6, ["body", "'a'", "twice"]),
    "choice of numbers": (HEAD + "body: {choice: [3, 5]}\n", 3, ["body", "got 3"]),
    "option a list": (HEAD + "body: {choice: {conv: [3, 5]}}\n", 3, ["body.conv", "write conv: {}"]),
    "option with a when": (HEAD + "body: {choice: {conv: {when: {input: 3}}}}\n", 3, ["body.conv"]),
    "chain a word": (HEAD + "body: {chain: conv}\n", 3, ["body", "list", "'conv'"]),
    "chain of nothing": (HEAD + "body: {chain: []}\n", 3, ["body", "at least one item"]),
    "repeat without block": (HEAD + "body: {repeat: 3}\n", 3, ["body", "needs a block", "{repeat: 3, block: "]),
    "block without repeat": (HEAD + "body: {repeet: 3, block: {}}\n", 3, ["body", "'block'", "repeat"]),
    "negative count": (HEAD + "body: {repeat: -1, block: {}}\n", 3, ["body", "-1", "0 to 1000", "int: [1, 4]"]),
    "negative count in a range": (HEAD + "body: {repeat: {int: [-1, 2]}, block: {}}\n", 3, ["body", "-1"]),
    "count a word": (HEAD + "body: {repeat: many, block: {}}\n", 3, ["body", "'many'", "0 to 1000"]),
    "count a float": (HEAD + "body: {repeat: [1, 2.5], block: {}}\n", 3, ["body", "2.5"]),
    "count a float range": (HEAD + "body: {repeat: {float: [1, 2]}, block: {}}\n", 3, ["body", "a number from 1 to 2"]),
    "count too large": (HEAD + "body: {repeat: 100000, block: {}}\n", 3, ["body", "100000", "1000"]),
    "repeats of repeats": (
        HEAD + "body: {repeat: 1000, block: {repeat: 1000, block: {repeat: 1000, block: {}}}}\n",
        3,
        ["body.0.", "100,000 nodes", "lower"],
    ),
    # conditions
    "when on an unknown path": (
        HEAD + "body:\n  a: [1, 2]\n  b: {value: 3, when: {body.aa: 1}}\n",
        5,
        ["body.b", "body.aa", "Did you mean 'body.a'"],
    ),
    "when on a later path": (
        HEAD + "body:\n  b: {value: 3, when: {.a: 1}}\n  a: [1, 2]\n",
        4,
        ["body.b", "body.a", "comes later", "before"],
    ),
    "when on itself": (HEAD + "body: {b: {options: [3], when: {.b: 3}}}\n", 3, ["body.b", "comes later"]),
    "when on a role": (
        HEAD + "body:\n  repeat: 2\n  block: {a: [1, 2], b: {value: 3, when: {body.a: 1}}}\n",
        5,
        ["body.0.b", "body.a", "Did you mean 'body.0.a'"],
    ),
    "when of an impossible value": (
        HEAD + "body:\n  a: [1, 2]\n  b: {value: 3, when: {.a: 7}}\n",
        5,
        ["body.b", "body.a", "7", "one of 1, 2"],
    ),
    "when of an impossible list": (
        HEAD + "body:\n  a: {int: [2, 8], step: 2}\n  b: {value: 3, when: {.a: [2, 3]}}\n",
        5,
        ["body.b", "body.a", "3", "from 2 to 8 in steps of 2"],
    ),
    "when of an impossible comparison": (
        HEAD + "body:\n  a: {int: [2, 8]}\n  b: {value: 3, when: {.a: '>8'}}\n",
        5,
        ["body.b", "body.a", ">8", "from 2 to 8"],
    ),
    "when compares a word": (
        HEAD + "body:\n  a: [x, y]\n  b: {value: 3, when: {.a: '>8'}}\n",
        5,
        ["body.b", "body.a", ">8", "one of x, y"],
    ),
    "when compares with no number": (
        HEAD + "body:\n  a: [1, 2]\n  b: {value: 3, when: {.a: '>=x'}}\n",
        5,
        ["body.b", "'>=x'", "e.g. '>=3'"],
    ),
    "when is true": (HEAD + "body: {a: {value: 3, when: true}}\n", 3, ["body.a", "True", "write e.g. when: {"]),
    "when is empty": (HEAD + "body: {a: {value: 3, when: {}}}\n", 3, ["body.a", "{}", "write e.g. when: {"]),
    "when of nan": (HEAD + "body: {a: 1, b: {value: 3, when: {.a: .nan}}}\n", 3, ["body.b", "nan"]),
    "when twice on a path": (
        HEAD + "body: {a: [1, 2], b: {value: 3, when: {.a: 1, .a: 2}}}\n",
        3,
        ["body.b", "'.a' is written twice"],
    ),
    # forbidden combinations
    "forbid a mapping": (HEAD + "body: {a: [1, 2]}\nforbid: {body.a: 1}\n", 4, ["forbid", "list", "write - {"]),
    "forbid an unknown path": (
        HEAD + "body: {a: [1, 2]}\nforbid:\n  - {body.a: 1}\n  - {body.aa: 1}\n",
        6,
        ["forbid", "'body.aa'", "Did you mean 'body.a'"],
    ),
    "forbid an impossible value": (
        HEAD + "body: {a: [1, 2]}\nforbid:\n  - {body.a: 7}\n",
        5,
        ["forbid", "body.a", "7", "one of 1, 2"],
    ),
    "forbid twice a path": (HEAD + "body: {a: [1, 2]}\nforbid:\n  - {body.a: 1, body.a: 2}\n", 5, ["forbid", "twice"]),
    "forbid a word": (HEAD + "body: {a: [1, 2]}\nforbid: [body.a]\n", 4, ["forbid", "'body.a'", "write e.g. - {"]),
    "forbid nothing": (HEAD + "body: {a: [1, 2]}\nforbid: [{}]\n", 4, ["forbid", "{}", "write e.g. - {"]),
    "forbid a number": (HEAD + "body: {a: [1, 2]}\nforbid: [{3: 1}]\n", 4, ["forbid", "a key is a word, got 3"]),
    # what is not needed
    "python tag": (HEAD + "body: !!python/object/apply:os._exit [3]\n", 3, ["a tag is not allowed", "os._exit"]),
    "python tag as key": (HEAD + "body: {!!python/name:os.system : 3}\n", 3, ["a tag is not allowed", "os.system"]),
    "python tag on a mapping": (HEAD + "body: !!python/object:os.x {a: 3}\n", 3, ["a tag is not allowed", "os.x"]),
    "timestamp tag": (HEAD + "body: {a: !!timestamp x}\n", 3, ["a tag is not allowed", "timestamp"]),
    "own tag": (HEAD + "body: {a: !conv x}\n", 3, ["a tag is not allowed", "'!conv'"]),
    "deep": (HEAD + "body: " + "[" * 5000 + "]" * 5000 + "\n", 3, ["nested more than 40 levels"]),
    "deep, in lines": (HEAD + "body:\n" + "".join(" " * i + "a:\n" for i in range(1, 100)), 42, ["40 levels"]),
    "recursive": (HEAD + "body: &a {b: *a}\n", 3, ["*a"]),
    "bomb": (BOMB, 5, ["more than 20,000 values"]),
    "bomb in a bound": (HEAD + f"body: {LAUGHS}\n", 3, ["more than 20,000 values"]),
}


@pytest.mark.parametrize(("text", "line", "needles"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_where_what_and_how_to_mend_it(tmp_path, text, line, needles):
    path = tmp_path / "space.yaml"
    path.write_bytes(text.encode())
    start = time.perf_counter()
    with pytest.raises(SpaceError) as caught:
        Space.from_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}:" if line else f"{path}:")
    assert message.count(str(path)) == 1
    for needle in needles:
        assert needle in message
    assert len(message) < 6000
    assert time.perf_counter() - start < 5  # a bomb would take hours


def test_files_that_cannot_be_read(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("input: image # größe\n".encode("latin-1"))
    for path, needle in [
        (tmp_path, "directory"),
        (tmp_path / "none.yaml", "no space file"),
        (latin, "save it as UTF-8"),
        ("a\0b", "null"),
        ("x" * 5000, "too long"),
    ]:
        with pytest.raises(SpaceError) as caught:
            Space.from_yaml(path)
        assert needle in str(caught.value)
        assert repr(str(path))[1:-1] in str(caught.value)


def test_a_file_of_a_name_like_a_message_still_has_its_place():
    with pytest.raises(SpaceError) as caught:
        parse(f"{HEAD}body: {{k: []}}\n", "a")
    assert str(caught.value).startswith("a:3: body.k: a choice needs")


# Fuzzing: whatever the text, it is a space or a SpaceError.


def read_or_refuse(text):
    with contextlib.suppress(SpaceError):
        space = parse(text, "fuzz.yaml")
        assert repr(parse(space.to_yaml())) == repr(Space(space.input, space.root, space.forbid))
        space.fingerprint(), space.count(), space.bounded
        space.contains(space.sample(np.random.default_rng(0)))


calm = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
TOKENS = [
    ": ",
    "- ",
    "\n",
    "\n  ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "'",
    '"',
    "#",
    "&a ",
    "*a",
    "!!",
    "!!int ",
    "!x ",
    "|",
    ">",
    "%",
    "@",
]
TOKENS += [
    "? ",
    "<<: ",
    "~",
    "null",
    ".nan",
    ".inf",
    "1e999",
    "-1",
    "0",
    "9" * 20,
    "true",
    "\t",
    "\0",
    "\x85",
    "\ufeff",
    "\ud800",
]
TOKENS += [
    "int: ",
    "float: ",
    "choice: ",
    "repeat: ",
    "block: ",
    "when: ",
    "value: ",
    "options: ",
    "chain: ",
    "prior: ",
    "{centre: 1}",
    "forbid: ",
    "é",
]
TOKENS += [
    "[1, 2]",
    "{}",
    "[]",
    "body.0",
    ".kernel",
    "'>=3'",
    "---",
    "...",
    "\\",
    '"\\x00"',
    "2001-01-01",
    "0o7",
    "1_0",
]


@given(st.text() | st.lists(st.sampled_from(TOKENS) | st.text(string.printable, max_size=3)).map("".join))
@example("a: !!binary x")
@example("? ")
@example('"\\U99999999"')
@example("%YAML " + "9" * 5000 + ".1\n---\n")
@calm
def test_any_text_is_read_or_refused(text):
    read_or_refuse(text)
    read_or_refuse(f"{HEAD}body: {text}")


LINES = SKETCH.splitlines(keepends=True)
places = st.integers(0, len(SKETCH))


@given(st.lists(st.tuples(places, st.integers(0, 12), st.sampled_from(TOKENS) | st.just("")), min_size=1, max_size=4))
@calm
def test_a_damaged_file_is_read_or_refused(damages):
    text = SKETCH
    for start, length, new in damages:
        text = text[:start] + new + text[start + length :]
    read_or_refuse(text)


@given(st.lists(st.sampled_from(LINES), max_size=30), st.data())
@settings(calm, max_examples=50)
def test_shuffled_lines_are_read_or_refused(lines, data):
    read_or_refuse("".join(lines))
    read_or_refuse("".join(data.draw(st.permutations(LINES))))


@given(st.binary(max_size=60))
@settings(calm, max_examples=100)
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = Path(tmp_path_factory.getbasetemp()) / "bytes.yaml"
    path.write_bytes(content)
    with contextlib.suppress(SpaceError):
        Space.from_yaml(path)


def test_a_large_honest_space_is_read_quickly():
    blocks = "".join(f"      b{i}: {{kernel: [3, 5], width: {{int: [8, 96], step: 8}}}}\n" for i in range(300))
    start = time.perf_counter()
    space = parse(f"{HEAD}body:\n  repeat: {{int: [1, 20]}}\n  block:\n    choice:\n{blocks}")
    assert len(space.slots) == 1 + 20 * (1 + 300 * 2)
    assert time.perf_counter() - start < 20
