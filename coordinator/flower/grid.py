"""Flower's grid with quick polling, and who is behind each node."""

import time
from collections.abc import Iterable, Mapping

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)
from flwr.app import Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.run import Run

POLL_S = 0.1


class QuickGrid(Grid):
    """Delegates to Flower's grid, but asks for replies every 0.1 s instead of every 3 s.

    Replies that come after their deadline are handed over with those of the next round, so that
    they are refused by name instead of vanishing.
    """

    def __init__(self, inner: Grid) -> None:
        """Wrap ``inner``."""
        self._inner = inner
        self._outstanding: set[str] = set()

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._inner.set_run(run)

    @property
    def run(self) -> Run:
        """Run information."""
        return self._inner.run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the ids of the nodes that are online."""
        return self._inner.get_node_ids()

    def get_nodes(self) -> Iterable[NodeInfo]:
        """Return the nodes that are online, with their public keys."""
        return self._inner.get_nodes()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages; return their ids."""
        return self._inner.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there."""
        return self._inner.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and return the replies that come within ``timeout`` seconds."""
        batch = list(messages)
        waiting = {name for name in self.push_messages(batch) if name} if batch else set()
        end = None if timeout is None else time.monotonic() + timeout
        replies: list[Message] = []
        while waiting:
            for reply in self.pull_messages(waiting | self._outstanding):
                replies.append(reply)
                waiting.discard(reply.metadata.reply_to_message_id)
                self._outstanding.discard(reply.metadata.reply_to_message_id)
            if end is not None and time.monotonic() > end:
                break
            if waiting:
                time.sleep(POLL_S)
        self._outstanding |= waiting
        return replies


def nodes_of_stores(nodes: Iterable[NodeInfo], node_keys: Mapping[str, str]) -> dict[int, str]:
    """Return the store behind each node, by the public key that it authenticated with.

    ``node_keys`` holds each store's enrolled key, OpenSSH or PEM. Nodes of other keys are left out.
    """
    stores = {fingerprint(text.encode()): store_id for store_id, text in node_keys.items()}
    found: dict[int, str] = {}
    for node in nodes:
        store_id = stores.get(fingerprint(node.public_key))
        if store_id is not None:
            found[node.node_id] = store_id
    return found


def fingerprint(public_key: bytes) -> bytes:
    """Return the key's DER form, so that OpenSSH and PEM compare equal; else the key as it is."""
    try:
        load = load_pem_public_key if public_key.startswith(b"-----") else load_ssh_public_key
        key = load(public_key)
    except ValueError:
        return public_key
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def message_bytes(message: Message) -> int:
    """Return a message's bytes as Flower serialises it: envelope, records, tensor chunks."""
    return sum(len(part.deflate()) for part in get_all_nested_objects(message).values())
