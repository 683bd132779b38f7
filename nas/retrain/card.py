"""The model card of a retrained network: what it is, what it was trained on, how good it is, what it costs.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019, https://arxiv.org/abs/1810.03993. What nobody but
its user can say, what it is meant for and where it must not be used, is a marked section that is theirs: it is carried
over when the card is written again.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.durations import readable
from nas.errors import RunError
from nas.measure.machine import describe
from nas.objectives import is_latency
from nas.records import TrialRecord, read_json, summary, write_json, write_text
from nas.retrain.clock import LATE
from nas.retrain.recipe import instead_of_searched, written
from nas.retrain.result import Retrained
from nas.study.config import StudyConfig
from nas.study.elsewhere import targets_again
from nas.study.folder import RunFolder

if TYPE_CHECKING:
    from nas.data import Task

CARD, CARD_JSON = "model_card.md", "model_card.json"
CARDS = (CARD_JSON, CARD)

_BEGIN = "<!-- yours, from here: it is kept when this card is written again -->"
_END = "<!-- yours, up to here -->"
_YOURS = (
    "\nTo be written by who uses the model: what it is for, who it is for, on which samples it must not be relied on, "
    "what happens when it is wrong.\n"
)
_OF_CLASSES = ("label_smoothing", "class_weights")
"""Parts of a training that say nothing where numbers are predicted."""

_MOST = 12
"""Classes, values of a channel or sizes that a page shows; all are in the JSON file."""


def make_card(
    config: StudyConfig,
    record: TrialRecord,
    task: Task,
    found: Retrained,
    run: RunFolder,
    timing: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return all that the card says, as JSON has it.

    Args:
        timing: of a command with a time limit, see `_time_words`.
    """
    low, high = found.interval
    first = found.seeds[0]
    name = found.metric.name
    machine = read_json(run.machine) if run.machine.exists() else {}
    limits = config.parsed_budgets()
    values = record.metrics
    where = shlex.quote(_place(run))
    pick = f"--pick trial:{record.number}"
    code = _code(config)
    trainings = f"--seeds {len(found.seeds)} --epochs {found.epochs}"
    if instead := instead_of_searched(config, record, found.plan.get("training", {})):
        trainings += f" --training {shlex.quote(written(instead))}"
    named = "".join(f" --plugin {shlex.quote(plugin.name)}" for plugin in config.plugins)
    named += f" --data {shlex.quote(code)}" if code else ""
    arguments = f", data={code!r}" if code else ""
    return {
        "model": f"trial {record.number} of {run.path.resolve().name}",
        "weights": first.weights,
        "data": {
            "name": task.name,
            "trained_on": len(task.x_train) + len(task.x_val),
            "tested_on": found.n_test,
            "in_the_search": {"trained_on": len(task.x_train), "validated_on": len(task.x_val)},
            "fingerprint": task.fingerprint(),
            "test_fingerprint": found.plan.get("test_data", ""),
            "input_shape": list(task.in_shape),
            "classes": list(task.classes),
            "targets": _targets(task),
            **({} if task.recipe is None else {"recipe": dict(task.recipe)}),
            "preprocessing": "input = (x * scale - mean) / std per channel, float32, (N, *input_shape)",
            "scale": task.scale,
            "mean": list(task.mean),
            "std": list(task.std),
        },
        "architecture": {
            "words": summary(config.space.resolve(record.arch)),
            "space": config.space.name,
            "fingerprint": record.arch.fingerprint(),
            "parameters": dict(record.arch.values),
        },
        "training": {
            "recipe": _heeded(found.plan.get("training", {}), task),
            "epochs": found.epochs,
            "seeds": len(found.seeds),
            "seconds_per_seed": [round(seed.train_seconds, 2) for seed in found.seeds],
            **({} if timing is None else {"time_limit": dict(timing)}),
            "device": config.device,
            "machine": {key: value for key, value in describe().items() if key != "load_average"},
        },
        "metrics": {
            "metric": name,
            "direction": found.metric.direction,
            "precision": found.plan.get("precision", "fp32"),
            "test_mean": found.mean,
            "test_interval_95": None if math.isnan(low) else [low, high],
            "test_sampling_error": found.sampling_error,
            "test_means": {one: _mean(seed.scores.get(one) for seed in found.seeds) for one in first.scores},
            "test_by_seed": [dict(seed.scores) for seed in found.seeds],
            "validation_in_the_search": {
                **{score: float(value) for score, value in record.scores.items()},
                "share_of_its_training": record.share,
                "epochs": record.epochs,
            },
            "gap": found.gap,
            "of_these_weights": {
                "scores": dict(first.scores),
                "accuracy_by_class": _by_class(task.classes, first.confusion),
                "confusion": [list(row) for row in first.confusion],
            },
        },
        "prices": {
            "measured": {
                price: {"value": m.value, "low": m.low, "high": m.high, **_target(config, price)}
                for price, m in record.prices.items()
            },
            "machine_of_the_search": {key: machine.get(key) for key in ("cpu", "cores", "os", "onnxruntime", "torch")},
        },
        "budgets": [
            {"budget": str(b), "value": values.get(b.objective), "kept": b.kept(values.get(b.objective, math.nan))}
            for b in limits
        ],
        "versions": {"pareto-nas": version("pareto-nas"), **{k: describe()[k] for k in ("python", "torch", "numpy")}},
        "plugins": [plugin.name for plugin in config.plugins],
        "load": f'nas.Front.load({_place(run)!r}{arguments}).pick("trial:{record.number}").network()',
        "export": f"nas export {where} {pick}{named}" + "".join(f" {shlex.quote(w)}" for w in targets_again(config)),
        "reproduce": f"nas retrain {where} {pick} {trainings} --overwrite{named}",
    }


def write_card(card: Mapping[str, Any], into: Path, before: Path) -> None:
    """Write a card as JSON and as a page.

    Args:
        into: folder of the new one.
        before: folder of an earlier one, from which the user's section comes. Where the rest of that page was changed
            by hand too, it is kept beside the new one, as `model_card.edited-001.md` or the next number.
    Raises:
        RunError: it cannot be written.
    """
    old = before / CARD
    text = old.read_text(encoding="utf-8") if old.exists() else ""
    yours = _yours(text)
    if text and not _is_ours(text, yours, before / CARD_JSON):
        numbers = (f"model_card.edited-{i:03d}.md" for i in range(1, 1000))
        write_text(next(path for name in numbers if not (path := before / name).exists()), text, durable=True)
    write_json(into / CARD_JSON, card, durable=True)
    write_text(into / CARD, page(read_json(into / CARD_JSON), yours), durable=True)  # or the user's section is lost


def page(card: Mapping[str, Any], yours: str = _YOURS) -> str:
    """Return a card as Markdown; `yours` is the user's section."""
    return "\n".join(_lines(card, yours)) + "\n"


def _is_ours(text: str, yours: str, json_path: Path) -> bool:
    """Whether a page is as it was written, but for the user's section."""
    try:
        return page(read_json(json_path), yours) == text
    except (RunError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        return False


def _yours(text: str) -> str:
    _, begin, rest = text.partition(_BEGIN + "\n")
    yours, end, _ = rest.partition(_END)
    return yours if begin and end else _YOURS


def _lines(card: Mapping[str, Any], yours: str) -> Iterator[str]:
    data, arch, training = card["data"], card["architecture"], card["training"]
    yield f"# {_plain(card['model'])}"
    yield ""
    yield f"{arch['words']}; weights in `{card['weights']}`. All of this page, and more, is in `{CARD_JSON}`."
    yield ""
    yield "## Intended use and limits"
    yield ""
    yield _BEGIN
    yield yours + _END
    yield ""
    yield from _metrics(card["metrics"], data, training["epochs"])
    yield from _prices(card)
    yield "## Data"
    yield ""
    split, name = data["in_the_search"], _plain(data["name"])
    yield f"- {name}: trained on {data['trained_on']:,} samples, judged on {data['tested_on']:,} others."
    yield f"- In the search {split['trained_on']:,} of the former were trained on, {split['validated_on']:,} chose."
    yield f"- Fingerprint {data['fingerprint']}, of the test samples {data['test_fingerprint'] or 'unknown'}."
    yield from _inputs(data)
    if data["targets"]:
        yield "- Predicted are numbers: `output * y_std + y_mean` is in the units of the data."
        yield from (f"- {_target_words(one)}" for one in data["targets"])
    else:
        yield f"- Predicted is one of {len(data['classes'])} classes: {_some(data['classes'])}."
    yield f"- Pre-processing: `{data['preprocessing']}`, scale {data['scale']:.6g},"
    yield f"  mean {_some(data['mean'])}, std {_some(data['std'])}."
    yield ""
    yield "## Architecture"
    yield ""
    yield f"Of the space `{arch['space']}`, fingerprint {arch['fingerprint']}."
    yield ""
    yield "| parameter | value |"
    yield "|---|---|"
    yield from (f"| {_plain(path)} | {_plain(_part(value))} |" for path, value in arch["parameters"].items())
    yield ""
    yield "## Training"
    yield ""
    machine = training["machine"]
    seeds = f"{training['seeds']} seed" + ("s" if training["seeds"] > 1 else "")
    yield f"- {training['epochs']} epochs, {seeds} of {_seconds(training['seconds_per_seed'])} each,"
    yield f"  on {machine['cpu'] or 'an unknown processor'} ({machine['date']}), device {training['device']}."
    yield from _time_words(training)
    yield from (f"- {name}: {_part(value)}" for name, value in training["recipe"].items() if name != "epochs")
    yield ""
    yield "## Load, export, reproduce"
    yield ""
    yield "```python"
    yield "import nas"
    yield from (f"nas.load_plugin({name!r})" for name in card["plugins"])
    yield f"network = {card['load']}  # a torch module, in evaluation mode"
    yield "```"
    yield ""
    yield "```sh"
    yield card["export"]
    yield card["reproduce"]
    yield "```"
    yield ""
    yield "Versions: " + ", ".join(f"{name} {number}" for name, number in card["versions"].items()) + "."


def _metrics(metrics: Mapping[str, Any], data: Mapping[str, Any], epochs: int) -> Iterator[str]:
    name, interval, error = metrics["metric"], metrics["test_interval_95"], metrics["test_sampling_error"]
    seeds = metrics["test_by_seed"]
    yield "## How good it is"
    yield ""
    if interval:
        spread = f"mean of {len(seeds)} seeds, 95 % interval of the mean [{interval[0]:.4f}, {interval[1]:.4f}]"
        yield f"- On the test set: {name} {metrics['test_mean']:.4f} ({spread})."
        yield f"- Each seed: {', '.join(f'{seed[name]:.4f}' for seed in seeds)}; these weights are of the first."
    else:
        yield f"- On the test set: {name} {metrics['test_mean']:.4f} (one seed: no interval)."
    others = {one: value for one, value in metrics["test_means"].items() if one != name and value is not None}
    if others:
        what = "means over the seeds" if len(seeds) > 1 else "of the one seed"
        yield f"- Other figures there ({what}): {', '.join(f'{one} {value:.4f}' for one, value in others.items())}."
    if (precision := metrics.get("precision", "fp32")) != "fp32":
        yield f"- These are figures of {precision} files, which is what ships; those of the float32 weights are others."
    if error is not None:
        yield f"- {data['tested_on']:,} test samples know it to +-{error:.4f}."
    searched, gap = metrics["validation_in_the_search"], metrics["gap"]
    if name in searched and gap is not None:
        share = searched["share_of_its_training"]
        then = f" after {100 * share:.3g} % of a training" if 0 < share < 1 else ""
        if "epochs" in searched:  # which earlier cards do not say
            then = f" after {_epochs(searched['epochs'])}{then.replace(' after', ',')}"
        yield f"- In the search, on validation data{then}: {searched[name]:.4f}."
        if "epochs" in searched and gap:
            chance = error is not None and abs(gap) <= error
            words = "no more than the chance error of the test set" if chance else None
            yield f"- Gap {gap:+.4f}: {words or _gap_words(gap, searched['epochs'], epochs)}."
    yield ""
    own = metrics["of_these_weights"]
    by_class, confusion = own["accuracy_by_class"], own["confusion"]
    if by_class and len(by_class) <= _MOST:
        yield "Test samples by class (rows) and by the class these weights take them for:"
        yield ""
        yield "| | " + " | ".join(map(_plain, by_class)) + " | right |"
        yield "|---" * (len(by_class) + 2) + "|"
        for (label, right), row in zip(by_class.items(), confusion, strict=True):
            share = "" if right is None else f"{right:.4f}"
            yield f"| {_plain(label)} | " + " | ".join(map(str, row)) + f" | {share} |"
        yield ""
    elif by_class:
        known = sorted((value, label) for label, value in by_class.items() if value is not None)
        worst = ", ".join(f"{_plain(label)} {value:.4f}" for value, label in known[:_MOST])
        yield f"Of {len(by_class)} classes the hardest for these weights: {worst}; all of them in `{CARD_JSON}`."
        yield ""


def _time_words(training: Mapping[str, Any]) -> Iterator[str]:
    """Say what a time limit did to a training, where it did something."""
    timing = training.get("time_limit")
    if timing is None:
        return
    limit, took = timing["limit_seconds"], timing["ended_after_seconds"]
    if before := timing.get("epochs_first_planned"):
        speed = "longer" if training["epochs"] < before else "less time"
        other = f"{training['epochs']} epochs instead of {before}"
        yield f"- A time limit of {readable(limit)} chose the epochs; they took {speed} than in the search: {other}."
    if took > LATE * limit:
        yield f"- It was done {readable(took)} after the command began, {took / limit - 1:.0%} over its time limit."


def _gap_words(gap: float, searched: float, epochs: int) -> str:
    """Say what a gap means of a network that was trained for so many epochs in the search, and in full."""
    if gap > 0:
        return "worse on the test set than in the search, which chose it by those validation data"
    more = f"for {_epochs(epochs)}" if epochs > searched else "on all samples"
    return f"better on the test set than in the search, now that it was trained {more}"


def _epochs(n: float) -> str:
    return f"{n:.3g} epoch" + ("" if n == 1 else "s")


def _inputs(data: Mapping[str, Any]) -> Iterator[str]:
    """Say what goes in: numbers of a shape, and of a table or of texts what they are made of."""
    recipe, shape = data.get("recipe"), tuple(data["input_shape"])
    if recipe is None:
        yield f"- Input {shape}."
    elif recipe["kind"] == "text":
        yield f"- Input {shape}: the first {recipe['length']} tokens of a text, of {recipe['vocabulary']:,} that are"
        yield f"  known; the tokenizer is in `{CARD_JSON}` and beside an exported file."
    else:
        yield f"- Input {shape}, made of {len(recipe['columns'])} columns of a table:"
        yield from (f"  - {_column_words(column)}" for column in recipe["columns"])


def _column_words(column: Mapping[str, Any]) -> str:
    if column["kind"] == "number":
        told = ", and whether it is missing" if column["missing"] else ""
        return f"{_plain(column['name'])}: a number, {column['median']:.6g} where it is missing{told}"
    return f"{_plain(column['name'])}: one of {_some(column['values'])}, or another"


def _target_words(one: Mapping[str, Any]) -> str:
    return (
        f"{_plain(one['name'])}: y_mean {one['y_mean']:.6g}, y_std {one['y_std']:.6g}; from {one['low']:.6g} to "
        f"{one['high']:.6g} in training and validation data."
    )


def _targets(task: Task) -> list[dict[str, Any]]:
    """Return of each target its name, how outputs are turned back, and from where to where it goes."""
    if not task.targets:
        return []
    y = task.full()[1].cpu().numpy().astype("f8")
    named = zip(task.targets, task.y_mean, task.y_std, y.min(axis=0), y.max(axis=0), strict=True)
    return [
        {"name": name, "y_mean": mean, "y_std": std, "low": low * std + mean, "high": high * std + mean}
        for name, mean, std, low, high in named
    ]


def _heeded(recipe: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Return what of a training has an effect on this task."""
    without = _OF_CLASSES if task.targets else ()
    return {name: value for name, value in recipe.items() if name not in without}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _prices(card: Mapping[str, Any]) -> Iterator[str]:
    yield "## What it costs"
    yield ""
    for name, price in card["prices"]["measured"].items():
        interval = f" [{price['low']:.4g}, {price['high']:.4g}]" if price["low"] != price["high"] else ""
        target = f", on {price['target']}" if "target" in price else ""
        yield f"- {name} {price['value']:.6g}{interval}{target}"
    cpu = card["prices"]["machine_of_the_search"].get("cpu")
    yield f"- Measured in the search, one sample at a time unless the target says otherwise, on {cpu or 'unknown'}."
    for one in card["budgets"]:
        yield f"- Budget {one['budget']}: {'kept' if one['kept'] else 'BROKEN'} ({one['value']:.6g})."
    yield ""


def _by_class(classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> dict[str, float | None]:
    """Return the share of each class's test samples that are taken for it; None where there is none."""
    rows = zip(classes, confusion, strict=bool(confusion))
    return {label: row[i] / sum(row) if sum(row) else None for i, (label, row) in enumerate(rows)}


def _target(config: StudyConfig, price: str) -> dict[str, str]:
    return {"target": config.latencies().get(price, price.partition("@")[2])} if is_latency(price) else {}


def _place(run: RunFolder) -> str:
    """Return the run folder as a command may name it: no path of this machine."""
    return run.path.name if run.path.is_absolute() else run.path.as_posix()


def _code(config: StudyConfig) -> str:
    """Return the function that makes the data, to be named again in each command: no path of this machine; else ""."""
    from nas.data import is_code  # loads torch, which a table of retrainings can do without

    return re.sub(r"\A/.*/(?=[^/]+\.py:)", "", config.data) if is_code(config.data) else ""


def _part(value: object) -> str:
    """Return a choice of the recipe as one reads it: sgd (lr 0.1, momentum 0.9)."""
    if isinstance(value, Mapping):
        named = [(name, inner) for name, inner in value.items() if inner != {}]
        return ", ".join(
            f"{name} ({_part(inner)})" if isinstance(inner, Mapping) else f"{name} {_part(inner)}"
            for name, inner in named
        ) or ", ".join(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


_MARKS = str.maketrans({mark: f"&#{ord(mark)};" for mark in "\\`*[]<>|"})


def _plain(name: object) -> str:
    """Return a name of the user's so that a page shows it: no column, line, HTML or link comes of it."""
    return re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(str(name).split())).translate(_MARKS)


def _seconds(each: Sequence[float]) -> str:
    return f"{sum(each) / len(each):.3g} s"


def _some(values: Sequence[object]) -> str:
    shown = [f"{value:.6g}" if isinstance(value, float) else _plain(value) for value in values[:_MOST]]
    return ", ".join(shown) + (f", ... ({len(values)} in `{CARD_JSON}`)" if len(values) > _MOST else "")
