"""Architecture -> torch module, shape by shape. What cannot be built says which block and why."""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from nas.blocks import BLOCKS, HEADS
from nas.blocks.convert import Flatten, MapToTokens, TokensToMap
from nas.errors import BuildError, NasError
from nas.registry import Registry
from nas.shapes import Shape, layout
from nas.space import Architecture, Space, Tree


@dataclass(frozen=True, slots=True)
class Step:
    """One module of a network, and what goes in and out of it (without the batch axis)."""

    path: str
    name: str
    config: Any
    in_shape: Shape
    out_shape: Shape

    def __str__(self) -> str:
        return f"{self.path}: {self.name}({_said(self.config)}) {self.in_shape} -> {self.out_shape}"


class Network(nn.Module):
    """Stem, body and head in a row.

    Shapes:
        in:  (N, *in_shape)
        out: (N, n_outputs)

    Attributes:
        steps: what each module of `modules_in_order` is, conversions between map, tokens and vector included.
    """

    def __init__(self, modules: list[nn.Module], steps: tuple[Step, ...]) -> None:
        super().__init__()
        self.modules_in_order = nn.Sequential(*modules)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        return self.modules_in_order(x)

    def signature(self) -> str:
        """Return what was built, as text: equal for two architectures that end as the same network.

        A block that passes its input on unchanged (`identity`) is no part of it.
        """
        return json.dumps([[step.name, _fields(step.config)] for step in self.steps if step.name != "identity"])


def build(space: Space, arch: Architecture, in_shape: Shape, n_outputs: int) -> Network:
    """Build the network of an architecture; its weights come from torch's global generator.

    Raises:
        BuildError: a block does not fit the shape it meets.
    """
    return build_tree(space.resolve(arch), in_shape, n_outputs)


def build_tree(tree: dict[str, Tree], in_shape: Shape, n_outputs: int) -> Network:
    """Build the network of a resolved tree, `{"stem": ..., "body": ..., "head": ...}`.

    Raises:
        BuildError: a block does not fit the shape it meets.
    """
    modules: list[nn.Module] = []

    def make(part: Any, *arguments: Any) -> Shape:
        modules.append(part(*arguments))
        return (n_outputs,) if len(arguments) == 3 else promised_shape(modules[-1])  # a head is told how many

    steps = walk_tree(tree, in_shape, n_outputs, make)
    return Network(modules, steps)


def promised_shape(block: nn.Module) -> Shape:
    """Return the shape that a block says it gives, without the batch axis.

    Raises:
        ValueError: it says none.
    """
    shape = getattr(block, "out_shape", None)
    if not (isinstance(shape, tuple) and 1 <= len(shape) <= 3 and all(type(n) is int and n > 0 for n in shape)):
        raise ValueError(
            f"out_shape must be (C, H, W), (T, C) or (F,), whole numbers above 0, got {shape!r}; set self.out_shape in "
            "__init__, without the batch axis"
        )
    return shape


def walk_tree(tree: dict[str, Tree], in_shape: Shape, n_outputs: int, make: Callable[..., Shape]) -> tuple[Step, ...]:
    """Call `make` for each part of a resolved tree in turn, with what it is made of; return the steps.

    A recurrent or Transformer block on an image sees its positions as tokens; a block for maps after that gets the
    map back, where the number of tokens still is that of the map.

    Args:
        make: takes a class and the arguments of its constructor, of which the first is the shape that comes in, and
            returns the shape that goes out. A ValueError says that they do not fit.
    Raises:
        BuildError: a part does not fit the shape it meets.
    """
    steps: list[Step] = []
    shape, grid = in_shape, None

    def add(path: str, name: str, config: Any, part: Any, *arguments: Any) -> None:
        nonlocal shape
        try:
            out_shape = make(part, shape, *arguments)
        except ValueError as error:
            raise BuildError(f"{path}: {name} on {shape}: {error}") from None
        except Exception as error:
            if f"{part.__module__}.".startswith("nas."):
                raise
            at = traceback.extract_tb(error.__traceback__)[-1]  # whatever a block of a user's own raises
            what = f"{type(error).__name__}: {error} ({at.filename}, line {at.lineno})"
            raise BuildError(f"{path}: {name}({_said(config)}) on {shape}: {what}") from error
        steps.append(Step(path, name, config, shape, out_shape))
        shape = out_shape

    def convert(path: str, name: str, wanted: str) -> None:
        """Bring the running shape into the layout that the part `name` takes."""
        nonlocal grid
        have = layout(shape)
        if wanted in ("any", have):
            return
        if wanted == "tokens" and have == "map":
            grid = (shape[1], shape[2])
            add(path, "to_tokens", None, MapToTokens)
        elif wanted == "map" and have == "tokens" and grid and grid[0] * grid[1] == shape[0]:
            add(path, "to_map", None, TokensToMap, grid)
        elif wanted == "vector":
            add(path, "to_vector", None, Flatten)
        else:
            lost = f"; the map of {grid[0]} x {grid[1]} before it no longer fits" if grid and have == "tokens" else ""
            raise BuildError(f"{path}: {name} takes a {wanted}, and what comes before gives {have} {shape}{lost}")

    for section, table in (("stem", BLOCKS), ("body", BLOCKS), ("head", HEADS)):
        outputs = (n_outputs,) if table is HEADS else ()
        for path, name, fields in _parts(tree.get(section, []), section):
            part, config = _configured(table, path, name, fields)
            convert(path, name, part.takes)
            add(path, name, config, part, *outputs, config)
    return tuple(steps)


def _parts(here: Tree, path: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the path, name and fields of each part of a resolved section, in order."""
    if isinstance(here, list):
        for i, child in enumerate(here):
            yield from _parts(child, f"{path}.{i}")
    elif isinstance(here, dict):
        for name, fields in here.items():
            yield path, name, cast(dict[str, Any], fields)
    else:
        yield path, str(here), {}


def _configured(table: Registry, path: str, name: str, fields: dict[str, Any]) -> tuple[Any, Any]:
    """Return the part called `name` and its config."""
    try:
        part = table[name]
        return part, part.Config(**fields)
    except (NasError, ValueError, TypeError) as error:
        raise BuildError(f"{path}: {name}: {error}") from None


def _said(config: Any) -> str:
    return ", ".join(f"{field}={value}" for field, value in _fields(config).items())


def _fields(config: Any) -> dict[str, Any]:
    return {} if config is None else dataclasses.asdict(config)
