"""An engine that is still being loaded: refuses until it is there, then hands everything on."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from shared.errors import StoreWeaveError, Unavailable
from store_node.ports import Chunk, Engine, Generate, Scores

_log = logging.getLogger(__name__)


class DeferredEngine:
    """Loads an engine in a thread, so that the store can already answer from its database."""

    def __init__(self, load: Callable[[], Engine]) -> None:
        """Remember how to load; :meth:`start` does it."""
        self._load = load
        self._engine: Engine | None = None
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load; does nothing the second time. Needs a running event loop."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._run())

    async def loaded(self) -> bool:
        """Wait until loading has ended; return whether there is an engine."""
        self.start()
        if self._loading is not None:
            await asyncio.shield(self._loading)
        return self._engine is not None

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk]:
        """Stream a completion.

        Raises:
            Unavailable: not loaded (yet), or the engine says so.
        """
        stream = self._there().generate(request)
        if isinstance(stream, AsyncGenerator):
            async with aclosing(stream):
                async for chunk in stream:
                    yield chunk
        else:
            async for chunk in stream:
                yield chunk

    async def score(
        self, prompt: str, candidates: Sequence[str], *, release: str = "", sticky_key: str = ""
    ) -> Scores:
        """Return the log-likelihood of each candidate.

        Raises:
            Unavailable: not loaded (yet), or the engine says so.
        """
        return await self._there().score(prompt, candidates, release=release, sticky_key=sticky_key)

    async def ready(self) -> bool:
        """Return whether the engine is loaded and ready."""
        return self._engine is not None and await self._engine.ready()

    async def close(self) -> None:
        """Close the engine where it has something to close."""
        if self._loading is not None and not self._loading.done():
            self._loading.cancel()
        await close_engine(self._engine)

    async def _run(self) -> None:
        try:
            self._engine = await asyncio.to_thread(self._load)
        except StoreWeaveError as error:
            _log.error("the model could not be loaded: %s", error)

    def _there(self) -> Engine:
        if self._engine is None:
            raise Unavailable("the model is not loaded", remedy="see /health/ready and the log")
        return self._engine


class NoEngine:
    """The engine of a store that answers by its rules and its knowledge alone."""

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk]:
        """Refuse.

        Raises:
            Unavailable: always.
        """
        raise Unavailable("this store runs without a model")
        yield Chunk(text="")  # makes this a generator, as the port wants

    async def score(
        self, prompt: str, candidates: Sequence[str], *, release: str = "", sticky_key: str = ""
    ) -> Scores:
        """Refuse.

        Raises:
            Unavailable: always.
        """
        raise Unavailable("this store runs without a model")

    async def ready(self) -> bool:
        """Return false."""
        return False


async def close_engine(engine: object) -> None:
    """Close an engine that has a ``close``."""
    close = getattr(engine, "close", None)
    if close is not None:
        await close()
