"""``storeweave store worker``: turns conversations and labelled sentences into training samples."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli_context import Context, context_of
from deploy.commands.store_samples import desensitizer_of

if TYPE_CHECKING:
    from rich.status import Status

    from store_node.samples.desensitize import Desensitizer
    from store_node.samples.worker import Counts
    from store_node.wiring import StoreData

app = typer.Typer(no_args_is_help=True)
_POLL_S = 3.0
_BATCH = 50
"""Conversations between two looks at whether to stop: well under a second's work."""


class _Stopped(Exception):
    """Raised between two batches, where nothing is half done."""


class Worker:
    """Works off what is waiting, and adds up what it did."""

    def __init__(
        self, data: "StoreData", desensitizer: "Desensitizer", stop: threading.Event
    ) -> None:
        self._data = data
        self._desensitizer = desensitizer
        self._stop = stop
        self._numbers: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._intents_seen = -1

    def work(self, status: "Status") -> None:
        """Process until nothing is left.

        Raises:
            _Stopped: it was told to stop; what is left comes next time, and nothing twice.
        """
        from store_node.samples.worker import Counts, process

        done = Counts(dropped={})

        def on_progress(counts: "Counts") -> None:
            nonlocal done
            done = counts
            status.update(_line(counts))
            if self._stop.is_set():
                raise _Stopped

        # Labelled sentences have no mark of their own; only a change of their number tells of new.
        intents = self._data.importer.counts()["intents"]
        try:
            process(
                self._data.conversations,
                self._data.samples,
                self._desensitizer,
                batch=_BATCH,
                intents=intents != self._intents_seen,
                on_progress=on_progress,
            )
            self._intents_seen = intents
        finally:
            self._numbers.update(
                conversations=done.conversations, intents=done.intents, samples=done.samples
            )
            self._dropped.update(done.dropped)

    def counts(self) -> "Counts":
        """Return what was done in all."""
        from store_node.samples.worker import Counts

        return Counts(
            conversations=self._numbers["conversations"],
            intents=self._numbers["intents"],
            samples=self._numbers["samples"],
            dropped=dict(sorted(self._dropped.items())),
        )


@app.command("worker")
def worker(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="End when nothing is left, instead of waiting for more.")
    ] = False,
) -> None:
    """Mask closed conversations and keep them as training samples; may be stopped at any time.

    Imported conversations count as closed at once, chats after half an hour without a message.
    Nothing is written twice, however often it is stopped and started.
    """
    from store_node.wiring import opened

    context = context_of(ctx)
    stop = threading.Event()
    with opened(context.settings, context.home) as data, _told_by_signals(stop):
        masks = desensitizer_of(context, data.shop.names())
        found = Worker(data, masks, stop)
        try:
            with context.console.status("looking for conversations") as status:
                found.work(status)
                while not once and not stop.wait(_POLL_S):
                    found.work(status)
        except _Stopped:
            if once:
                # Not done: the caller must not take these counts for all there was.
                raise KeyboardInterrupt from None
    _tell(context, found.counts())


def _tell(context: Context, counts: "Counts") -> None:
    dropped = ", ".join(f"{reason} {number}" for reason, number in counts.dropped.items())
    context.answer(asdict(counts), _line(counts) + (f"\nleft out: {dropped}" if dropped else ""))


def _line(counts: "Counts") -> str:
    return (
        f"{counts.conversations} conversations, {counts.intents} labelled sentences: "
        f"{counts.samples} new samples"
    )


@contextmanager
def _told_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set ``stop`` at the first SIGTERM or Ctrl-C; a second one ends the program as ever."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def tell(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        restore()

    for number in numbers:
        signal.signal(number, tell)
    try:
        yield
    finally:
        restore()
