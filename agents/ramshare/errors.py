"""The errors that people and scripts meet, and the exit codes they map to.

Every error says what is wrong and, where there is one, the next command to run.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the `ramshare` command returns; documented in the README."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_BROKER = 3
    NOT_AUTHORISED = 4
    REFUSED = 5
    MISSING_PART = 6
    INTERRUPTED = 130


class RamshareError(Exception):
    """A failure with a sentence for people and, if known, the next step to take."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class MissingPartError(RamshareError):
    """A tool, a kernel module or a privilege that this machine lacks."""

    exit_code = ExitCode.MISSING_PART
