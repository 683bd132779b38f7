"""What figures are called on a picture and a page, and how a number is written there."""

from __future__ import annotations

from nas.objectives import Objective, is_latency, parse_objective

_LABELS = {
    "accuracy": "validation accuracy",
    "balanced_accuracy": "balanced accuracy on validation data",
    "macro_f1": "macro F1 on validation data",
    "loss": "validation loss (nats)",
    "rmse": "root mean squared error on validation data",
    "mae": "mean absolute error on validation data",
    "r2": "R\u00b2 on validation data",
    "macs": "multiply-adds",
    "n_params": "parameters",
    "size_bytes": "size of the ONNX file (bytes)",
    "peak_bytes": "memory of the activations (bytes)",
}


def label(objective: Objective) -> str:
    """Return what stands at an axis."""
    if is_latency(objective.name):
        return " on ".join(["latency (ms)", *objective.name.split("@")[1:]])
    return _LABELS.get(objective.name, objective.name)


def short(objective: Objective) -> str:
    """Return the same for the head of a narrow column."""
    if is_latency(objective.name):
        return "ms"
    return {"n_params": "params", "size_bytes": "bytes", "peak_bytes": "peak"}.get(objective.name, objective.name)


def head(name: str) -> str:
    """Return what an objective is called in a table that has a column for each.

    >>> head("latency_ms@openvino:threads=2"), head("macs")
    ('latency @openvino:threads=2', 'MACs')
    """
    base, at, target = name.partition("@")
    known = {"latency_ms": "latency", "macs": "MACs", "n_params": "parameters", "size_bytes": "size"}
    known |= {
        "peak_bytes": "peak memory",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro F1",
        "r2": "R\u00b2",
    }
    return f"{known.get(base, base)}{' @' if at else ''}{target}"


def kind(name: str) -> str:
    """Return how the figures of an objective are written: share or loss (four decimals), value (four digits), ms, ...

    >>> kind("accuracy"), kind("macro_f1"), kind("rmse"), kind("latency_ms@openvino"), kind("macs")
    ('share', 'share', 'value', 'ms', 'count')
    """
    if is_latency(name):
        return "ms"
    objective = parse_objective(name)
    if objective.is_share and objective.best == 1 and objective.direction == "maximize":
        return "share"
    known = {"loss": "loss", "r2": "loss", "size_bytes": "bytes", "peak_bytes": "bytes"}
    return known.get(name, "count" if objective.cheap else "value")


def figure(name: str, value: float) -> str:
    """Return a figure with its unit, as a sentence has it.

    >>> figure("accuracy", 0.98611), figure("latency_ms", 0.2145), figure("macs", 1310720), figure("size_bytes", 14656)
    ('0.9861', '0.214 ms', '1.31M', '14.7 kB')
    """
    if kind(name) in ("share", "loss"):
        return f"{value:.4f}"
    if kind(name) == "value":
        return f"{value:.4g}"
    if kind(name) == "ms":
        return f"{value:.3g} ms" if value < 100 else f"{value:.0f} ms"
    if kind(name) == "bytes":
        return next(
            (
                f"{value / scale:.3g} {unit}"
                for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
                if value >= scale
            ),
            f"{value:.0f} B",
        )
    return plain(float(f"{value:.3g}"))


def plain(value: float) -> str:
    """Return a figure without exponents.

    >>> plain(0.005), plain(20000), plain(3e6)
    ('0.005', '20k', '3M')
    """
    for scale, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale:
            return f"{value / scale:g}{letter}"
    return f"{value:.10g}"
