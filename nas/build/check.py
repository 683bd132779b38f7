"""A space against the blocks there are: every part exists, every field is the part's own, something can be built."""

from __future__ import annotations

from collections import Counter

import numpy as np
import torch
from torch import nn

from nas.blocks import BLOCKS, HEADS
from nas.build.network import Step, build
from nas.errors import BuildError, NasError, SpaceError
from nas.registry import Registry
from nas.shapes import Shape, layout
from nas.space import Space
from nas.space.fields import check_fields, parts

LAYOUTS = {"image": "map", "sequence": "tokens", "vector": "vector"}
SECTIONS: dict[str, Registry] = {"stem": BLOCKS, "body": BLOCKS, "head": HEADS}

_SAMPLES = 50

_OWN = "\n  one of your own is known where its file is named: --plugin FILE.py"


def check_parts(space: Space, section: str, table: Registry) -> None:
    """Check each part that `section` of the space may hold against `table`.

    Raises:
        SpaceError: an unknown part or field, or a value that the part does not accept; with file and line.
    """
    node = space.root.fields[section.split(".")[0]]
    for name in section.split(".")[1:]:
        node = node.fields[name]  # type: ignore[union-attr]  # the caller names groups that exist
    try:
        found = list(parts(node, section))
    except SpaceError as error:
        path, _, problem = str(error).partition(": ")
        raise SpaceError(f"{space.where(path)}: {problem}") from None
    for path, name, fields in found:
        try:
            part = table[name]
        except NasError as error:
            own = _OWN if table in (BLOCKS, HEADS) else ""
            raise SpaceError(f"{space.where(path)}: {error}{own}") from None
        check_fields(space, path, name, fields.fields, getattr(part, "Config", part))


def check_network(space: Space) -> None:
    """Check stem, body and head.

    Raises:
        SpaceError: as `check_parts`.
    """
    for section, table in SECTIONS.items():
        if section in space.root.fields:
            check_parts(space, section, table)


def check_buildable(space: Space, in_shape: Shape, n_outputs: int, seed: int = 0) -> None:
    """Check that the data are of the space's kind, and that some of 50 random architectures can be built on them.

    Raises:
        SpaceError: none could be built; the commonest reasons are named.
    """
    if layout(in_shape) != LAYOUTS[space.input]:
        raise SpaceError(f"{space.name}: the space is for input: {space.input}, and the data have shape {in_shape}")
    check_own(space, in_shape, n_outputs, seed)
    rng = np.random.default_rng(seed)
    reasons: Counter[str] = Counter()
    for _ in range(_SAMPLES):
        try:
            build(space, space.sample(rng), in_shape, n_outputs)
        except (BuildError, RuntimeError, MemoryError) as error:  # torch raises RuntimeError where memory is short
            reasons[(str(error).splitlines() or [type(error).__name__])[0]] += 1
        else:
            return
    common = "\n".join(f"  {n} of {_SAMPLES}: {reason}" for reason, n in reasons.most_common(3))
    raise SpaceError(f"{space.name}: none of {_SAMPLES} random architectures can be built on {in_shape}:\n{common}")


def check_own(space: Space, in_shape: Shape, n_outputs: int, seed: int = 0) -> None:
    """Run each block and head of a user's own once, as far as 50 random architectures hold them.

    Raises:
        SpaceError: one does not give what it promises, or fails; names it with its fields, and what to do.
    """
    waiting = {
        name
        for section, table in SECTIONS.items()
        if section in space.root.fields
        for _, name, _ in parts(space.root.fields[section], section)
        if table.own(name)
    }
    rng = np.random.default_rng(seed)
    for _ in range(_SAMPLES):
        if not waiting:
            return
        try:
            network = build(space, space.sample(rng), in_shape, n_outputs)
        except (BuildError, RuntimeError, MemoryError):
            continue  # `check_buildable` tells of these
        for step, module in zip(network.steps, network.modules_in_order, strict=True):
            if step.name in waiting:
                _run(space, step, module)
                waiting.discard(step.name)


def _run(space: Space, step: Step, module: nn.Module) -> None:
    """Run a part on a batch of two."""
    hint = "'nas check' with its file says more"
    x = torch.randn(2, *step.in_shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.random.fork_rng(devices=()), torch.no_grad():
            y = module.eval()(x)
    except Exception as error:  # whatever a user's forward raises
        what = " ".join(str(error).split())
        raise SpaceError(
            f"{space.name}: {step}: its forward fails: {type(error).__name__}: {what}\n  {hint}"
        ) from error
    found = tuple(y.shape) if isinstance(y, torch.Tensor) else type(y).__name__
    if found != (2, *step.out_shape):
        raise SpaceError(
            f"{space.name}: {step}: for a batch of 2 forward gives {found}, and {(2, *step.out_shape)} is promised\n"
            f"  set self.out_shape to what forward gives, without the batch axis; {hint}"
        )
