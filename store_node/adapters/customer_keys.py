"""Keyed pseudonyms of customers: HMAC-SHA256 of the customer's identifier under the store's key."""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.ids import CustomerKey
from shared.keys import secret_bytes


@dataclass(frozen=True, slots=True, repr=False)
class CustomerKeys:
    """Makes pseudonyms; its ``repr`` does not show the secret."""

    secret: bytes

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """Read the key file (32 random bytes), or make it with mode 0600 where there is none.

        Raises:
            BadConfig: the file has another length, or others may read it.
        """
        return cls(secret_bytes(path))

    def of(self, customer_id: str) -> CustomerKey:
        """Return the pseudonym of a customer."""
        return self._digest(customer_id.encode())

    def of_visitor(self, session_id: str) -> CustomerKey:
        """Return the pseudonym of a visitor who gave no identifier: one for each session."""
        # 0xFF is never part of UTF-8, so no customer's identifier can give the same bytes.
        return self._digest(b"\xff" + session_id.encode())

    def _digest(self, data: bytes) -> CustomerKey:
        return CustomerKey(hmac.new(self.secret, data, hashlib.sha256).hexdigest())

    def __repr__(self) -> str:
        """Hide the secret."""
        return "CustomerKeys(…)"
