"""A space against the parts there are, before anything is searched: what is wrong, where, and what was meant."""

import pytest

from nas.build import check_buildable
from nas.catalog import find_space, shipped
from nas.errors import SpaceError
from nas.space import Choice, Space
from nas.space.yaml import parse
from nas.study.check import check_space, check_targets, check_task, precisions

GOOD = """\
input: image
stem: {conv: {width: 8}}
body:
  repeat: {int: [1, 3]}
  block:
    choice:
      conv: {width: [8, 16], kernel: [3, 5]}
      transformer: {dim: [16, 32], heads: [2, 4]}
      maxpool: {}
head: {pool: {dropout: {float: [0.0, 0.3]}}}
training:
  epochs: 3
  batch_size: [32, 64]
  optimizer: {choice: {sgd: {lr: {float: [0.01, 0.1]}}, adamw: {lr: 0.01}}}
  schedule: [cosine, constant]
  augment: {choice: {none: {}, crop: {pad: 1}}}
deploy: {precision: [fp32, int8_static]}
"""


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_space_is_sound(name):
    check_space(find_space(name))


def test_the_space_that_is_spoilt_below_is_sound():
    check_space(parse(GOOD))


@pytest.mark.parametrize(
    ("old", "new", "line", "needles"),
    [
        ("maxpool: {}", "maxpol: {}", 9, ["body.0.maxpol", "no block called 'maxpol'", "'maxpool'"]),
        ("stem: {conv: ", "stem: {cnov: ", 2, ["stem.cnov", "Did you mean 'conv'?"]),
        ("kernel: [3, 5]", "kernal: [3, 5]", 7, ["body.0.conv.kernal", "no field called 'kernal'", "'kernel'"]),
        ("maxpool: {}", "maxpool: {size: 2}", 9, ["body.0.maxpool.size", "no field called 'size'"]),
        ("kernel: [3, 5]", "kernel: [3, 4]", 7, ["body.0.conv.kernel", "odd", "4"]),
        ("kernel: [3, 5]", "kernel: [3, five]", 7, ["body.0.conv.kernel", "an integer", "'five'"]),
        ("width: [8, 16]", "width: {int: [-8, 16]}", 7, ["body.0.conv.width", "-8"]),
        ("heads: [2, 4]", "heads: [2, 5]", 8, ["body.0.transformer.heads", "heads=5"]),
        ("{pool: {dropout", "{pol: {dropout", 10, ["head.pol", "no head called 'pol'", "'pool'"]),
        ("float: [0.0, 0.3]", "float: [0.0, 1.3]", 10, ["head.pool.dropout", "must be in [0, 1)"]),
        ("sgd: {lr", "sdg: {lr", 14, ["training.optimizer.sdg", "no optimizer called 'sdg'", "'sgd'"]),
        ("adamw: {lr: 0.01}", "adamw: {rl: 0.01}", 14, ["training.optimizer.adamw.rl", "'lr'"]),
        ("adamw: {lr: 0.01}", "adamw: {lr: -1}", 14, ["training.optimizer.adamw.lr", "-1"]),
        ("[cosine, constant]", "[cosin, constant]", 15, ["training.schedule", "'cosin'", "'cosine'"]),
        ("crop: {pad: 1}", "crpo: {pad: 1}", 16, ["training.augment.crpo", "no augmentation called", "'crop'"]),
        ("crop: {pad: 1}", "timeshift: {}", 16, ["training.augment.timeshift", "tokens", "map"]),
        ("batch_size", "batchsize", 13, ["training.batchsize", "'batch_size'"]),
        ("epochs: 3", "epochs: 0", 12, ["training.epochs", "0"]),
        ("epochs: 3", "epochs: many", 12, ["training.epochs", "an integer", "'many'"]),
        ("epochs: 3", "epochs: {choice: {a: {}}}", 12, ["training.epochs", "a value, a list or a range", "Choice"]),
        ("  augment: {choice: {none: {}, crop: {pad: 1}}}", "  augment: 7", 16, ["training.augment", "'7'"]),
        ("int8_static]", "int8]", 17, ["deploy.precision", "one of fp32, int8_dynamic, int8_static", "'int8'"]),
        ("{precision: [", "{precison: [", 17, ["deploy.precison", "no field called 'precison'", "'precision'"]),
        ("{precision: [fp32, int8_static]}", "int8_static", 17, ["deploy", "deploy maps fields to values"]),
        ("deploy: {", "deplyo: {", 17, ["no section called 'deplyo'", "'deploy'"]),
        ("head: {pool: {", "head: {pool: {}, last: {", 10, ["head", "one part is named here", "pool, last"]),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, old, new, line, needles):
    assert GOOD.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(SpaceError) as caught:
        check_space(Space.from_yaml(path))
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}"), message
    assert all(needle in message for needle in needles), message


@pytest.mark.parametrize(
    ("root", "needles"),
    [
        ({"head": {"pool": {}}}, ["'body' is missing"]),
        ({"body": {"conv": {}}}, ["'head' is missing"]),
        (
            {"body": {"conv": {}}, "head": {"pool": {}}, "tail": {}},
            ["no section called 'tail'", "Known: body, deploy, head, stem, training"],
        ),
        ({"body": {"conv": {}}, "head": {"pool": {}}, "training": [1, 2]}, ["training maps fields to values"]),
        ({"body": {"conv": {"widht": 8}}, "head": {"pool": {}}}, ["body.conv.widht", "'width'"]),
        ({"body": {"conv": 8}, "head": {"pool": {}}}, ["body.conv", "a part maps its fields to values"]),
    ],
)
def test_a_space_from_python_is_checked_alike(root, needles):
    with pytest.raises(SpaceError) as caught:
        check_space(Space(input="image", root=root, name="mine"))
    assert all(needle in str(caught.value) for needle in needles), str(caught.value)


@pytest.mark.parametrize(
    ("source", "task", "needles"),
    [
        ("input: image\nbody: {conv: {width: 9, groups: 3}}\nhead: {pool: {}}", "image", ["50 of 50", "groups=3"]),
        (
            "input: image\nbody: [{choice: {conv: {width: [9, 12], groups: 3}, dense: {}}}, {conv: {width: 8}}]\n"
            "head: {pool: {}}",
            "image",
            ["none of 50 random architectures", "(1, 8, 8)", "conv takes a map", "body.1", "body.0"],
        ),
        ("input: sequence\nbody: {lstm: {}}\nhead: {last: {}}", "image", ["input: sequence", "(1, 8, 8)"]),
    ],
)
def test_a_space_where_nothing_can_be_built(digits, source, task, needles):
    space = parse(source, name="mine")
    check_space(space)
    with pytest.raises(SpaceError) as caught:
        check_task(space, digits)
    assert all(needle in str(caught.value) for needle in needles), str(caught.value)


@pytest.mark.parametrize(("dim", "heads"), [("[20, 84], step: 4", "[4, 8]"), ("[24, 152], step: 8", "[8, 16]")])
def test_a_rule_that_only_some_values_of_a_long_range_keep_is_no_mistake(dim, heads):
    """None of the nine that stand for the range does."""
    source = f"input: sequence\nbody: {{transformer: {{dim: {{int: {dim}}}, heads: {heads}}}}}\nhead: {{last: {{}}}}"
    check_space(parse(source, name="mine"))
    with pytest.raises(SpaceError, match="heads=7 must divide dim"):
        check_space(parse(source.replace(heads, "[4, 7]").replace("84", "24").replace("152", "40"), name="mine"))


def test_a_space_where_little_can_be_built_is_good_enough():
    space = Space(
        input="image",
        root={"body": Choice({"conv": {"groups": [1, *range(30, 39)], "width": 32}}), "head": {"pool": {}}},
    )
    check_buildable(space, (1, 8, 8), 10)


@pytest.mark.parametrize(
    ("deploy", "known"),
    [
        ("", ["fp32"]),
        ("deploy: {}", ["fp32"]),
        ("deploy: {precision: int8_static}", ["int8_static"]),
        ("deploy: {precision: [fp32, int8_dynamic]}", ["fp32", "int8_dynamic"]),
        ("deploy: {precision: {options: [int8_static, fp32], when: {body.conv.width: 16}}}", ["int8_static", "fp32"]),
    ],
)
def test_int8_needs_targets_that_take_files(deploy, known):
    space = parse(f"input: image\nbody: {{conv: {{width: [8, 16]}}}}\nhead: {{pool: {{}}}}\n{deploy}", "mine.yaml")
    check_space(space)
    assert precisions(space) == known
    check_targets(space, ["onnxruntime", "openvino:threads=2", "ssh:user@host/onnxruntime"])
    if known == ["fp32"]:
        check_targets(space, ["eager"])
    else:
        with pytest.raises(SpaceError, match=r"(?s)^mine\.yaml:4: deploy\.precision: int8_.* target eager runs torch"):
            check_targets(space, ["onnxruntime", "eager"])
