"""What all measurements share: the machine they ran on, time, and the form of a result."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from shared.errors import BadInput

Figures = Mapping[str, float]
_CPU_INFO = Path("/proc/cpuinfo")
_LEAST_S = 1e-9


def machine(**extra: str) -> dict[str, Any]:
    """Return what a figure depends on: processor, cores, memory, Python."""
    return {
        "cpu": _cpu(),
        "cores": psutil.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **extra,
    }


def _cpu() -> str:
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def seconds(act: Callable[[], object]) -> float:
    """Return how long ``act`` took, never 0."""
    begun = time.perf_counter()
    act()
    return max(time.perf_counter() - begun, _LEAST_S)


def medians(acts: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return each act's median seconds; the acts take turns, so that all meet the same load."""
    found: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(repeats):
        for name, act in acts.items():
            found[name].append(seconds(act))
    return {name: statistics.median(values) for name, values in found.items()}


def at_least(least: int, **sizes: int) -> None:
    """Raise ``BadInput`` for a size below ``least``, by the name of its option."""
    for name, size in sizes.items():
        if size < least:
            raise BadInput(
                f"{size} is too small", where=f"--{name}", remedy=f"take {least} or more"
            )


def result(
    bench: str,
    *,
    size: Mapping[str, Any],
    figure: Figures,
    yardstick: Figures,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a measurement as every ``bench`` command answers it.

    Args:
        bench: its name.
        size: what was measured, and how much of it.
        figure: what our code took or did.
        yardstick: the plain work, from the same run, under the same names and more.
        versions: of libraries that the figure depends on.
    """
    return {
        "bench": bench,
        "machine": machine(**(versions or {})),
        "size": dict(size),
        "figure": dict(figure),
        "yardstick": dict(yardstick),
    }
