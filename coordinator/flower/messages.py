"""Between Flower messages and the rounds' own types; nothing is decided here."""

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict

from coordinator.flower.grid import message_bytes
from coordinator.rounds.collect import Reply
from shared.adapters import Arrays
from shared.wire.names import ARRAYS, BODY, ENVELOPE


def array_record(arrays: Arrays) -> ArrayRecord:
    """Return the tensors as Flower's record."""
    return ArrayRecord({name: Array(value) for name, value in arrays.items()})


def outgoing(
    body: bytes, node: int, kind: str, ttl_s: float, arrays: ArrayRecord | None = None
) -> Message:
    """Return a message for a node; it dies after ``ttl_s`` seconds if nobody fetches it."""
    content = RecordDict({ENVELOPE: ConfigRecord({BODY: body})})
    if arrays is not None:
        content[ARRAYS] = arrays
    return Message(content, node, kind, ttl=ttl_s)


def incoming(message: Message, stores: dict[int, str]) -> Reply:
    """Return what a node sent, under the store that its key is enrolled for."""
    node = message.metadata.src_node_id
    sender = stores.get(node, f"node-{node}")
    if message.has_error():
        # Flower's text may quote an exception of the store's process: only its code goes on.
        return Reply(sender=sender, error=f"Flower error {message.error.code}")
    envelope = message.content.config_records.get(ENVELOPE, ConfigRecord())
    body = envelope.get(BODY, b"")
    return Reply(
        sender=sender,
        body=body if isinstance(body, bytes) else b"",
        arrays=_arrays(message.content.array_records.get(ARRAYS, ArrayRecord())),
        bytes_up=message_bytes(message),
    )


def _arrays(record: ArrayRecord) -> Arrays:
    try:
        return {name: array.numpy() for name, array in record.items()}
    except (ValueError, TypeError, EOFError):
        # Not a tensor at all: the empty set fails the check of shapes, under this sender's name.
        return {}
