"""What `thrash` says: one JSON line per event, as typed values.

Kept apart from the driver in `thrash.py` so that whoever only stores or shows figures needs no process.
"""

import json
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from ramshare.errors import RamshareError

MEGABYTE = 1_000_000
"""Throughput is in units of 10^6 bytes per second, as in the paper."""


class Pattern(StrEnum):
    """The paper's four access patterns, in the order of its figures."""

    SEQUENTIAL_READ = "sequential_read"
    SEQUENTIAL_WRITE = "sequential_write"
    RANDOM_READ = "random_read"
    RANDOM_WRITE = "random_write"


class ThrashError(RamshareError):
    """The microbenchmark refused a command, died, or fell silent."""


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Ready(_Line):
    """The first line: the array's true size, and whether all but the array could be locked into memory."""

    size_bytes: int
    locked: bool


class Progress(_Line):
    """How far a command is, every 500 ms; also while the access itself hangs in I/O."""

    command: str
    operations: int
    bytes: int
    seconds: float
    mb_s: float
    """Average since the command began."""
    bad_pages: int
    """Pages found lost, stale, mixed up or damaged by this command, each counted once."""
    bad_pages_total: int
    """The same since `init`."""
    sigbus: int
    """Swap read errors that this command met (a page may fail several times)."""
    stall_s: float
    """Longest time without a finished access, the one that hangs now included."""
    interval_stall_s: float = 0.0
    """The same since the last progress line."""


class BadKinds(_Line):
    """Why pages were counted as bad since `init`; each page under what was found first."""

    lost: int = 0
    """Empty: the page was never written, or came back as zeros."""
    mixed: int = 0
    """Another page's content."""
    stale: int = 0
    """An older version of this page, sound in itself."""
    torn: int = 0
    """This page and version, but its checksum is wrong."""
    sigbus: int = 0
    """Could not be read at all."""


class Result(Progress):
    """A finished command."""

    block_bytes: int
    major_faults: int = 0
    """Accesses that had to wait for the swap device."""
    kinds: BadKinds = BadKinds()


class Corrupted(_Line):
    """A page was damaged on request."""


Event = Ready | Progress | Result | Corrupted

_EVENTS: dict[str, type[Ready] | type[Progress] | type[Result] | type[Corrupted]] = {
    "ready": Ready,
    "progress": Progress,
    "result": Result,
    "corrupted": Corrupted,
}


def parse_line(line: str) -> Event:
    """Return the event that `line` reports.

    Raises `ThrashError` for an error that thrash reports and for anything that is not one of its lines.
    """
    try:
        fields = json.loads(line)
        event = fields.pop("event")
        if event == "error":
            raise ThrashError(f"thrash: {fields['message']}")
        return _EVENTS[event].model_validate(fields)
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as problem:
        raise ThrashError(f"not a line that thrash writes: {line.strip()[:200]!r}") from problem
