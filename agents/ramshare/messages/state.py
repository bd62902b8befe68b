"""Retained messages: what is true now. An empty payload on the topic means that the thing is gone."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ramshare.messages.base import (
    MAX_SEQ,
    Bytes,
    ClientName,
    Count,
    HostName,
    InitiatorName,
    Iqn,
    LeaseId,
    Line,
    Message,
    Moment,
    Percent,
    Portal,
    PositiveBytes,
    Rate,
    Seconds,
    Sentence,
    VolumeName,
)

MOST_ANSWERED = 1000
"""A second's worth of requests, ten times over; each takes a dozen bytes of a claim."""


class Mode(StrEnum):
    """How a volume is attached."""

    MIRROR = "mirror"
    """raid1 with a write-mostly local leg: a dead lender costs a pause, no page."""
    MOVE = "move"
    """pvmove to the leases: full speed for writes, but only remote memory has the pages."""
    PAIR = "pair"
    """raid1 of two legs, both on leases of different lenders: writes at network speed, a dead lender costs no page."""


def is_committed(mode: Mode, leg: int) -> bool:
    """Whether a lease of this kind needs memory that its lender's owner has set aside for good.

    A moved volume lies nowhere else; of a pair the first leg must be able to stay, the second is revocable.
    """
    return mode is Mode.MOVE or (mode is Mode.PAIR and leg == 1)


Leg = Annotated[int, Field(ge=0, le=2, description="Of a pair, the leg it belongs to: 1 is committed; 0: no pair.")]


class LeasePhase(StrEnum):
    """A lease's life, in order; `failed` and `lost` end it early."""

    REQUESTED = "requested"
    EXPORTED = "exported"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    RELEASED = "released"
    FAILED = "failed"
    LOST = "lost"


class VolumePhase(StrEnum):
    """Where a volume is on its way between the local disk and remote memory."""

    HOME = "home"
    WAITING = "waiting"
    """At home, and its borrower waits for memory."""
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    REPAIRING = "repairing"
    FAILED = "failed"


class Status(Message):
    """`state/<client>/status`: alive or not; the last will says `offline`."""

    KIND: ClassVar[str] = "status/1"
    status: Literal["online", "offline"]
    version: str = Field(default="", max_length=40)
    certificate_ends: Moment | None = Field(
        default=None, description="When the certificate with which it speaks to the broker expires."
    )


class Memory(Message):
    """`state/<client>/memory`: memory of one guest or host over the last interval."""

    KIND: ClassVar[str] = "memory/1"
    total_bytes: PositiveBytes
    available_bytes: Bytes = Field(description="MemAvailable: what can be had without swapping.")
    used_bytes: Bytes = Field(description="total - available.")
    swap_total_bytes: Bytes = 0
    swap_used_bytes: Bytes = 0
    swap_in_bytes_s: Rate = 0.0
    swap_out_bytes_s: Rate = 0.0
    refaults_s: Rate | None = Field(default=None, description="workingset_refault pages per second; null: unknown.")
    psi_some_avg10: Percent | None = Field(
        default=None, description="Percent of 10 s in which a task waited for memory; of the last interval if more."
    )
    psi_full_avg10: Percent | None = None
    interval_s: Seconds = Field(description="Time between two reports.")


class Offer(Message):
    """`state/lender.<host>/offer`: what a lender says it can lend, and why."""

    KIND: ClassVar[str] = "offer/1"
    host: HostName
    portal: Portal
    capacity_bytes: Bytes = Field(description="All that may be lent now, lent or not.")
    lent_bytes: Bytes = Field(description="Of it, in exports.")
    free_bytes: Bytes = Field(description="What a new export may take.")
    committed_bytes: Bytes = Field(default=0, description="Of the capacity, what the owner set aside for good.")
    committed_free_bytes: Bytes = Field(default=0, description="Of the free bytes, what may back a move.")
    exportable: bool
    draining: bool = False
    generation: int = Field(default=0, ge=0, le=MAX_SEQ, description="Of the newest manager that it obeyed.")
    obeys: ClientName | None = Field(default=None, description="That manager: of one generation there may be two.")
    reason: Sentence


class Export(Message):
    """`state/lender.<host>/export/<lease>`: one RAM file and its target."""

    KIND: ClassVar[str] = "export/1"
    lease: LeaseId
    host: HostName
    borrower: ClientName
    initiator: InitiatorName
    target: Iqn
    portal: Portal
    size_bytes: PositiveBytes
    mode: Mode
    leg: Leg = 0
    phase: LeasePhase
    connected: bool = Field(description="An iSCSI session is open.")
    created_at: Moment
    login_by: Moment = Field(description="Without a login by then it is taken back.")


class Lease(Message):
    """`state/borrower.<host>/lease/<lease>`: the same lease, as its borrower sees it."""

    KIND: ClassVar[str] = "lease/1"
    lease: LeaseId
    lender: ClientName
    volume: VolumeName
    size_bytes: Bytes
    mode: Mode
    leg: Leg = 0
    phase: LeasePhase
    reason: Sentence = ""


class Volume(Message):
    """`state/borrower.<host>/volume/<vg>/<lv>`: where a swap volume's pages are, in LVM's own words."""

    KIND: ClassVar[str] = "volume/1"
    volume: VolumeName
    size_bytes: Bytes
    phase: VolumePhase
    mode: Mode | None = None
    progress_percent: Percent = 0.0
    local_bytes: Bytes = Field(description="Bytes of the volume that lie on local devices.")
    remote_bytes: Bytes = Field(description="Bytes that lie on leases; in mirror mode both are the whole volume.")
    placement: tuple[str, ...] = Field(
        default=(), max_length=128, description="`<device or lender> <bytes>` per segment."
    )
    leases: tuple[LeaseId, ...] = Field(default=(), max_length=64)
    step: Sentence = Field(default="", description="What is being done now, or what it waits for.")
    guests: tuple[HostName, ...] = Field(
        default=(), max_length=64, description="Guests that have it as a disk now; more than one is a mistake."
    )


class GuestClaim(Message):
    """`state/borrower.<host>/guest/<guest>`: this guest runs here and may ask for its own swap. Two are too many."""

    KIND: ClassVar[str] = "guest/1"
    guest: HostName


class SealingKey(Message):
    """`state/borrower.<host>/key`: lenders seal the secrets of leases to it, so that only this borrower reads them."""

    KIND: ClassVar[str] = "key/1"
    public_key: str = Field(pattern=r"^[A-Za-z0-9+/]{43}=$", description="X25519, in base64.")


class HostRecord(Message):
    """`state/manager/host/<host>`: the manager's database, one record a lender."""

    KIND: ClassVar[str] = "host/1"
    host: HostName
    lender: ClientName
    address: Portal
    online: bool
    exportable: bool
    capacity_bytes: Bytes
    lent_bytes: Bytes
    free_bytes: Bytes
    reason: Sentence


class LeaseRecord(Message):
    """`state/manager/lease/<lease>`: the manager's database, one record a lease (the paper's fields)."""

    KIND: ClassVar[str] = "leaserecord/1"
    lease: LeaseId
    host: HostName
    address: Portal
    target: Iqn
    size_bytes: Bytes
    borrower: ClientName
    mode: Mode
    leg: Leg = 0
    phase: LeasePhase


class ManagerState(Message):
    """`state/manager/summary`: whether the manager serves, and the cluster's totals."""

    KIND: ClassVar[str] = "manager/1"
    ready: bool
    active: bool = Field(default=True, description="It makes loans; false: it stands by for the one that does.")
    generation: int = Field(default=0, ge=0, le=MAX_SEQ, description="Of its claim, while it is active.")
    agents: Count = Field(default=0, description="Lenders and borrowers that are online.")
    heard: Count = Field(default=0, description="Of them, those that this manager heard; of others the broker tells.")
    incomplete: Count = Field(default=0, description="Lenders of which something did not arrive; they are asked again.")
    lenders: Count
    borrowers: Count
    leases: Count
    waiting: Count = Field(default=0, description="Requests that wait for memory.")
    capacity_bytes: Bytes
    lent_bytes: Bytes
    free_bytes: Bytes
    away: Count = Field(default=0, description="Hosts with an offer whose lender is offline or silent.")
    away_hosts: tuple[HostName, ...] = Field(default=(), max_length=20, description="The first of them, by name.")
    reason: Sentence


class Claim(Message):
    """`state/<manager>/claim`: it makes loans, and its orders are of this generation. Said every second."""

    KIND: ClassVar[str] = "claim/1"
    generation: int = Field(ge=1, le=MAX_SEQ)
    answered: tuple[LeaseId, ...] = Field(
        default=(), max_length=MOST_ANSWERED, description="Requests answered of late, so that a successor drops them."
    )


class Decisions(Message):
    """`state/<client>/decisions`: a lender's last changes of its offer, a borrower's of its demand (`ramshare why`)."""

    KIND: ClassVar[str] = "decisions/1"
    decisions: tuple[Line, ...] = Field(
        default=(), max_length=20, description="Newest last: time, bytes or volume, reason."
    )
