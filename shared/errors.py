"""Errors that a person reads: one line that says what, where and what to do."""

from typing import ClassVar

from shared.exit_codes import ExitCode


class StoreWeaveError(Exception):
    """Base of every error that we raise on purpose.

    ``str(error)`` is one line: what happened, where, and what to do. ``facts`` are
    machine-readable and must never hold a secret or a customer's words.
    """

    code: ClassVar[str] = "failure"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILURE

    def __init__(self, what: str, *, where: str = "", remedy: str = "", **facts: object) -> None:
        """Keep the three parts apart so that APIs can translate them."""
        self.what = what
        self.where = where
        self.remedy = remedy
        self.facts: dict[str, object] = facts
        super().__init__(what)

    def __str__(self) -> str:
        """Return the one-line form."""
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line} — {self.remedy}" if self.remedy else line

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form used by ``--json`` and by the HTTP APIs."""
        return {
            "code": self.code,
            "message": self.what,
            "where": self.where,
            "remedy": self.remedy,
            "facts": self.facts,
        }


class BadInput(StoreWeaveError):
    """A file, line, field or value that a user gave is wrong."""

    code = "bad_input"
    exit_code = ExitCode.BAD_INPUT


class NotFound(BadInput):
    """What a user named does not exist."""

    code = "not_found"


class BadConfig(StoreWeaveError):
    """The configuration is wrong or incomplete."""

    code = "bad_config"
    exit_code = ExitCode.BAD_CONFIG


class Refused(StoreWeaveError):
    """A policy, budget or state machine does not allow this."""

    code = "refused"
    exit_code = ExitCode.REFUSED


class BudgetRefused(Refused):
    """A reservation would exceed a cohort's privacy budget."""

    code = "budget_refused"


class IllegalMove(Refused):
    """A state machine was asked for a move that its table does not allow."""

    code = "illegal_move"


class NotVerified(StoreWeaveError):
    """A digest, signature, hash chain or recomputed figure does not hold."""

    code = "not_verified"
    exit_code = ExitCode.NOT_VERIFIED


class GateClosed(StoreWeaveError):
    """A candidate release did not pass its gates."""

    code = "gate_closed"
    exit_code = ExitCode.GATE_CLOSED


class Unavailable(StoreWeaveError):
    """Something that is needed cannot be reached or is not installed."""

    code = "unavailable"
    exit_code = ExitCode.UNAVAILABLE


class BadUpdate(StoreWeaveError):
    """An adapter update or receipt that HQ refuses; the round goes on without it."""

    code = "bad_update"
    exit_code = ExitCode.NOT_VERIFIED


class NotFinite(BadUpdate):
    """An update holds NaN or infinity."""

    code = "not_finite"


class WrongShape(BadUpdate):
    """An update's tensor names, shapes or dtypes are not those of the plan."""

    code = "wrong_shape"


class WrongDigest(BadUpdate):
    """An update's digest is not that of its bytes, or not the one that the receipt signed."""

    code = "wrong_digest"


class BadSignature(BadUpdate):
    """A receipt's signature does not verify under the store's enrolled key."""

    code = "bad_signature"


class UnplannedContribution(BadUpdate):
    """A sender who is not in the plan's cohort, or the same sender twice."""

    code = "unplanned_contribution"


class LateReply(BadUpdate):
    """A reply for a round that is already closed, or past its deadline."""

    code = "late_reply"
