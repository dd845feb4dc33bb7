"""Stores that misbehave on purpose, as ``fake.json`` in their home says."""

import json
from pathlib import Path

import numpy as np

from shared.adapters import Arrays
from shared.config import PrivacySettings
from shared.keys import SigningKey
from shared.wire import federation_pb2 as pb
from shared.wire.codec import encode, sign
from store_node.federation.service import FederationService
from tests.federation_world import FakeTrainer, make_service


class Liar:
    """Trains honestly, then sends something else, signed with its own key."""

    def __init__(self, honest: FederationService, key: SigningKey, mode: str) -> None:
        self._honest, self._key, self._mode = honest, key, mode
        self.handle_proposal = honest.handle_proposal
        self.handle_withdrawal = honest.handle_withdrawal

    def handle_train(self, body: bytes, arrays: Arrays) -> tuple[bytes, Arrays]:
        receipt_bytes, update = self._honest.handle_train(body, arrays)
        receipt = pb.Receipt.FromString(receipt_bytes)
        if self._mode == "nan":
            update = {name: np.full_like(value, np.nan) for name, value in update.items()}
        elif self._mode == "digest":
            update = {name: value + 1 for name, value in update.items()}
        elif self._mode == "shape":
            update = {name: value[:1] for name, value in update.items()}
        elif self._mode == "forged":
            receipt.steps_executed -= 1
            return encode(receipt), update
        return encode(sign(receipt, self._key)), update


def build(home: Path) -> FederationService | Liar:
    """Return the store's service as ``fake.json`` wants it."""
    path = home / "fake.json"
    wish = json.loads(path.read_text("utf-8")) if path.exists() else {}
    joined = json.loads((home / "hq.json").read_text("utf-8"))
    trainer = FakeTrainer(
        value=wish.get("value", 1.0), seconds=wish.get("seconds", 0.0), fail=wish.get("fail", False)
    )
    policy = PrivacySettings(**wish.get("privacy", {}))
    service = make_service(home, home.name, joined["hq_key"], trainer, policy)
    if wish.get("mode"):
        key = SigningKey.load_or_create(home / "keys" / "ledger.key")
        return Liar(service, key, wish["mode"])
    return service
