"""What a lender's iSCSI target is, whichever program serves it: tgtd (`tgt_service.py`) or the kernel (`lio.py`).

Either promises the same of a lease: one initiator name with that lease's CHAP secret and nobody else, one portal, a
disk with a name of its own (`disk_identity.py`), no removal while somebody is logged in unless forced, and the truth
about all that from the target itself, whoever made it. Used by `lender/exports/store.py`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from ramshare.errors import RamshareError

Kind = Literal["tgt", "lio"]
"""What `RAMSHARE_LENDER_TARGET` may say."""


class TargetBusyError(RamshareError):
    """An initiator is logged in."""


@dataclass(frozen=True)
class Export:
    """Everything about one target. The secret is left out of the representation."""

    tid: int
    """A number of its own: of tgtd's target, of LIO's store."""
    iqn: str
    path: Path
    initiator: str
    user: str
    secret: str = field(repr=False)
    proof_user: str = ""
    proof_secret: str = field(default="", repr=False)
    """By which the target proves itself to the initiator; none: it does not."""
    thin: bool = False
    """Offer UNMAP: only where the file system can punch holes (tmpfs; on ramfs an UNMAP is a hardware error)."""
    serial: str = ""
    """What the borrower's disk calls its serial number: the lease (tgtd; LIO makes more than that of it)."""


@dataclass(frozen=True)
class LunInfo:
    """A logical unit with a backing file; tgtd's own LUN 0 (the controller) is left out."""

    lun: int
    path: str
    serial: str = ""
    online: bool = True
    scsi_id: str = ""
    """Who the disk says it is; initiators take disks of one id for one disk."""


@dataclass(frozen=True)
class TargetSession:
    """An initiator that is logged in."""

    sid: int
    initiator: str
    address: str
    cid: int = 0


@dataclass(frozen=True)
class TargetInfo:
    """A target: its units, who may log in (`initiators`, `accounts`) and who is logged in (`sessions`)."""

    tid: int
    iqn: str
    state: str = "ready"
    luns: tuple[LunInfo, ...] = ()
    initiators: tuple[str, ...] = ()
    """The access list: initiator names (and addresses, which ramshare never adds). Empty: made by half, nobody may
    enter."""
    sessions: tuple[TargetSession, ...] = ()
    accounts: tuple[str, ...] = ()


class Target(Protocol):
    """What serves a lender's exports. Every operation may be repeated, and nothing is kept that it does not say."""

    def start(self) -> None:
        """Have it ready to serve at its portal, and there alone. Raises `RamshareError` saying what is in the way."""
        ...

    def ready(self) -> bool:
        """Whether it answers."""
        ...

    def misplaced(self) -> str:
        """Return why exports are not served at the portal, and there alone; empty if they are."""
        ...

    def numbers(self) -> set[int]:
        """Return the numbers (`Export.tid`) that are taken, by whomever."""
        ...

    def show(self) -> list[TargetInfo]:
        """Return every target of this lender."""
        ...

    def export(self, export: Export) -> None:
        """Make the whole target; the one initiator is let in last, when its secret is already demanded."""
        ...

    def delete_target(self, iqn: str, *, force: bool = False) -> None:
        """Remove the target with all that belongs to it; none is success.

        Raises `TargetBusyError` if an initiator is logged in and `force` is not given.
        """
        ...
