"""What every block and head has to do."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS, config_class
from nas.build.network import promised_shape
from nas.errors import NasError
from nas.export.onnx import export_onnx
from nas.export.parity import check_parity
from nas.measure import count_macs
from nas.shapes import Shape
from nas.testing.broken import ContractBroken, need, refused
from nas.training.bfloat16 import InBfloat16

N_OUTPUTS = 3
"""Of the heads that are checked."""

SHAPES: dict[str, list[Shape]] = {
    "map": [(4, 8, 8), (2, 7, 5), (4, 1, 3)],
    "tokens": [(10, 6), (7, 4), (1, 3)],
    "vector": [(12,), (5,)],
}
"""Shapes in, by what a part takes: even and odd, and as small as they come."""

SHAPES["any"] = [shapes[1] for shapes in SHAPES.values()]

_NONSENSE: dict[Any, list[Any]] = {
    int: [-1, 2.5, "3", True, None],
    float: [-0.1, float("nan"), "0", True],
    bool: [1, "no"],
}


@dataclass(frozen=True)
class BlockCase:
    """A block or a head on one shape, with one choice of its fields."""

    name: str
    in_shape: Shape
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def is_head(self) -> bool:
        """Whether it is a head, and not a block."""
        return self.name in HEADS

    @property
    def part(self) -> Any:
        """The class."""
        return HEADS[self.name] if self.is_head else BLOCKS[self.name]

    def make(self, seed: int = 0) -> nn.Module:
        """Return the module, with the weights of a seed."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self._built()

    def settled(self) -> nn.Module:
        """Return it in eval mode, with norms that have seen data and no parameter left at zero, as after training."""
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            module = self._built()
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
            module.train()(self.draw(16, seed=2))
        return module.eval()

    def _built(self) -> nn.Module:
        config = config_class(self.part)(**self.fields)
        made: nn.Module = self.part(self.in_shape, *([N_OUTPUTS] if self.is_head else []), config)
        return made

    def draw(self, n: int, seed: int = 1) -> Tensor:
        """Return `n` samples, standard normal."""
        return draw(n, self.in_shape, seed)

    def __str__(self) -> str:
        fields = ", ".join(f"{field}={value}" for field, value in self.fields.items())
        return f"{self.name}({fields}) on {self.in_shape}"


def draw(n: int, shape: Shape, seed: int = 1) -> Tensor:
    """Return (n, *shape), standard normal."""
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def block_cases(
    name: str, in_shapes: Sequence[Shape] | None = None, fields: Sequence[Mapping[str, Any]] | None = None
) -> list[BlockCase]:
    """Return the cases on which a block or head is checked.

    Args:
        in_shapes: None: `SHAPES` of what it takes.
        fields: choices of its fields; None: the defaults, and each field by itself at another value that its config
            accepts. Of these the ones that refuse a shape are left out.
    Raises:
        ContractBroken: with its defaults it can be built on none of the shapes.
    """
    part = HEADS[name] if name in HEADS else BLOCKS[name]
    shapes = SHAPES[part.takes] if in_shapes is None else in_shapes
    if fields is not None:
        return [BlockCase(name, shape, choice) for shape, choice in itertools.product(shapes, fields)]
    found, reasons = [], []
    for shape, choice in itertools.product(shapes, _choices(config_class(part))):
        try:
            BlockCase(name, shape, choice).make()
        except ValueError as error:
            reasons += [] if choice else [f"{shape}: {error}"]
        else:
            found.append(BlockCase(name, shape, choice))
    need(
        any(not case.fields for case in found),
        f"{name}: with the defaults of its fields it can be built on none of {shapes} ({'; '.join(reasons)}); choose "
        "defaults that fit small shapes, or check it on others: nas.testing.check_block(name, in_shapes=[...])",
    )
    return found


def check_block(
    name: str, in_shapes: Sequence[Shape] | None = None, fields: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Check a block or a head, see `block_cases` for the arguments.

    Raises:
        ContractBroken: what it does not keep, and on which case.

    Cost: some tenths of a second for each case.
    """
    for case in block_cases(name, in_shapes, fields):
        for test in BLOCK_CONTRACT:
            test(case)
    check_fields(name)  # last: a search only ever gives it fields that its space names


# ---------------------------------------------------------------- fields and shapes that are refused


def check_fields(name: str) -> None:
    """Check the config of a block or head, and that it refuses what it cannot be.

    Raises:
        ContractBroken: see there.
    """
    for test in FIELD_CONTRACT:
        test(name)


def configs_are_equal_values(name: str) -> None:
    """Two configs of the same fields are equal, and have one hash: networks are told apart by them."""
    config = config_class(_part(name))
    need(config() == config() and hash(config()) == hash(config()), f"{name}: Config() differs from Config()")
    for field in dataclasses.fields(config):
        need(
            field.kw_only,
            f"{name}: Config.{field.name} can be given by position; write @dataclass(frozen=True, kw_only=True)",
        )
        kind = get_type_hints(config)[field.name]
        if get_origin(kind) is Literal:
            words = all(isinstance(option, str) for option in get_args(kind))
            need(words, f"{name}: Config.{field.name}: the options of a Literal are words, got {kind}")


def fields_refuse_nonsense(name: str) -> None:
    """Every field refuses values of another type and out of range, and says which field and value."""
    config = config_class(_part(name))
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        for value in _NONSENSE.get(kinds[field.name], ["", "nonsense", 0, None]):
            with refused(
                f"{name}: Config({field.name}={value!r})",
                "in Config write def __post_init__(self): check(self, ...) with nas.blocks.checks, which names field "
                "and value",
                naming=field.name,
            ):
                config(**{field.name: value})


def a_wrong_layout_is_refused(name: str) -> None:
    """A block for maps refuses tokens, and so on."""
    takes = _part(name).takes
    for kind, shapes in SHAPES.items():
        if takes != "any" and kind not in ("any", takes):
            with refused(f"{name} on {shapes[0]}", _EXPECT, naming="is taken here, got shape ("):
                BlockCase(name, shapes[0]).make()


def an_empty_shape_is_refused(name: str) -> None:
    """No size of a shape is 0."""
    shape = SHAPES[_part(name).takes][0]
    with refused(f"{name} on {(0, *shape[1:])}", _EXPECT, naming="at least 1, got"):
        BlockCase(name, (0, *shape[1:])).make()


def a_head_without_outputs_is_refused(name: str) -> None:
    """A head has an output."""
    if name in HEADS:
        remedy = 'raise ValueError(f"n_outputs must be at least 1, got {n_outputs}")'
        with refused(f"{name} with 0 outputs", remedy, naming="n_outputs must be at least 1, got 0"):
            HEADS[name](SHAPES[_part(name).takes][0], 0, config_class(HEADS[name])())


_EXPECT = "in __init__ begin with in_shape = expect(self.takes, in_shape), of nas.blocks.contract"

FIELD_CONTRACT: tuple[Callable[[str], None], ...] = (
    configs_are_equal_values,
    fields_refuse_nonsense,
    a_wrong_layout_is_refused,
    an_empty_shape_is_refused,
    a_head_without_outputs_is_refused,
)
"""On the name of a part alone."""


# ---------------------------------------------------------------- what is built


def promises_its_shape(case: BlockCase) -> None:
    """`out_shape` is what comes out, for a batch of 1 and of 7, in float32."""
    module = case.make().eval()
    try:
        promised = (N_OUTPUTS,) if case.is_head else promised_shape(module)
    except ValueError as error:
        raise ContractBroken(f"{case}: {error}") from None
    for n in (1, 7):
        y = _forward(case, module, case.draw(n))
        need(
            y.shape == (n, *promised),
            f"{case}: for a batch of {n} forward gives {tuple(y.shape)}, and {(n, *promised)} is promised; set "
            "self.out_shape to what forward gives, without the batch axis",
        )
        need(y.dtype == torch.float32, f"{case}: forward gives {y.dtype}; keep to float32")


def plans_what_it_builds(case: BlockCase) -> None:
    """A `plan`, if there is one, tells the shape and the multiply-adds of what is built."""
    if "plan" not in vars(case.part):
        return
    config = config_class(case.part)(**case.fields)
    plan = case.part.plan(case.in_shape, *([N_OUTPUTS] if case.is_head else []), config)
    module = case.make()
    out_shape = (N_OUTPUTS,) if case.is_head else promised_shape(module)
    need(plan.out_shape == out_shape, f"{case}: plan says {plan.out_shape}, and {out_shape} is built")
    planned, counted = sum(operation.macs for operation in plan.operations), count_macs(module, case.in_shape)
    need(planned == counted, f"{case}: plan has {planned} multiply-adds, and {counted} are counted")
    need(all(min(operation[1:3]) > 0 for operation in plan.operations), f"{case}: plan has an operation of no channels")


def can_be_counted(case: BlockCase) -> None:
    """Its multiply-adds are known: no operator is without a count."""
    try:
        macs = count_macs(case.make(), case.in_shape)
    except NasError as error:
        raise ContractBroken(f"{case}: its multiply-adds cannot be counted: {error}") from error
    need(macs >= 0, f"{case}: {macs} multiply-adds")


def every_parameter_learns(case: BlockCase) -> None:
    """Every parameter and the input get a finite gradient."""
    module = case.make().train()
    x = case.draw(7).requires_grad_()
    y = _forward(case, module, x)
    (y * draw(7, tuple(y.shape[1:]))).sum().backward()
    if not getattr(case.part, "of_ids", False):
        need(x.grad is not None, f"{case}: no gradient reaches the input; blocks before it would not learn")
        assert x.grad is not None
        need(x.grad.isfinite().all(), f"{case}: the gradient of the input is not finite")
    for path, parameter in module.named_parameters():
        need(parameter.grad is not None, f"{case}: {path} gets no gradient; use it in forward, or do not make it")
        assert parameter.grad is not None
        need(parameter.grad.isfinite().all(), f"{case}: the gradient of {path} is not finite")


def starts_at_an_ordinary_size(case: BlockCase) -> None:
    """Unit inputs give neither nothing nor an explosion: deep stacks must train from the first step."""
    y = _forward(case, case.make().train(), case.draw(64))
    need(y.isfinite().all(), f"{case}: an untrained one gives values that are not finite")
    size = float(y.detach().std())
    need(  # a lone step of an LSTM is that small
        0.03 < size < 3,
        f"{case}: of unit inputs an untrained one makes outputs of standard deviation {size:.3g}, and a stack of them "
        "would vanish or explode; start its weights with nas.blocks.layers.init_conv or init_linear, or norm it",
    )


def eval_depends_on_the_sample_alone(case: BlockCase) -> None:
    """In eval mode an output depends neither on chance nor on the other samples of the batch."""
    module, x = case.settled(), case.draw(7)
    with torch.no_grad():
        together = module(x)
        need(
            torch.equal(module(x), together),
            f"{case}: in eval mode it gives another output the second time; let chance depend on self.training",
        )
        alone = torch.cat([module(sample[None]) for sample in x])
    need(
        torch.allclose(alone, together, rtol=1e-4, atol=1e-5),
        f"{case}: in eval mode a sample alone gives another output than within a batch, by up to "
        f"{float((alone - together).abs().max()):.3g}; work on each sample by itself, the batch is axis 0",
    )


def leaves_its_input_alone(case: BlockCase) -> None:
    """Nothing is done to the input in place: a skip of another block may still need it."""
    x = case.draw(7)
    _forward(case, case.make().train(), x)
    need(torch.equal(x, case.draw(7)), f"{case}: changes its input in place; leave inplace=True away at first")


def the_same_seed_gives_the_same_weights(case: BlockCase) -> None:
    """All that is random comes from torch's generator."""
    a, b = (case.make(seed=3).state_dict() for _ in range(2))
    need(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a),
        f"{case}: the same seed gives other weights; draw them with torch's own generator",
    )


def its_state_is_all_there_is(case: BlockCase) -> None:
    """A new module with the state of another computes the same: weights come back from files."""
    module, other = case.settled(), case.make(seed=5)
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        need(
            torch.equal(other.eval()(case.draw(7)), module(case.draw(7))),
            f"{case}: with the state of another it computes something else; keep tensors as nn.Parameter or with "
            "register_buffer",
        )


def trains_in_bfloat16(case: BlockCase) -> None:
    """Outputs and gradients in bfloat16 are those of float32 but for rounding; see `nas.training.bfloat16`."""
    module, x = case.settled(), case.draw(8).requires_grad_()
    found: list[list[Tensor]] = []
    for mode in (nullcontext(), InBfloat16()):
        module.zero_grad()
        x.grad = None
        try:
            with mode:
                y = module(x)
            (y.float() * draw(8, tuple(y.shape[1:]), seed=3)).sum().backward()
        except RuntimeError as error:
            raise ContractBroken(
                f"{case}: cannot be trained in bfloat16: {' '.join(str(error).split())}; make tensors in the type of "
                "those they meet: torch.zeros(..., dtype=x.dtype)"
            ) from error
        gradients = [p.grad.clone() for p in (x, *module.parameters()) if p.grad is not None]
        need(all(g.dtype is torch.float32 for g in gradients), f"{case}: a gradient is not in float32")
        found.append([y.detach().float(), *gradients])
    for exact, rounded in zip(*found, strict=True):
        off = float((rounded - exact).norm())
        need(  # a maximum may be another's
            off <= 0.2 * float(exact.norm()) + 1e-3,
            f"{case}: in bfloat16 it gives something else (off by {off:.3g} of {float(exact.norm()):.3g}); norm in "
            "float32, and take no differences of large numbers",
        )


def takes_any_memory_format(case: BlockCase) -> None:
    """With channels last, as convolutions are trained, it computes the same."""
    module, x = case.settled(), case.draw(7)
    with torch.no_grad():
        expected = module(x)
        if len(case.in_shape) == 3:
            x = x.to(memory_format=torch.channels_last)
        try:
            found = module.to(memory_format=torch.channels_last)(x)
        except RuntimeError as error:
            raise ContractBroken(
                f"{case}: fails where the channels lie last in memory: {' '.join(str(error).split())}; write reshape "
                "or flatten instead of view"
            ) from error
    need(torch.allclose(found, expected, rtol=1e-4, atol=1e-5), f"{case}: computes something else with channels last")


def exports_to_onnx(case: BlockCase) -> None:
    """Its ONNX file computes the same, for a batch of 1 and of 7; nothing is traced that depends on the input."""
    module = case.settled()
    with tempfile.TemporaryDirectory(prefix="nas-") as folder, warnings.catch_warnings():
        path = Path(folder) / "block.onnx"
        try:
            export_onnx(module, case.in_shape, path)
            check_parity(module, path, case.draw(7))
        except NasError as error:
            raise ContractBroken(f"{case}: {error}") from error
        except Exception as error:  # whatever forward does under the tracer
            what = " ".join(str(error).split())
            raise ContractBroken(f"{case}: cannot be exported to ONNX: {type(error).__name__}: {what}") from error


BLOCK_CONTRACT: tuple[Callable[[BlockCase], None], ...] = (
    promises_its_shape,
    plans_what_it_builds,
    can_be_counted,
    every_parameter_learns,
    starts_at_an_ordinary_size,
    eval_depends_on_the_sample_alone,
    leaves_its_input_alone,
    the_same_seed_gives_the_same_weights,
    its_state_is_all_there_is,
    trains_in_bfloat16,
    takes_any_memory_format,
    exports_to_onnx,
)
"""On each case by itself."""


def _part(name: str) -> Any:
    return HEADS[name] if name in HEADS else BLOCKS[name]


def _forward(case: BlockCase, module: nn.Module, x: Tensor) -> Tensor:
    try:
        y = module(x)
    except Exception as error:
        what = " ".join(str(error).split())
        raise ContractBroken(f"{case}: forward fails on {tuple(x.shape)}: {type(error).__name__}: {what}") from error
    need(isinstance(y, Tensor), f"{case}: forward gives a {type(y).__name__}, and has to give one tensor")
    return y


def _choices(config: type[Any]) -> Iterator[dict[str, Any]]:
    """Yield no field, then each field at another value than its default, as far as the config accepts it."""
    yield {}
    kinds = get_type_hints(config)
    for field in dataclasses.fields(config):
        for value in _others(kinds[field.name], field.default):
            try:
                config(**{field.name: value})
            except ValueError:
                continue
            yield {field.name: value}


def _others(kind: Any, default: Any) -> list[Any]:
    """Return other values of a field than its default."""
    if get_origin(kind) is Literal:
        return [option for option in get_args(kind) if option != default]
    if kind is bool:
        return [not default]
    if kind is int:
        return [value for value in dict.fromkeys((1, 2, 5, 2 * default)) if value != default]
    if kind is float:
        return [value for value in dict.fromkeys((0.0, 0.5, default / 2)) if value != default]
    return []
