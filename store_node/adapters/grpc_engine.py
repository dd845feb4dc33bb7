"""The engine as a gRPC client: port ``Engine`` against an inference service elsewhere."""

from collections.abc import AsyncGenerator, Sequence

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.wire import inference_pb2 as pb
from shared.wire import inference_pb2_grpc as pb_grpc
from shared.wire.status import error_of
from shared.wire.tls import TlsFiles, channel_credentials
from store_node.ports import Chunk, Generate, Scores

_INFERENCE = pb.DESCRIPTOR.services_by_name["Inference"].full_name


class GrpcEngine:
    """Generates and scores at ``target`` (``host:port``); ``tls``: both sides show certificates.

    Use it from one event loop; the channel is made at the first call and reconnects by itself.
    """

    def __init__(
        self,
        target: str,
        *,
        tls: TlsFiles | None,
        generate_timeout_s: float = 60.0,
        score_timeout_s: float = 20.0,
    ) -> None:
        """Remember where the service is; the deadlines hold for a whole call."""
        self._target = target
        self._tls = tls
        self._generate_timeout_s = generate_timeout_s
        self._score_timeout_s = score_timeout_s
        self._channel: grpc.aio.Channel | None = None

    async def generate(self, request: Generate) -> AsyncGenerator[Chunk, None]:
        """Stream a completion; closing the iterator cancels it at the service.

        Raises:
            Unavailable: the service cannot be reached, is overloaded, or was too slow.
            BadInput: the service refuses a value of the request.
        """
        call = pb_grpc.InferenceStub(self._open()).Generate(
            pb.GenerateRequest(
                request_id=request.request_id,
                prompt=request.prompt,
                max_new_tokens=request.max_new_tokens,
                stop=request.stop,
                temperature=request.temperature,
                release=request.release,
                sticky_key=request.sticky_key,
            ),
            timeout=self._generate_timeout_s,
        )
        try:
            async for chunk in call:
                yield Chunk(
                    text=chunk.text,
                    finish_reason=chunk.finish_reason,
                    release=chunk.release,
                    prompt_tokens=chunk.prompt_tokens,
                    completion_tokens=chunk.completion_tokens,
                )
        except grpc.RpcError as error:
            raise error_of(error, self._target) from None
        finally:
            call.cancel()

    async def score(
        self, prompt: str, candidates: Sequence[str], *, release: str = "", sticky_key: str = ""
    ) -> Scores:
        """Return the log-likelihood of each candidate as continuation of the prompt.

        Raises:
            Unavailable: the service cannot be reached, is overloaded, or was too slow.
            BadInput: the service refuses a value.
        """
        request = pb.ScoreRequest(
            prompt=prompt, candidates=candidates, release=release, sticky_key=sticky_key
        )
        try:
            reply = await pb_grpc.InferenceStub(self._open()).Score(
                request, timeout=self._score_timeout_s
            )
        except grpc.RpcError as error:
            raise error_of(error, self._target) from None
        return Scores(
            log_likelihoods=tuple(reply.log_likelihoods),
            tokens=tuple(reply.tokens),
            release=reply.release,
        )

    async def ready(self) -> bool:
        """Return whether the service says that it serves."""
        stub = health_pb2_grpc.HealthStub(self._open())
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=_INFERENCE), timeout=2.0)
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = (
                grpc.aio.secure_channel(self._target, channel_credentials(self._tls))
                if self._tls
                else grpc.aio.insecure_channel(self._target)
            )
        return self._channel
