"""`ramshare borrow --dry-run`: ask who would lend, and show the answer. The rules are the borrower's and the manager's.

Only where nobody is there to answer is that said here.
"""

from pydantic import BaseModel, ConfigDict

from ramshare.cli.session import RequestRefusedError, Session
from ramshare.cli.snapshot import Snapshot
from ramshare.messages.replies import AttachReply
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Volume
from ramshare.topics import volume_path


class Foreseen(BaseModel):
    """The keys of `borrow --dry-run --json`."""

    model_config = ConfigDict(frozen=True)

    possible: bool
    volume: str
    host: str
    mode: str
    size_bytes: int | None
    """None: nobody has told the volume's size."""
    shares: dict[str, int]
    """Lender to bytes."""
    obstacles: list[str]
    sentence: str


def foresee(session: Session, host: str, request: BorrowVolume) -> Foreseen:
    """Return what a request would get now. No lender is asked. Raises `RequestTimeoutError`."""
    borrower = f"borrower.{host}"
    known = session.snapshot.get(borrower, volume_path(request.volume), Volume)
    size_bytes, shares, reason = known.size_bytes if known else 0, {}, "nobody is there to say"
    mode = request.mode or "auto"
    obstacles = _absent(session.snapshot, host, borrower)
    if not obstacles:
        try:
            reply = session.ask(borrower, request.model_copy(update={"dry_run": True}))
        except RequestRefusedError as refused:
            obstacles, reason = [refused.message], "refused"
        else:
            reason = reply.sentence
            if isinstance(reply, AttachReply):
                size_bytes = reply.size_bytes or size_bytes
                mode = reply.mode or mode
                shares = {share.lender: share.size_bytes for share in reply.shares}
    return Foreseen(
        possible=not obstacles,
        volume=request.volume,
        host=host,
        mode=mode,
        size_bytes=size_bytes or None,
        shares=shares,
        obstacles=obstacles,
        sentence=f"{request.volume} of {host} by {mode}: {reason}. Nothing was done.",
    )


def _absent(snapshot: Snapshot, host: str, borrower: str) -> list[str]:
    found = []
    if not snapshot.online(borrower):
        found.append(f"the borrower of {host} is not online: ramshare run borrower starts one there")
    if not snapshot.online(snapshot.leader()):
        found.append("no manager is online")
    return found
