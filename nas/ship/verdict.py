"""Whether an exported file keeps the budgets of its run, and whether its 8 bits are worth it."""

from __future__ import annotations

from collections.abc import Mapping

from nas.objectives import Objective, is_latency
from nas.study.config import StudyConfig

_WORTH = 0.01
"""What an int8 file may lose: of a share so much, of another figure such a share of it."""


def budgets_kept(config: StudyConfig, known: Mapping[str, float]) -> str:
    """Say whether figures keep the budgets of a run; one on a latency that is not known is of another runtime."""
    if not config.budgets:
        return "no budget was set"
    budgets = config.parsed_budgets()
    broken = [b for b in budgets if b.objective in known and not b.kept(known[b.objective])]
    if broken:
        return "breaks " + ", ".join(f"{b} ({known[b.objective]:.4g})" for b in broken)
    if elsewhere := [str(b) for b in budgets if is_latency(b.objective) and b.objective not in known]:
        return f"keeps every budget that applies; {', '.join(elsewhere)} is of another runtime"
    return "keeps every budget"


def doubts(speedup: float, metric: Objective, torch: float, file: float) -> str:
    """Say what speaks against an int8 file; "" where nothing does."""
    found = []
    if speedup <= 1:
        found.append(f"{speedup:.2f} times the speed of fp32")
    lost, most = metric.loss(file) - metric.loss(torch), _WORTH if metric.is_share else _WORTH * abs(torch)
    if lost > most:
        found.append(f"{metric.name} {file:.4f} instead of {torch:.4f}")
    return ", ".join(found)
