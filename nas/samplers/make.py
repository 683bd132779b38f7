"""From what a user writes to a sampler: 'tpe', 'evolution(population=50)', 'optuna:TPESampler(multivariate=True)'."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence

from nas.errors import NasError, did_you_mean
from nas.objectives import Objective
from nas.samplers.proposer import SAMPLERS, Describe, Proposer, Screen
from nas.space import Space


def make_sampler(
    spec: str,
    space: Space,
    objectives: Sequence[Objective],
    seed: int,
    *,
    gated: bool | None = None,
    describe: Describe | None = None,
    screen: Screen | None = None,
) -> Proposer:
    """Return the sampler that `spec` names.

    Args:
        spec: a name in `SAMPLERS`, or `optuna:CLASS` for a class of `optuna.samplers`; either one with
            keyword arguments in brackets, as Python literals.
        objectives: what is optimised, in the order of the losses.
        seed: for what a sampler draws before its first proposal, and for Optuna's, which own their randomness.
        gated: whether the sampler asks for prices before it chooses. None: where an objective is known before
            training. Say True where a budget limits a price that is no objective.
        describe: tells the zero-cost proxies of an architecture, for a sampler that can use them.
        screen: predicts prices of many architectures, for a sampler that can use them.
    Raises:
        NasError: no such sampler or argument, or an argument that is no literal.

    >>> space = Space(input="vector", root={"body": {"width": [8, 16]}})
    >>> make_sampler("evolution(population=50)", space, [], seed=0).population
    50
    >>> make_sampler("tpee", space, [], seed=0)
    Traceback (most recent call last):
    ...
    nas.errors.NasError: no sampler called 'tpee'. Did you mean 'tpe'? Known: evolution, optuna:<class>, random, tpe
    """
    name, options = parse_spec(spec)
    library, colon, cls = name.partition(":")
    if colon and library == "optuna":
        from nas.samplers.optuna import OptunaProposer, optuna_sampler  # 300 ms: only for those who ask for it

        return OptunaProposer(space, objectives, optuna_sampler(cls, seed=seed, **options))
    if name not in SAMPLERS:
        raise NasError(did_you_mean("sampler", name, [*SAMPLERS, "optuna:<class>"]))
    factory = SAMPLERS[name]
    parameters = inspect.signature(factory).parameters
    known = set(parameters) - {"space", "objectives", "gated", "describe", "screen"}
    for option in options:
        if option not in known:
            raise NasError(f"sampler {spec!r}: {did_you_mean('argument', option, known)}")
        usual = parameters[option].default
        alike = usual is None or type(options[option]) is type(usual)
        if not alike and not (type(usual) is float and type(options[option]) is int):
            raise NasError(f"sampler {spec!r}: {option} is of type {type(usual).__name__}, got {options[option]!r}")
    if "seed" in known:
        options.setdefault("seed", seed)
    options.setdefault("gated", any(o.cheap for o in objectives) if gated is None else gated)
    helpers = {"describe": describe, "screen": screen}
    options |= {argument: helpers[argument] for argument in helpers if argument in parameters}
    try:
        return factory(space, objectives, **options)  # type: ignore[arg-type]  # names checked above
    except TypeError as error:
        raise NasError(f"sampler {spec!r}: {error}") from None


def parse_spec(spec: str) -> tuple[str, dict[str, object]]:
    """Split `name(key=literal, ...)` into the name and the keyword arguments. Nothing is executed.

    >>> parse_spec("optuna:TPESampler(multivariate=True, n_startup_trials=20)")
    ('optuna:TPESampler', {'multivariate': True, 'n_startup_trials': 20})
    """
    name, bracket, rest = spec.strip().partition("(")
    if not bracket:
        return name, {}
    wrong = f"sampler {spec!r} cannot be read; write e.g. 'optuna:TPESampler(multivariate=True, group=True)'"
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            raise NasError(wrong)
        options = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except SyntaxError as error:
        raise NasError(f"{wrong}: {error}") from None
    except (ValueError, TypeError):  # the latter: a dict with a list for a key
        raise NasError(f"{wrong}: values are numbers, True, False, or words in quotes") from None
    if None in options:
        raise NasError(wrong)
    return name.strip(), {str(key): value for key, value in options.items()}
