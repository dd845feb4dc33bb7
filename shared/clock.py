"""Time: UTC everywhere in data; pages show local time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)


@dataclass(slots=True)
class FixedClock:
    """A clock that stands still until it is set; for tests."""

    at: datetime

    def now(self) -> datetime:
        """Return the moment it was set to."""
        return self.at


def iso(moment: datetime) -> str:
    """Return RFC 3339 in UTC with milliseconds, for example ``2026-11-23T14:05:09.123Z``."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def quarter_of(moment: datetime) -> str:
    """Return the calendar quarter in UTC, for example ``2026Q4``."""
    utc = moment.astimezone(UTC)
    return f"{utc.year}Q{(utc.month - 1) // 3 + 1}"
