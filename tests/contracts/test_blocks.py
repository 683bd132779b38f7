"""What every registered block and head must do; a new one gets its tests by one line in each table."""

from __future__ import annotations

import dataclasses
import itertools
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS, config_class
from nas.measure import count_macs
from nas.shapes import Shape, layout
from nas.training.bfloat16 import InBfloat16

SHAPES: dict[str, list[Shape]] = {
    "map": [(4, 8, 8), (2, 7, 5), (4, 1, 3)],
    "tokens": [(10, 6), (7, 4), (1, 3)],
    "vector": [(12,), (5,)],
}
SHAPES["any"] = [shapes[1] for shapes in SHAPES.values()]

BLOCK_CONFIGS: dict[str, list[dict[str, Any]]] = {
    "conv": [
        {},
        {"width": 4, "kernel": 5, "stride": 2, "groups": 2, "act": "hardswish"},
        {"width": 6, "kernel": 1, "stride": 3, "norm": "none", "act": "tanh"},
        {"width": 12, "norm": "group", "act": "silu"},
    ],
    "separable": [{}, {"width": 5, "kernel": 5, "stride": 2, "act": "leaky_relu"}],
    "mbconv": [
        {},
        {"width": 4, "expand": 1, "kernel": 5, "act": "relu6"},
        {"width": 2, "expand": 3, "se": True, "act": "hardswish"},
        {"width": 8, "expand": 6, "stride": 2, "se": True, "act": "silu"},
    ],
    "resblock": [{}, {"width": 4, "act": "elu"}, {"width": 5, "kernel": 5, "stride": 2}],
    "maxpool": [{}, {"kernel": 3, "stride": 1}, {"kernel": 3, "stride": 2}, {"kernel": 4, "stride": 4}],
    "avgpool": [{}, {"kernel": 3, "stride": 1}, {"kernel": 3, "stride": 2}, {"kernel": 4, "stride": 4}],
    "identity": [{}],
    "patches": [{}, {"width": 5, "patch": 2}, {"width": 6, "patch": 3}],
    "conv1d": [
        {},
        {"width": 5, "kernel": 5, "stride": 2, "act": "gelu", "norm": "group"},
        {"width": 4, "kernel": 3, "dilation": 4, "stride": 3, "norm": "none"},
    ],
    "lstm": [{}, {"hidden": 5, "layers": 2, "bidirectional": True}],
    "gru": [{}, {"hidden": 5, "layers": 2, "bidirectional": True}],
    "rnn": [{}, {"hidden": 5, "layers": 2, "bidirectional": True, "nonlinearity": "relu"}],
    "transformer": [
        {},
        {"dim": 6, "heads": 2, "mlp_ratio": 1, "layers": 2, "dropout": 0.3, "positions": "learned"},
        {"dim": 3, "heads": 1, "positions": "none"},
        {"dim": 9, "heads": 3, "mlp_ratio": 3},
    ],
    "project": [{}, {"width": 5}],
    "embedding": [{}, {"dim": 5, "vocabulary": 3, "dropout": 0.5}],
    "dense": [
        {},
        {"width": 12, "act": "gelu", "norm": "layer", "dropout": 0.5, "residual": True},
        {"width": 5, "act": "none", "norm": "none", "residual": True},
    ],
}
HEAD_CONFIGS: dict[str, list[dict[str, Any]]] = {
    "pool": [{}, {"dropout": 0.5}],
    "flatten": [{}, {"hidden": 9, "dropout": 0.5}],
    "max": [{}, {"dropout": 0.5}],
    "last": [{}, {"dropout": 0.5}],
    "attention": [{}, {"dropout": 0.5}],
}

# Fields, and what the message must hold: the name of the field and the value.
WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "conv": [
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"kernel": 4}, "kernel must be odd and at least 1, got 4"),
        ({"stride": 0}, "stride.*got 0"),
        ({"groups": -1}, "groups.*got -1"),
        ({"act": "rleu"}, "act: no option called 'rleu'. Did you mean 'relu'"),
        ({"norm": "layr"}, "norm: no option called 'layr'"),
        ({"width": "8"}, "width must be of type int, got '8'"),
        ({"width": True}, "width must be of type int, got True"),
    ],
    "separable": [({"kernel": 0}, "kernel.*got 0"), ({"width": 8.0}, "width.*int, got 8.0")],
    "mbconv": [({"expand": 0}, "expand.*got 0"), ({"se": "yes"}, "se must be of type bool, got 'yes'")],
    "resblock": [({"kernel": 2}, "kernel.*got 2"), ({"stride": -2}, "stride.*got -2")],
    "maxpool": [({"kernel": 4, "stride": 2}, "kernel=4 and stride=2"), ({"stride": 0}, "stride.*got 0")],
    "avgpool": [({"kernel": 2, "stride": 1}, "kernel=2 and stride=1"), ({"kernel": 0}, "kernel.*got 0")],
    "identity": [],
    "patches": [({"patch": 0}, "patch.*got 0"), ({"width": -3}, "width.*got -3")],
    "conv1d": [({"dilation": 0}, "dilation.*got 0"), ({"kernel": 6}, "kernel.*got 6")],
    "lstm": [({"hidden": 0}, "hidden.*got 0"), ({"layers": 0}, "layers.*got 0")],
    "gru": [({"hidden": 0}, "hidden.*got 0"), ({"bidirectional": 1}, "bidirectional.*got 1")],
    "rnn": [({"layers": -1}, "layers.*got -1"), ({"nonlinearity": "silu"}, "nonlinearity.*'silu'")],
    "transformer": [
        ({"dim": 10, "heads": 4}, "heads=4 must divide dim=10; write e.g. dim=12"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"positions": "cosine"}, "positions.*Did you mean 'sine'"),
        ({"mlp_ratio": 0}, "mlp_ratio.*got 0"),
    ],
    "project": [({"width": 0}, "width.*got 0")],
    "embedding": [({"dim": 0}, "dim.*got 0"), ({"vocabulary": 1}, "vocabulary must be at least 2, got 1")],
    "dense": [({"dropout": -0.1}, "dropout.*got -0.1"), ({"dropout": float("nan")}, "dropout.*got nan")],
    "pool": [({"dropout": 1.5}, "dropout.*got 1.5")],
    "flatten": [({"hidden": -1}, "hidden.*got -1")],
    "max": [({"dropout": 1.0}, "dropout.*got 1.0")],
    "last": [({"dropout": 1}, "dropout.*got 1")],
    "attention": [({"dropout": "0.1"}, "dropout must be of type float, got '0.1'")],
}

N_OUTPUTS = 3
PARTS: dict[str, Any] = {**{n: BLOCKS[n] for n in BLOCKS}, **{n: HEADS[n] for n in HEADS}}
CONFIGS = BLOCK_CONFIGS | HEAD_CONFIGS
CASES = [
    pytest.param(name, in_shape, fields, id=f"{name}-{'x'.join(map(str, in_shape))}-{i}")
    for name, part in PARTS.items()
    for in_shape, (i, fields) in itertools.product(SHAPES[part.takes], enumerate(CONFIGS.get(name, [])))
]
every_case = pytest.mark.parametrize(("name", "in_shape", "fields"), CASES)


def make(name: str, in_shape: Shape, fields: dict[str, Any], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    config = config_class(PARTS[name])(**fields)
    return PARTS[name](in_shape, config) if name in BLOCKS else PARTS[name](in_shape, N_OUTPUTS, config)


def draw(n: int, shape: Shape, seed: int = 1) -> Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def settled(module: nn.Module, in_shape: Shape) -> nn.Module:
    """In eval mode, with norms that have seen data and no parameter left at zero, as after training."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
        module.train()(draw(16, in_shape, seed=2))
    return module.eval()


def test_no_block_lacks_its_lines() -> None:
    assert set(BLOCK_CONFIGS) == set(BLOCKS)
    assert set(HEAD_CONFIGS) == set(HEADS)
    assert set(WRONG) == set(PARTS)
    assert not set(BLOCKS) & set(HEADS)


@pytest.mark.parametrize("name", PARTS)
def test_every_field_is_set_somewhere(name: str) -> None:
    """Else the contract would say nothing about it."""
    used = {field for fields in CONFIGS[name] for field in fields}
    assert used == {f.name for f in dataclasses.fields(config_class(PARTS[name]))}


@pytest.mark.parametrize("name", PARTS)
def test_config_is_frozen_scalars_with_defaults(name: str) -> None:
    config = config_class(PARTS[name])
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        kind = kinds[field.name]
        assert field.default is not dataclasses.MISSING
        assert field.kw_only
        assert kind in (int, float, bool, str) or (
            get_origin(kind) is Literal and all(isinstance(option, str) for option in get_args(kind))
        )
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config(), field.name, field.default)
    assert config() == config()
    assert hash(config()) == hash(config())


@pytest.mark.parametrize(
    ("name", "fields", "message"), [(name, *case) for name, cases in WRONG.items() for case in cases], ids=str
)
def test_a_wrong_config_is_named(name: str, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_class(PARTS[name])(**fields)


NONSENSE: dict[Any, list[Any]] = {
    int: [-1, 2.5, "3", True, None],
    float: [-0.1, float("nan"), "0", True],
    bool: [1, "no"],
}


@pytest.mark.parametrize("name", PARTS)
def test_every_field_refuses_nonsense(name: str) -> None:
    config = config_class(PARTS[name])
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        for value in NONSENSE.get(kinds[field.name], ["", "nonsense", 0, None]):
            with pytest.raises(ValueError, match=rf"{field.name}\b.*{value}"):
                config(**{field.name: value})


@pytest.mark.parametrize("name", [name for name in PARTS if PARTS[name].takes != "any"])
def test_a_wrong_layout_is_named(name: str) -> None:
    for kind, shapes in SHAPES.items():
        if kind not in ("any", PARTS[name].takes):
            with pytest.raises(ValueError, match=r"is taken here, got shape \("):
                make(name, shapes[0], {})


@pytest.mark.parametrize("name", PARTS)
def test_an_empty_shape_is_refused(name: str) -> None:
    (in_shape, *_) = SHAPES[PARTS[name].takes]
    with pytest.raises(ValueError, match="at least 1, got"):
        make(name, (0, *in_shape[1:]), {})


@pytest.mark.parametrize("name", HEADS)
def test_a_head_without_outputs_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="n_outputs must be at least 1, got 0"):
        HEADS[name](SHAPES[PARTS[name].takes][0], 0, config_class(HEADS[name])())


@every_case
def test_declared_shape_is_the_real_shape(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    module = make(name, in_shape, fields).eval()
    out_shape = module.out_shape if name in BLOCKS else (N_OUTPUTS,)
    assert isinstance(out_shape, tuple)
    assert layout(out_shape)
    for n in (1, 7):
        y = module(draw(n, in_shape))
        assert y.shape == (n, *out_shape)
        assert y.dtype == torch.float32


@every_case
def test_the_plan_is_what_is_built(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    config = config_class(PARTS[name])(**fields)
    plan = PARTS[name].plan(in_shape, *([] if name in BLOCKS else [N_OUTPUTS]), config)
    module = make(name, in_shape, fields)
    assert plan.out_shape == (module.out_shape if name in BLOCKS else (N_OUTPUTS,))
    assert sum(operation.macs for operation in plan.operations) == count_macs(module, in_shape)
    assert all(min(operation[1:3]) > 0 for operation in plan.operations)


@every_case
def test_every_parameter_gets_a_finite_gradient(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    module = make(name, in_shape, fields).train()
    x = draw(7, in_shape).requires_grad_()
    y = module(x)
    (y * draw(7, tuple(y.shape[1:]))).sum().backward()
    if name != "embedding":  # whose input are ids
        assert x.grad is not None
        assert x.grad.isfinite().all()
    for path, parameter in module.named_parameters():
        assert parameter.grad is not None, f"{path} is not used"
        assert parameter.grad.isfinite().all(), path


@every_case
def test_starts_with_outputs_of_ordinary_size(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    """Unit inputs give neither nothing nor an explosion: deep stacks must train from the first step."""
    y = make(name, in_shape, fields).train()(draw(64, in_shape))
    assert y.isfinite().all()
    assert y.std() < 3
    assert y.std() > 0.03  # a lone step of an LSTM is that small


@every_case
def test_eval_depends_on_nothing_but_the_sample(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    """Neither on a generator nor on the other samples of the batch."""
    module, x = settled(make(name, in_shape, fields), in_shape), draw(7, in_shape)
    together = module(x)
    torch.testing.assert_close(module(x), together, rtol=0, atol=0)
    alone = torch.cat([module(sample[None]) for sample in x])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)


@every_case
def test_the_input_is_left_alone(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    """Some activations work in place, and a skip of another block may still need the input."""
    x = draw(7, in_shape)
    make(name, in_shape, fields).train()(x)
    assert torch.equal(x, draw(7, in_shape))


@every_case
def test_the_same_seed_gives_the_same_weights(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    a, b = (make(name, in_shape, fields, seed=3).state_dict() for _ in range(2))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@every_case
def test_bfloat16_is_the_same_but_for_rounding(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    """Of what comes out and of the gradients; as a network that convolves is trained, see `nas.training.bfloat16`."""
    part, x = settled(make(name, in_shape, fields), in_shape), draw(8, in_shape).requires_grad_()
    found = []
    for mode in (nullcontext(), InBfloat16()):
        part.zero_grad()
        x.grad = None
        with mode:
            y = part(x)
        (y.float() * draw(8, tuple(y.shape[1:]), seed=3)).sum().backward()
        gradients = [p.grad.clone() for p in (x, *part.parameters()) if p.grad is not None]
        assert all(gradient.dtype is torch.float32 for gradient in gradients)
        found.append([y.detach().float(), *gradients])
    for exact, rounded in zip(*found, strict=True):
        assert (rounded - exact).norm() <= 0.2 * exact.norm() + 1e-3  # a maximum may be another's


@every_case
def test_channels_last_changes_nothing(name: str, in_shape: Shape, fields: dict[str, Any]) -> None:
    module, x = settled(make(name, in_shape, fields), in_shape), draw(7, in_shape)
    expected = module(x)
    if len(in_shape) == 3:
        x = x.to(memory_format=torch.channels_last)
    torch.testing.assert_close(module.to(memory_format=torch.channels_last)(x), expected, rtol=1e-4, atol=1e-5)


@every_case
@pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning")
# torch checks the sizes of RNN and group norm inputs in Python while it traces; a check of ours would fail the test.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:torch.nn.modules.rnn")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning:torch.nn.functional")
# Raised for every RNN, at whatever batch size it is traced; that 7 works is proved below.
@pytest.mark.filterwarnings("ignore:Exporting a model to ONNX with a batch_size other than 1:UserWarning")
def test_onnx_agrees_at_every_batch_size(name: str, in_shape: Shape, fields: dict[str, Any], tmp_path: Path) -> None:
    module = settled(make(name, in_shape, fields), in_shape)
    path = tmp_path / "block.onnx"
    torch.onnx.export(
        module,
        (draw(1, in_shape),),
        path,
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for n in (1, 7):
        x = draw(n, in_shape, seed=n)
        (y,) = session.run(None, {"x": x.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(y, module(x).numpy(), rtol=1e-4, atol=1e-4)
