"""Identifiers: their types, their form, and how new ones are made."""

import re
import secrets
import time
from typing import NewType

from shared.errors import BadInput

StoreId = NewType("StoreId", str)
RunId = NewType("RunId", str)
RoundId = NewType("RoundId", str)
ReservationId = NewType("ReservationId", str)
ReleaseId = NewType("ReleaseId", str)
CustomerKey = NewType("CustomerKey", str)
"""A keyed pseudonym of a customer (hex of HMAC-SHA256); never the customer's own identifier."""

_FORM = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """Return ``prefix-`` and 18 characters: 9 of milliseconds, 9 random (45 bits).

    Identifiers sort by the time they were made.
    """
    stamp = time.time_ns() // 1_000_000
    head = "".join(_ALPHABET[(stamp >> shift) & 31] for shift in range(40, -1, -5))
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(9))
    return f"{prefix}-{head}{tail}"


def check_id(value: str, what: str) -> str:
    """Return ``value`` if it has the form of an identifier of ours.

    Raises:
        BadInput: other characters than ``a-z 0-9 . _ -``, empty, or longer than 63.
    """
    if not _FORM.fullmatch(value):
        raise BadInput(
            f"{what} {value!r} is not a valid identifier",
            remedy="use 1 to 63 of a-z, 0-9, '.', '_' and '-', with a letter or digit at both ends",
        )
    return value
