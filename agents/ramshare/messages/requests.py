"""Requests: one model per verb and kind of server. Sent twice, a request has the effect and the answer of one."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Self
from uuid import uuid4

from pydantic import Field

from ramshare.messages.base import (
    MAX_SEQ,
    Bytes,
    ClientName,
    InitiatorName,
    LeaseId,
    Message,
    Moment,
    PositiveBytes,
    Seconds,
    VolumeName,
)
from ramshare.messages.state import Leg, Mode

Generation = Annotated[
    int,
    Field(ge=0, le=MAX_SEQ, description="Of the manager that orders it: lenders refuse an older one. 0: a borrower."),
]
DryRun = Annotated[bool, Field(description="Only say what would be done; nothing is done.")]
MAX_WAIT_S = 86_400.0
"""A request may wait a day for memory."""
WaitSeconds = Annotated[float, Field(ge=0, le=MAX_WAIT_S, allow_inf_nan=False)]


class Request(Message):
    """A request of `VERB`. Its id makes it idempotent: a server answers a repeated id as it did the first time."""

    VERB: ClassVar[str] = ""
    request_id: str = Field(default_factory=lambda: uuid4().hex, pattern=r"^[a-zA-Z0-9-]{8,64}$")


class BorrowVolume(Request):
    """Operator to borrower: put this volume's pages on remote memory."""

    KIND: ClassVar[str] = "borrow-volume/1"
    VERB: ClassVar[str] = "borrow"
    volume: VolumeName
    mode: Mode | None = Field(default=None, description="null: as the borrower's settings say.")
    size_bytes: PositiveBytes | None = Field(
        default=None, description="Put so much of the volume on leases and leave the rest at home; null for all of it."
    )
    at_most: bool = Field(default=False, description="Take less if the cluster has less.")
    min_lenders: int = Field(default=1, ge=1, le=64, description="Spread over at least so many lenders.")
    encrypt: bool | None = Field(default=None, description="Encrypt its pages; null: as the borrower's settings say.")
    wait_s: WaitSeconds = Field(default=0.0, description="Let the request stand so long if the cluster has no memory.")
    only_if_faster: bool = Field(
        default=False,
        description="Give the leases back unused unless they read at least twice as fast as the local disk.",
    )
    dry_run: DryRun = False


class ReturnVolume(Request):
    """Operator to borrower: bring this volume home and give the leases back."""

    KIND: ClassVar[str] = "return-volume/1"
    VERB: ClassVar[str] = "return"
    volume: VolumeName
    only_waiting: bool = Field(
        default=False, description="Only stop waiting for memory; a volume that has got some keeps it."
    )


class BorrowOwnSwap(Request):
    """Guest to its own host: put my swap on remote memory. No volume is named: the host knows whose is whose."""

    KIND: ClassVar[str] = "borrow-own-swap/1"
    VERB: ClassVar[str] = "borrow"
    size_bytes: PositiveBytes | None = Field(
        default=None, description="So much of it; null for all that the host's owner allows."
    )


class ReturnOwnSwap(Request):
    """Guest to its own host: bring my swap home."""

    KIND: ClassVar[str] = "return-own-swap/1"
    VERB: ClassVar[str] = "return"


class BorrowMemory(Request):
    """Borrower to manager: find lenders for so many bytes."""

    KIND: ClassVar[str] = "borrow-memory/1"
    VERB: ClassVar[str] = "borrow"
    volume: VolumeName
    size_bytes: PositiveBytes
    overhead_bytes: Bytes = Field(default=0, description="Extra per lease, for LVM's own metadata.")
    grain_bytes: PositiveBytes = Field(default=4 << 20, description="Leases are multiples of it: the VG's extent size.")
    mode: Mode
    leg: Leg = Field(default=0, description="Of a pair, the one leg that is asked for; 0: both.")
    initiator: InitiatorName
    at_most: bool = Field(default=False, description="Less will do, if there is less.")
    min_lenders: int = Field(default=1, ge=1, le=64)
    exclude: tuple[ClientName, ...] = Field(default=(), max_length=64, description="Lenders not to ask.")
    wait_s: WaitSeconds | None = Field(
        default=None,
        description="Take turns with those who wait for memory, and wait so long; null: for a volume that is attached "
        "and needs other leases, at once or not at all.",
    )
    waited_s: WaitSeconds = Field(default=0.0, description="How long it has waited; for a manager that took over.")
    dry_run: DryRun = False


class ExportLease(Request):
    """Manager to lender: make a RAM file of this size and export it to this initiator only."""

    KIND: ClassVar[str] = "export-lease/1"
    VERB: ClassVar[str] = "export"
    lease: LeaseId
    borrower: ClientName
    initiator: InitiatorName
    size_bytes: PositiveBytes
    mode: Mode
    leg: Leg = 0
    login_within_s: Seconds = 60.0
    generation: Generation = 0


class ReleaseLease(Request):
    """Borrower (or, for a grant that nobody used, manager) to lender: this lease is not needed any more."""

    KIND: ClassVar[str] = "release-lease/1"
    VERB: ClassVar[str] = "release"
    lease: LeaseId
    generation: Generation = 0


class Vacate(Request):
    """Lender to borrower: give these leases back by the deadline."""

    KIND: ClassVar[str] = "vacate/1"
    VERB: ClassVar[str] = "vacate"
    leases: tuple[LeaseId, ...] = Field(min_length=1, max_length=64)
    size_bytes: PositiveBytes
    deadline: Moment

    @classmethod
    def until(cls, leases: tuple[str, ...], size_bytes: int, within_s: float) -> Self:
        """Build a request whose deadline is `within_s` from now."""
        return cls(leases=leases, size_bytes=size_bytes, deadline=datetime.now(UTC) + timedelta(seconds=within_s))


class Drain(Request):
    """Operator to lender: give back everything and offer nothing until `undrain`."""

    KIND: ClassVar[str] = "drain/1"
    VERB: ClassVar[str] = "drain"


class Undrain(Request):
    """Operator to lender: offer memory again."""

    KIND: ClassVar[str] = "undrain/1"
    VERB: ClassVar[str] = "undrain"


class Announce(Request):
    """A fresh manager to everybody: publish your whole state again. Nobody replies."""

    KIND: ClassVar[str] = "announce/1"
    VERB: ClassVar[str] = "announce"
    within_s: Seconds = Field(default=0.0, description="Each at a moment of its own within so long; 0: at once.")


class Confirm(Request):
    """Manager to lender: are you there? It publishes its whole state again, and then replies."""

    KIND: ClassVar[str] = "confirm/1"
    VERB: ClassVar[str] = "confirm"
