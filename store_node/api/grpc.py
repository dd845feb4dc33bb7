"""The inference service over gRPC: translates between messages and the engine, nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from shared.config import ServingSettings
from shared.errors import BadInput, StoreWeaveError, Unavailable
from shared.wire import inference_pb2 as pb
from shared.wire import inference_pb2_grpc as pb_grpc
from shared.wire.status import CODE_KEY, status_of
from shared.wire.tls import TlsFiles, server_credentials
from store_node.ports import Generate
from store_node.serving.engine import EmbeddedEngine
from store_node.serving.slots import ServingView, SlotView

INFERENCE = pb.DESCRIPTOR.services_by_name["Inference"].full_name
CONTROL = pb.DESCRIPTOR.services_by_name["ModelControl"].full_name
MAX_NEW_TOKENS = 4096
_MESSAGE_BYTES = 4 * 1024 * 1024
Context = grpc.aio.ServicerContext
Answer = TypeVar("Answer")


class InferenceServicer(pb_grpc.InferenceServicer):
    """``Generate`` and ``Score``; the caller's deadline and cancellation reach the engine."""

    def __init__(self, engine: EmbeddedEngine, serving: ServingSettings) -> None:
        """Answer with ``engine``; ``serving`` has the default length."""
        self._engine = engine
        self._serving = serving

    async def Generate(
        self, request: pb.GenerateRequest, context: Context[Any, Any]
    ) -> AsyncIterator[pb.GenerateChunk]:
        """Stream a completion."""
        if not 0 <= request.max_new_tokens <= MAX_NEW_TOKENS:
            error = BadInput(
                f"max_new_tokens {request.max_new_tokens} is not 1 to {MAX_NEW_TOKENS}"
            )
            await _abort(context, error)
        wanted = Generate(
            request_id=request.request_id,
            prompt=request.prompt,
            max_new_tokens=request.max_new_tokens or self._serving.max_new_tokens,
            stop=tuple(request.stop),
            temperature=request.temperature,
            release=request.release,
            sticky_key=request.sticky_key,
        )
        try:
            async with aclosing(
                self._engine.generate(wanted, deadline=_deadline(context))
            ) as chunks:
                async for chunk in chunks:
                    yield pb.GenerateChunk(
                        text=chunk.text,
                        finish_reason=chunk.finish_reason,
                        release=chunk.release,
                        prompt_tokens=chunk.prompt_tokens,
                        completion_tokens=chunk.completion_tokens,
                    )
        except StoreWeaveError as error:
            await _abort(context, error)

    async def Score(self, request: pb.ScoreRequest, context: Context[Any, Any]) -> pb.ScoreReply:
        """Score candidates."""
        scores = await _answered(
            context,
            self._engine.score(
                request.prompt,
                list(request.candidates),
                release=request.release,
                sticky_key=request.sticky_key,
                deadline=_deadline(context),
            ),
        )
        return pb.ScoreReply(
            log_likelihoods=scores.log_likelihoods, tokens=scores.tokens, release=scores.release
        )


class ModelControlServicer(pb_grpc.ModelControlServicer):
    """The moves of slots; every answer is the state after the move."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        """Steer ``engine``."""
        self._engine = engine

    async def Stage(self, request: pb.StageRequest, context: Context[Any, Any]) -> pb.SlotStatus:
        """Fetch, verify, load."""
        view = await _answered(
            context,
            self._engine.stage(request.release_id, request.manifest, request.registry),
        )
        return _slot(view)

    async def Warm(self, request: pb.WarmRequest, context: Context[Any, Any]) -> pb.SlotStatus:
        """Answer warm-up prompts."""
        view = await _answered(
            context, self._engine.warm(request.release_id, list(request.prompts))
        )
        return _slot(view)

    async def SetWeight(
        self, request: pb.SetWeightRequest, context: Context[Any, Any]
    ) -> pb.ServingStatus:
        """Give the canary its share."""
        return await self._moved(
            context, lambda: self._engine.set_weight(request.release_id, request.percent)
        )

    async def Promote(
        self, request: pb.PromoteRequest, context: Context[Any, Any]
    ) -> pb.ServingStatus:
        """Make the canary stable."""
        return await self._moved(context, lambda: self._engine.promote(request.release_id))

    async def Rollback(
        self, request: pb.RollbackRequest, context: Context[Any, Any]
    ) -> pb.ServingStatus:
        """Go back."""
        return await self._moved(context, lambda: self._engine.rollback(request.reason))

    async def Status(
        self, request: pb.StatusRequest, context: Context[Any, Any]
    ) -> pb.ServingStatus:
        """Show all slots."""
        return await self._moved(context, self._engine.view)

    async def _moved(
        self, context: Context[Any, Any], move: Callable[[], ServingView]
    ) -> pb.ServingStatus:
        try:
            view = move()
        except StoreWeaveError as error:
            await _abort(context, error)
            raise
        return pb.ServingStatus(
            slots=[_slot(slot) for slot in view.slots],
            stable=view.stable,
            canary=view.canary,
            requests_running=self._engine.running,
            requests_waiting=self._engine.waiting,
        )


@dataclass(slots=True, kw_only=True)
class InferenceServer:
    """A running server; ``port`` is the one that it listens on."""

    engine: EmbeddedEngine
    port: int
    server: grpc.aio.Server
    health: Any

    async def stop(self, drain_s: float = 30.0) -> None:
        """Say ``NOT_SERVING``, refuse new calls, let those in flight finish, then stop."""
        await self.health.enter_graceful_shutdown()
        stopping = asyncio.create_task(self.server.stop(drain_s))
        await self.engine.close(drain_s)
        await stopping


async def start_server(
    engine: EmbeddedEngine,
    serving: ServingSettings,
    *,
    host: str,
    port: int,
    tls: TlsFiles | None = None,
) -> InferenceServer:
    """Serve both services and the health service (a name per service, and the empty name).

    Raises:
        Unavailable: the port cannot be taken.
    """
    server = grpc.aio.server(
        options=[
            # Two servers on one port would share its connections without a word.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
        ]
    )
    pb_grpc.add_InferenceServicer_to_server(InferenceServicer(engine, serving), server)
    pb_grpc.add_ModelControlServicer_to_server(ModelControlServicer(engine), server)
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    address = f"{host}:{port}"
    try:
        taken = (
            server.add_secure_port(address, server_credentials(tls))
            if tls
            else server.add_insecure_port(address)
        )
    except RuntimeError:
        taken = 0
    if not taken:
        raise Unavailable(
            "the port cannot be taken", where=address, remedy="set [serving] port, or 0 for any"
        )
    await server.start()
    for name in ("", INFERENCE, CONTROL):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    return InferenceServer(engine=engine, port=taken, server=server, health=checks)


def _deadline(context: Context[Any, Any]) -> float:
    """Return the caller's deadline in ``time.monotonic``."""
    left = context.time_remaining()
    return float("inf") if left is None else time.monotonic() + left


async def _answered(context: Context[Any, Any], work: Awaitable[Answer]) -> Answer:
    """Return the result of ``work``; an error of ours ends the call with its status."""
    try:
        return await work
    except StoreWeaveError as error:
        await _abort(context, error)
        raise


async def _abort(context: Context[Any, Any], error: StoreWeaveError) -> None:
    await context.abort(status_of(error), str(error), ((CODE_KEY, error.code),))


def _slot(view: SlotView) -> pb.SlotStatus:
    return pb.SlotStatus(
        release_id=view.release_id,
        stage=view.stage,
        weight=view.weight,
        digest=view.digest,
        requests=view.requests,
        errors=view.errors,
        p50_s=view.p50_s,
        p99_s=view.p99_s,
        load_s=view.load_s,
    )
