"""HQ's hand on an inference service: port ``ServingControl`` over gRPC."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from shared.release_files import manifest_bytes
from shared.releases import Release
from shared.wire import inference_pb2 as pb
from shared.wire import inference_pb2_grpc as pb_grpc
from shared.wire.status import error_of
from shared.wire.tls import TlsFiles, channel_credentials

_STAGE_S = 900.0
_WARM_S = 300.0
_MOVE_S = 15.0


class GrpcControl:
    """Steers the service at ``target`` (``host:port``); with ``tls``, both sides show certificates.

    Every method returns the service's state as a mapping with the fields of ``SlotStatus`` or
    ``ServingStatus``, and raises the error that the service raised (``Unavailable`` where it
    cannot be reached). Blocking; one object may be used from several threads.
    """

    def __init__(self, target: str, *, tls: TlsFiles | None) -> None:
        """Open a channel; it connects at the first call."""
        self.target = target
        self._channel = (
            grpc.secure_channel(target, channel_credentials(tls))
            if tls
            else grpc.insecure_channel(target)
        )
        self._stub = pb_grpc.ModelControlStub(self._channel)

    def stage(self, release: Release, registry: str) -> Mapping[str, Any]:
        """Have the service fetch, verify and load a release beside the one that serves."""
        request = pb.StageRequest(
            release_id=release.release_id, registry=registry, manifest=manifest_bytes(release)
        )
        return self._ask(self._stub.Stage, request, _STAGE_S)

    def warm(self, release_id: str, prompts: Sequence[str]) -> Mapping[str, Any]:
        """Have the release answer prompts."""
        request = pb.WarmRequest(release_id=release_id, prompts=prompts)
        return self._ask(self._stub.Warm, request, _WARM_S)

    def set_weight(self, release_id: str, percent: int) -> Mapping[str, Any]:
        """Give the canary its share of traffic."""
        request = pb.SetWeightRequest(release_id=release_id, percent=percent)
        return self._ask(self._stub.SetWeight, request, _MOVE_S)

    def promote(self, release_id: str) -> Mapping[str, Any]:
        """Make the canary stable."""
        return self._ask(self._stub.Promote, pb.PromoteRequest(release_id=release_id), _MOVE_S)

    def rollback(self, reason: str) -> Mapping[str, Any]:
        """Drop the canary, or go back to the former stable release."""
        return self._ask(self._stub.Rollback, pb.RollbackRequest(reason=reason), _MOVE_S)

    def status(self) -> Mapping[str, Any]:
        """Return all slots and what waits."""
        return self._ask(self._stub.Status, pb.StatusRequest(), _MOVE_S)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the channel."""
        self.close()

    def _ask(
        self, call: Callable[..., Message], request: Message, timeout_s: float
    ) -> Mapping[str, Any]:
        try:
            reply = call(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise error_of(error, self.target) from None
        return _plain(reply)


def _plain(message: Message) -> dict[str, Any]:
    """Return a message's fields by their own names; whole numbers stay whole."""
    out: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for slot in (out, *out.get("slots", [])):
        for name in ("requests", "errors"):
            if name in slot:
                slot[name] = int(slot[name])
    return out
