"""The embedded engine: transformers in this process, one slot a release; also what HQ steers."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch

from shared.config import PerformanceSettings, ServingSettings
from shared.errors import BadInput, Refused, StoreWeaveError, Unavailable
from shared.ids import new_id
from store_node.ports import Chunk, Generate, Scores
from store_node.serving.model import LoadedModel, load_model
from store_node.serving.slots import ServingView, Slot, SlotTable, SlotView, view_of
from store_node.serving.staging import SlotFolders
from store_node.serving.worker import Event, Job, Piece, Scored, Worker

_log = logging.getLogger(__name__)
MAX_CANDIDATES = 512
_WARM_TOKENS = 8


@dataclass(slots=True, kw_only=True)
class _Call:
    """A request on its slot, from taking the slot to giving it back."""

    slot: Slot[Worker]
    deadline: float
    events: "asyncio.Queue[Event]" = field(default_factory=asyncio.Queue)
    job: Job | None = None
    answered: bool = False
    failed: bool = False


class EmbeddedEngine:
    """Generates and scores with models in this process (port ``Engine``), and moves its slots.

    Use it from one event loop. A request stays on the slot it began on; a slot that left service
    is freed after its last request.
    """

    def __init__(
        self,
        stable: Slot[Worker],
        folders: SlotFolders,
        serving: ServingSettings,
        performance: PerformanceSettings,
        dtype: torch.dtype | None = None,
    ) -> None:
        """Serve with a loaded slot; :meth:`open` makes it."""
        self._table: SlotTable[Worker] = SlotTable(stable)
        self._folders = folders
        self._serving = serving
        self._performance = performance
        self._dtype = dtype
        self._staging = asyncio.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        base: Path,
        base_digest: str,
        *,
        home: Path,
        serving: ServingSettings,
        performance: PerformanceSettings,
        dtype: torch.dtype | None = None,
    ) -> Self:
        """Load the release that was stable when the service last stopped, else the base model.

        Args:
            base: folder of the base model, served as release ``base-<first 12 of its digest>``.
            base_digest: :func:`shared.hashing.digest_folder` of it.
            home: holds ``hq.json`` (the trusted signer) and ``slots/``.
            serving: ``[serving]``.
            performance: ``[performance]``.
            dtype: ``None``: bfloat16 where the machine computes it natively, else float32.

        Raises:
            BadConfig: the model cannot be loaded, or there is no trusted signer any more.
            NotVerified: the files of the remembered release were changed.
        """
        if performance.threads:
            torch.set_num_threads(performance.threads)
        folders = SlotFolders(home)
        kept = folders.remembered()
        folder = kept.folder if kept else base
        release_id = kept.release.release_id if kept else f"base-{base_digest[:12]}"
        digest = kept.release.digest if kept else base_digest
        begun = time.monotonic()
        loaded = load_model(folder, device=performance.device, dtype=dtype)
        slot = _slot(release_id, digest, loaded, time.monotonic() - begun)
        return cls(slot, folders, serving, performance, dtype)

    async def generate(
        self, request: Generate, *, deadline: float = float("inf")
    ) -> AsyncGenerator[Chunk, None]:
        """Stream a completion; closing the iterator cancels it.

        Args:
            request: what to complete; a prompt over ``PROMPT_TOKENS`` is cut on the left.
            deadline: ``time.monotonic`` at which the caller gives up; past it counts as an error.

        Raises:
            Unavailable: too many wait, the service is closing, or the deadline passed.
            BadInput: a value is out of range, or the named release is not loaded.
        """
        if request.temperature < 0 or request.max_new_tokens < 1:
            raise BadInput("max_new_tokens must be at least 1 and temperature at least 0")
        call = self._begin(request.release, request.sticky_key or request.request_id, deadline)
        try:
            loaded = call.slot.payload.loaded
            call.job = Job(
                prompt=loaded.encode_prompt(request.prompt),
                emit=_emitter(call.events),
                max_new_tokens=request.max_new_tokens,
                stop=request.stop,
                temperature=request.temperature,
                deadline=deadline,
            )
            call.slot.payload.submit(call.job)
            while not call.answered:
                event = await self._next(call)
                if not isinstance(event, Piece):
                    raise Unavailable("the model gave no text")
                call.answered = bool(event.finish_reason)
                yield Chunk(
                    text=event.text,
                    finish_reason=event.finish_reason,
                    release=call.slot.release_id,
                    prompt_tokens=len(call.job.prompt),
                    completion_tokens=event.completion_tokens,
                )
        finally:
            self._end(call)

    async def score(
        self,
        prompt: str,
        candidates: Sequence[str],
        *,
        release: str = "",
        sticky_key: str = "",
        deadline: float = float("inf"),
    ) -> Scores:
        """Return the log-likelihood of each candidate as continuation of the prompt.

        Raises:
            Unavailable: too many wait, the service is closing, or the deadline passed.
            BadInput: no candidate, too many, an empty one, or an unknown release.
        """
        if not 0 < len(candidates) <= MAX_CANDIDATES:
            raise BadInput(f"{len(candidates)} candidates", remedy=f"give 1 to {MAX_CANDIDATES}")
        call = self._begin(release, sticky_key, deadline)
        try:
            loaded = call.slot.payload.loaded
            tokens = [loaded.encode_continuation(text) for text in candidates]
            if not all(tokens):
                raise BadInput("a candidate is empty", remedy="give text to score")
            call.job = Job(
                prompt=loaded.encode_prompt(prompt),
                emit=_emitter(call.events),
                candidates=tokens,
                deadline=deadline,
            )
            call.slot.payload.submit(call.job)
            event = await self._next(call)
            if not isinstance(event, Scored):
                raise Unavailable("the model gave no scores")
            call.answered = True
            return Scores(
                log_likelihoods=event.log_likelihoods,
                tokens=tuple(len(ids) for ids in tokens),
                release=call.slot.release_id,
            )
        finally:
            self._end(call)

    async def ready(self) -> bool:
        """Return whether requests would be answered."""
        return not self._closed

    async def stage(self, release_id: str, manifest: bytes, registry: str) -> SlotView:
        """Fetch, verify and load a release beside the stable one; again for the same is harmless.

        Raises:
            NotVerified, Refused, BadInput, BadConfig, Unavailable: see :meth:`SlotFolders.fetch`.
            IllegalMove: another release is on its way.
        """
        async with self._staging:
            self._table.check_free(release_id)
            fetched = await asyncio.to_thread(self._folders.fetch, manifest, registry)
            release = fetched.release
            if release.release_id != release_id:
                raise BadInput(f"the manifest is that of {release.release_id}", where=release_id)
            held = {view.release_id: view for view in self._table.view().slots}.get(release_id)
            if held is not None and held.digest != release.digest:
                raise Refused("another release is loaded under this id", where=release_id)
            if held is None:
                begun = time.monotonic()
                loaded = await asyncio.to_thread(
                    load_model, fetched.folder, device=self._performance.device, dtype=self._dtype
                )
                slot = _slot(release_id, release.digest, loaded, time.monotonic() - begun)
                self._table.stage(slot)
                _log.info("staged", extra={"release": release_id, "load_s": slot.load_s})
            else:
                self._table.restage_former(release_id)
            return view_of(self._table.find(release_id))

    async def warm(self, release_id: str, prompts: Sequence[str]) -> SlotView:
        """Answer a few tokens to each prompt on the release; they count as its requests.

        Raises:
            BadInput: the release is not loaded, or no prompt is given.
            Unavailable: the release does not answer.
        """
        if not prompts:
            raise BadInput("no warm-up prompt", remedy="give one or more")

        async def one(prompt: str) -> None:
            request = Generate(
                request_id=new_id("warm"),
                prompt=prompt,
                max_new_tokens=_WARM_TOKENS,
                release=release_id,
            )
            async for _ in self.generate(request):
                pass

        await asyncio.gather(*(one(prompt) for prompt in prompts))
        self._table.warmed(release_id)
        return view_of(self._table.find(release_id))

    def set_weight(self, release_id: str, percent: int) -> ServingView:
        """Give the canary its share; see :meth:`SlotTable.set_weight`."""
        self._table.set_weight(release_id, percent)
        return self._moved("weight", release_id)

    def promote(self, release_id: str) -> ServingView:
        """Make the canary stable, also after a restart; see :meth:`SlotTable.promote`."""
        self._table.promote(release_id)
        return self._moved("promoted", release_id)

    def rollback(self, reason: str) -> ServingView:
        """Drop the canary or go back to the former release; see :meth:`SlotTable.rollback`."""
        self._table.rollback()
        return self._moved("rolled back", reason)

    def view(self) -> ServingView:
        """Return what all slots show."""
        return self._table.view()

    @property
    def running(self) -> int:
        """Completions that are being decoded."""
        return sum(worker.running for worker in self._table.payloads())

    @property
    def waiting(self) -> int:
        """Requests that have not begun."""
        return sum(worker.waiting for worker in self._table.payloads())

    async def close(self, drain_s: float = 30.0) -> None:
        """Take no new request, let those in flight finish for ``drain_s``, stop the threads."""
        self._closed = True
        workers = self._table.payloads()
        await asyncio.gather(*(asyncio.to_thread(worker.close, drain_s) for worker in workers))

    def _begin(self, release: str, key: str, deadline: float) -> _Call:
        if self._closed:
            raise Unavailable("the inference service is closing", remedy="ask another replica")
        if self.waiting >= self._serving.max_waiting:
            raise Unavailable(
                f"{self._serving.max_waiting} requests wait already",
                remedy="ask again later",
                overloaded=True,
            )
        return _Call(slot=self._table.take(release, key or new_id("any")), deadline=deadline)

    async def _next(self, call: _Call) -> Event:
        """Return the worker's next event, raising those that are errors."""
        left = call.deadline - time.monotonic()
        try:
            event = await asyncio.wait_for(
                call.events.get(), None if left == float("inf") else max(0.0, left)
            )
        except TimeoutError:
            call.failed = True
            raise Unavailable("no answer before the deadline", deadline=True) from None
        if isinstance(event, StoreWeaveError):
            call.failed = True
            raise event
        return event

    def _end(self, call: _Call) -> None:
        job = call.job
        late = not call.answered and time.monotonic() >= call.deadline
        latency = job.first_at - job.submitted if job is not None and job.first_at else None
        if job is not None:
            job.cancelled = True
        self._table.done(call.slot, failed=call.failed or late, latency_s=latency)
        self._free()

    def _moved(self, what: str, about: str) -> ServingView:
        view = self._table.view()
        stable = self._table.stable.release_id
        self._folders.remember("" if stable.startswith("base-") else stable)
        _log.info(what, extra={"about": about, "stable": view.stable, "canary": view.canary})
        self._free()
        return view

    def _free(self) -> None:
        """Let go of slots that have drained: thread, memory, files."""
        drained = self._table.drained()
        for slot in drained:
            slot.payload.close(timeout_s=0)
            self._folders.drop(slot.release_id)
        if drained:
            gc.collect()


def _slot(release_id: str, digest: str, loaded: LoadedModel, load_s: float) -> Slot[Worker]:
    return Slot(
        release_id=release_id,
        digest=digest,
        payload=Worker(loaded, name=release_id),
        load_s=load_s,
    )


def _emitter(queue: "asyncio.Queue[Event]") -> Callable[[Event], None]:
    """Return a function that puts events into the queue from any thread."""
    loop = asyncio.get_running_loop()

    def emit(event: Event) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(queue.put_nowait, event)

    return emit
