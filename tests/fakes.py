"""Fakes for ports, shared by the tests of several folders."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from shared.errors import Unavailable
from store_node.ports import Chunk, Generate, Scores


class FakeEngine:
    """An engine that says a fixed reply, word by word, and likes one intent best.

    ``gate``: where given, generation waits for it after the first word.
    """

    def __init__(
        self,
        reply: str = " Thank you.",
        intent: str = "",
        *,
        up: bool = True,
        gate: asyncio.Event | None = None,
        release: str = "rel-fake",
    ) -> None:
        self.reply = reply
        self.intent = intent
        self.up = up
        self.gate = gate
        self.release = release
        self.prompts: list[str] = []

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk]:
        self._check()
        self.prompts.append(request.prompt)
        words = self.reply.split(" ")
        for at, word in enumerate(words):
            if at == 1 and self.gate is not None:
                await self.gate.wait()
            yield Chunk(text=word if at == 0 else f" {word}", release=self.release)
        yield Chunk(
            text="",
            finish_reason="stop",
            release=self.release,
            prompt_tokens=len(request.prompt.split()),
            completion_tokens=len(words),
        )

    async def score(
        self, prompt: str, candidates: Sequence[str], *, release: str = "", sticky_key: str = ""
    ) -> Scores:
        self._check()
        liked = " " + self.intent.replace("_", " ") + "\n"
        return Scores(
            log_likelihoods=tuple(-0.1 if text == liked else -20.0 for text in candidates),
            tokens=tuple(len(text) for text in candidates),
            release=self.release,
        )

    async def ready(self) -> bool:
        return self.up

    def _check(self) -> None:
        if not self.up:
            raise Unavailable("the engine is down")
