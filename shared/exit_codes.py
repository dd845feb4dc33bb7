"""Exit codes of the ``storeweave`` program; a documented contract."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of ours says to the shell when it ends."""

    OK = 0
    FAILURE = 1
    """An unexpected failure: a bug of ours."""
    USAGE = 2
    """Unknown command or option (set by the command-line parser)."""
    BAD_INPUT = 3
    """A file or value that the user gave is wrong; the message names it."""
    BAD_CONFIG = 4
    """The configuration is wrong or incomplete."""
    REFUSED = 5
    """A privacy budget, policy or store refused; nothing was spent beyond what is reported."""
    NOT_VERIFIED = 6
    """A ledger, signature or digest does not verify."""
    GATE_CLOSED = 7
    """A release did not pass its gates; nothing was pushed."""
    UNAVAILABLE = 8
    """Something needed (a server, a model, a port) cannot be reached."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C; state is consistent and the command may be run again."""
