"""`ramshare borrow --dry-run`: what the manager would choose now, worked out from what everybody published. Pure."""

from pydantic import BaseModel, ConfigDict

from ramshare.cli.output import size
from ramshare.cli.snapshot import Snapshot
from ramshare.manager.placement import Candidate, Need, place
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import HostRecord, Mode, Offer, Volume
from ramshare.topics import MANAGER

GRAIN_BYTES = 4 << 20
"""LVM's default extent size: the borrower asks in multiples of its volume group's."""
MIRROR_OVERHEAD_BYTES = 2 * GRAIN_BYTES
"""One extent for a raid1 leg's metadata, one for the physical volume's header. What the borrower asks for counts."""


class Foreseen(BaseModel):
    """The keys of `borrow --dry-run --json`."""

    model_config = ConfigDict(frozen=True)

    possible: bool
    volume: str
    host: str
    mode: str
    size_bytes: int | None
    """None: the borrower has not published the volume, so its size is not known here."""
    shares: dict[str, int]
    """Lender to bytes."""
    obstacles: list[str]
    sentence: str


def foresee(snapshot: Snapshot, host: str, request: BorrowVolume) -> Foreseen:
    """Return what a request would get now. Nothing is asked of anybody."""
    borrower = f"borrower.{host}"
    known = snapshot.get(borrower, f"volume/{request.volume}", Volume)
    obstacles = []
    if not snapshot.online(borrower):
        obstacles.append(f"the borrower of {host} is not online: ramshare run borrower starts one there")
    if not snapshot.online(MANAGER):
        obstacles.append("no manager is online")
    lent = snapshot.get(f"lender.{host}", "offer", Offer)
    if lent is not None and lent.lent_bytes:
        obstacles.append(f"{host} lends memory itself: ramshare drain {host} first")
    candidates = _candidates(snapshot, host, request.mode)
    shares: dict[str, int] = {}
    if known is None or known.size_bytes == 0:
        told = ", ".join(f"{c.lender} {size(c.free_bytes)}" for c in candidates) or "nobody"
        reason = f"the size of {request.volume} is not published yet; able to lend by {request.mode}: {told}"
        if not candidates:
            obstacles.append(f"nobody can lend by {request.mode} now")
    else:
        overhead = MIRROR_OVERHEAD_BYTES if request.mode is Mode.MIRROR else GRAIN_BYTES
        placed = place(Need(known.size_bytes, GRAIN_BYTES, overhead, request.min_lenders), candidates)
        shares, reason = {share.lender: share.size_bytes for share in placed.shares}, placed.reason
        if not shares:
            obstacles.append(placed.reason)
    return Foreseen(
        possible=not obstacles,
        volume=request.volume,
        host=host,
        mode=request.mode,
        size_bytes=known.size_bytes if known else None,
        shares=shares,
        obstacles=obstacles,
        sentence=f"{request.volume} of {host} by {request.mode}: {reason}. Nothing was asked.",
    )


def _candidates(snapshot: Snapshot, host: str, mode: Mode) -> list[Candidate]:
    found = []
    for _, record in snapshot.of_kind(HostRecord):
        offer = snapshot.offer(record.host)
        if record.exportable and record.online and record.host != host and offer is not None:
            free = offer.free_bytes if mode is Mode.MIRROR else min(offer.free_bytes, offer.committed_free_bytes)
            if free:
                found.append(Candidate(record.lender, free))
    return found
