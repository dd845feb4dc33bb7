"""Who is behind a node, what a message weighs, and replies that come late."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity

from coordinator.flower import grid as module
from coordinator.flower.grid import QuickGrid, fingerprint, message_bytes, nodes_of_stores
from coordinator.flower.messages import array_record, incoming, outgoing
from deploy.pki import load_or_make_node_keys


@pytest.fixture(autouse=True)
def inside_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_run_id", "_node_id", "_task_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def pem(line: str) -> bytes:
    return public_key_to_bytes(load_ssh_public_key(line.encode()))


def test_nodes_are_known_by_their_enrolled_key_only(tmp_path: Path) -> None:
    ours = load_or_make_node_keys(tmp_path / "a").public_text
    strange = load_or_make_node_keys(tmp_path / "b").public_text
    nodes = [
        NodeInfo(node_id=1, public_key=pem(ours)),
        NodeInfo(node_id=2, public_key=pem(strange)),
    ]
    assert nodes_of_stores(nodes, {"berlin": ours}) == {1: "berlin"}
    assert fingerprint(pem(ours)) == fingerprint(ours.encode())
    assert fingerprint(b"junk") == b"junk"


def test_bytes_count_the_tensors_as_they_travel() -> None:
    small = outgoing(b"x", 1, "train", 60.0, array_record({"a": np.zeros(10, np.float32)}))
    large = outgoing(b"x", 1, "train", 60.0, array_record({"a": np.zeros(1010, np.float32)}))
    assert 4000 <= message_bytes(large) - message_bytes(small) <= 4100


def test_a_reply_is_read_whatever_it_holds() -> None:
    order = outgoing(b"body", 7, "train", 60.0)
    order.metadata.__dict__["_message_id"] = "m"
    good = Message(order.content, reply_to=order)
    assert incoming(good, {7: "berlin"}).sender == "berlin"
    assert incoming(good, {7: "berlin"}).body == b"body"
    assert incoming(good, {}).sender == "node-7"
    odd = Message(RecordDict({"other": ConfigRecord({"body": 3})}), reply_to=order)
    assert incoming(odd, {7: "berlin"}).body == b""
    failed = Message(Error(code=3, reason="quotes a customer"), reply_to=order)
    assert incoming(failed, {7: "berlin"}).error == "Flower error 3"


class SlowInner:
    """Answers message ``n`` at the ``n``-th poll."""

    def __init__(self) -> None:
        self.polls = 0
        self.sent: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        before = len(self.sent)
        for message in messages:
            name = f"m{len(self.sent)}"
            message.metadata.__dict__["_message_id"] = name
            self.sent[name] = message
        return list(self.sent)[before:]

    def pull_messages(self, names: Iterable[str]) -> list[Message]:
        self.polls += 1
        ready = [n for n in sorted(names) if int(n[1:]) < self.polls]
        return [Message(self.sent[n].content, reply_to=self.sent[n]) for n in ready]


def test_replies_after_the_deadline_come_with_the_next_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.0)
    inner = SlowInner()
    grid = QuickGrid(inner)  # type: ignore[arg-type]
    batch = [outgoing(b"", n, "train", 60.0) for n in (1, 2)]
    assert len(list(grid.send_and_receive(batch, timeout=-1.0))) == 1
    later = list(grid.send_and_receive([], timeout=1.0))
    assert later == []
    again = list(grid.send_and_receive([outgoing(b"", 3, "train", 60.0)], timeout=1.0))
    assert [r.metadata.reply_to_message_id for r in again] == ["m1", "m2"]
