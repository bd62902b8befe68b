"""A part of a volume on leases, the rest at home: how much, and what cannot be had. Pure.

A move takes any extents of a volume. A raid1 of LVM's always has whole volumes as its legs, so a mirror of a part would
take a second volume below the one that is swapped to, which cannot be put there while it is in use.
"""

from ramshare.borrower.plan.view import Goal, VolumeView
from ramshare.messages.requests import BorrowVolume
from ramshare.messages.state import Mode


def part_refused(request: BorrowVolume, mode: Mode | None, view: VolumeView) -> str:
    """Return why a request's size cannot be had and what can, empty if it can."""
    asked = request.size_bytes
    if view.goal is Goal.ATTACHED:
        more = view.part_bytes and (asked is None or asked > view.part_bytes)
        have = f"{view.part_bytes >> 20} MiB of {view.volume} are borrowed for already"
        return f"{have}; return it first (ramshare return {view.volume})" if more else ""
    if asked is None:
        if request.at_most and mode is not Mode.MOVE:
            return _whole_only(mode)
        return ""
    if asked > view.size_bytes and not request.at_most:
        return f"{view.volume} has {view.size_bytes} bytes, not {asked}: leave the size out for all of it"
    if (asked < view.size_bytes or request.at_most) and mode is not Mode.MOVE:
        return _whole_only(mode)
    return ""


def _whole_only(mode: Mode | None) -> str:
    return (
        f"a {mode or 'pair or mirror'} takes the whole volume, for LVM makes raid1 legs of whole volumes only: "
        "borrow a part by move (--mode move), or a smaller swap volume by mirror"
    )


def wanted_bytes(request: BorrowVolume, view: VolumeView, extent_bytes: int) -> int:
    """Return how much of the volume a request wants on leases, in whole extents."""
    asked = view.size_bytes if request.size_bytes is None else request.size_bytes
    return min(view.size_bytes, -(-asked // extent_bytes) * extent_bytes)


def part_of(view: VolumeView, wanted: int, payload_bytes: int) -> int:
    """Return what to write down of leases that hold `payload_bytes`: 0 if all of the volume will lie on them."""
    part_bytes = min(wanted, payload_bytes)
    return part_bytes if part_bytes < view.size_bytes else 0
