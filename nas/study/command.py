"""The commands that a run was made with, put together from what it kept: exact, whoever started it and how."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nas.catalog import shipped
from nas.data.code import is_code
from nas.space import Space
from nas.study.config import StudyConfig
from nas.study.elsewhere import options_again

OWN_SPACE = "space.yaml"
"""Stands in a command for a space that is none of those that come with the package."""

_OPTIONS = {
    "task": "--task",
    "test_data": "--test-data",
    "encoding": "--encoding",
    "text_column": "--text-column",
    "vocabulary": "--vocabulary",
    "resolution": "--resolution",
    "channels": "--channels",
    "length": "--length",
    "val_share": "--val-share",
    "epochs": "--epochs",
    "subset": "--subset",
    "subset_method": "--subset-method",
    "sampler": "--sampler",
    "runtime": "--target",
    "device": "--device",
    "seed": "--seed",
    "trial_time_limit_s": "--trial-time-limit",
}
"""Given where they are not what they are by default."""


def search_commands(config: StudyConfig, searches: Sequence[Mapping[str, Any]], out: str) -> list[str]:
    """Return a `nas search` for each search that went into a run, the later ones with `--resume`.

    Args:
        searches: those of `machine.json`; a run of before they were kept has none, and its limits are not known.
        out: the run folder to name.
    """
    words = ["nas", "search", _named(config.space), "--data", config.data]
    if config.data_root != _default("data_root"):
        words += ["--data-root", config.data_root]
    words += [word for name in config.target_column for word in ("--target-column", name)]
    words += [word for name in config.objectives if name != "auto" for word in ("--objective", name)]
    words += [word for text in config.budgets for word in ("--budget", text)]
    words += [word for text in config.enough for word in ("--enough", text)]
    words += [word for share in config.rungs if share != "auto" for word in ("--rung", share)]
    words += [word for run in config.warm_start for word in ("--warm-start", run)]
    words += [word for plugin in config.plugins for word in ("--plugin", plugin.name)]
    for name, option in _OPTIONS.items():
        value = getattr(config, name)
        if value != _default(name):
            words += [option, f"{value:g}s" if name == "trial_time_limit_s" else str(value)]
    words += ["--out", out]
    first, *further = searches or [{}]
    again = ["nas", "search", "--resume", "--out", out, *options_again(config)]
    again += code_again(config)
    return [shlex.join([*words, *_limits(first)]), *(shlex.join([*again, *_limits(search)]) for search in further)]


def code_again(config: StudyConfig) -> list[str]:
    """Return the options that name the code of a run again, which no command runs because a file names it."""
    plugins = [word for plugin in config.plugins for word in ("--plugin", plugin.name)]
    return [*plugins, *(["--data", config.data] if is_code(config.data) else [])]


def _limits(search: Mapping[str, Any]) -> list[str]:
    given, words = search.get("limits", {}), []
    if "trials" in given:
        words += ["--trials", str(given["trials"])]
    if "seconds" in given:
        words += ["--time-limit", f"{given['seconds']:g}s"]
    if "plateau" in given:
        words += ["--plateau", str(given["plateau"])]
    if search.get("executor", "local") != "local":
        words += ["--executor", str(search["executor"])]
    if (workers := search.get("workers", 1)) != 1:
        words += ["--workers", str(workers)]
    return words


def _named(space: Space) -> str:
    """Return the name of a shipped space, where it still is the very same; else a file to be written first."""
    path = shipped().get(space.name)
    same = path is not None and Space.from_yaml(path).fingerprint() == space.fingerprint()
    return space.name if same else OWN_SPACE


def _default(name: str) -> object:
    return next(f.default for f in dataclasses.fields(StudyConfig) if f.name == name)
