"""What the answer path tells about itself: times and counts, never a word of a customer."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Observer(Protocol):
    """Watches questions go through; ``api.metrics`` implements it for Prometheus."""

    def running(self) -> AbstractContextManager[None]:
        """Return a block during which one question is being answered."""
        ...

    def answered(self, *, lang: str, release: str, first_s: float | None, total_s: float) -> None:
        """Count an answer; times in seconds since the question arrived."""
        ...

    def engine_failed(self, kind: str) -> None:
        """Count a failure of the engine that the answer path worked around."""
        ...


class Unwatched:
    """An observer for the command line: looks away."""

    def running(self) -> AbstractContextManager[None]:
        """Return a block that does nothing."""
        return nullcontext()

    def answered(self, *, lang: str, release: str, first_s: float | None, total_s: float) -> None:
        """Do nothing."""

    def engine_failed(self, kind: str) -> None:
        """Do nothing."""
