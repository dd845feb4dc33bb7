"""Progress that a person can follow: one line a stage, with its time, on standard error."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from deploy.demo.facts import StageTime

TITLES = {
    "data": "Make a synthetic retail world",
    "model": "Prepare the base model",
    "install": "Make homes, keys and certificates",
    "import": "Import each store's data",
    "samples": "Desensitize conversations into training samples",
    "start": "Start inference, HQ, SuperLink, stores and SuperNodes",
    "baseline": "Ask each store with the base model",
    "plan": "Plan the run: epsilon, minutes, bytes",
    "rounds": "Train under differential privacy and aggregate in Flower",
    "verify": "Verify every ledger with two accountants",
    "build": "Merge, gate per language, sign, register",
    "rollout": "Push: stage, warm, 10 %, 100 %",
    "questions": "Ask the same questions again",
    "stop": "Stop all processes",
}


@dataclass(slots=True)
class Stages:
    """Runs stages, prints them, and remembers how long each took."""

    console: Console
    times: list[StageTime] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator["Notes"]:
        """Run a block as the stage ``name``; the yielded object takes remarks."""
        begun = time.monotonic()
        title = TITLES.get(name, name)
        with self.console.status(f"{title} …") as status:
            notes = Notes(lambda text: status.update(f"{title} … [dim]{text}[/dim]"))
            yield notes
        seconds = time.monotonic() - begun
        self.times.append(StageTime(name=name, seconds=seconds))
        tail = f"  [dim]{notes.last}[/dim]" if notes.last else ""
        self.console.print(f"[green]✓[/green] {title:<58}{seconds:6.1f} s{tail}")

    def seconds(self) -> float:
        """Return the time of all stages so far."""
        return sum(stage.seconds for stage in self.times)


class Notes:
    """Remarks on the stage under way; the last one stays on its line."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self.last = ""

    def __call__(self, text: str) -> None:
        """Show a remark."""
        self.last = text
        self._show(text)
