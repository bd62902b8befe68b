"""A host divided into what is its own and what each guest has, where no hypervisor tells of some. Pure.

How large such a guest is, is its owner's word; what it uses, its own. Whatever it says, invariants, each a test:
1. Its size counts and no claim of it does: no report makes more lendable than the host has free by its own figures.
2. One that is silent, or says what cannot be, holds all of its size: what it used last still counts as used, the rest
   of its size is held beside all that the host's figures show.
3. One whose size nobody told lets nothing of it be lent: what it holds is in the host's own figures.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ramshare.policy.intake import doubt
from ramshare.policy.model import GuestSample

LONG_AGO_S = 0.0
NOTHING_KNOWN: Mapping[str, float] = {}
SIZE_UNKNOWN = "how large it is nobody told: RAMSHARE_LENDER_GUESTS"


@dataclass(frozen=True)
class Parts:
    """The host's own part, and the guests."""

    capacity_bytes: float
    used_bytes: float
    guests: tuple[GuestSample, ...]


def divide(
    total_bytes: float,
    used_bytes: float,
    seen: Sequence[GuestSample],
    said: Iterable[GuestSample],
    sizes: Mapping[str, int | None],
    now_s: float,
    before: Mapping[str, float] = NOTHING_KNOWN,
) -> Parts:
    """Divide `total_bytes`, of which `used_bytes` are in use beside exports and the guests `seen` at a hypervisor.

    `sizes` is the owner's word for guests that are not seen, None for one whose size is not known; `said` are reports,
    `before` what each guest used by its last believable one (`believable`).
    """
    names, reports = {guest.guest for guest in seen}, {report.guest: report for report in said}
    by_hand = [
        _sized(name, size, reports.get(name)) for name, size in sorted(sizes.items()) if size and name not in names
    ]
    own_bytes = max(0.0, total_bytes - sum(guest.capacity_bytes for guest in (*seen, *by_hand)))
    claimed = {guest.guest: guest.used_bytes for guest in by_hand if not doubt(guest, now_s)}
    last = {guest.guest: min(before.get(guest.guest, 0.0), guest.capacity_bytes) for guest in by_hand}
    rest = max(0.0, used_bytes - sum((last | claimed).values()))
    guests = []
    for guest in by_hand:
        if rest > own_bytes and guest.guest in claimed:  # more is in use than is the host's: so guests use it
            more = min(rest - own_bytes, guest.capacity_bytes - guest.used_bytes)
            guest, rest = replace(guest, used_bytes=guest.used_bytes + more), rest - more
        guests.append(guest)
    return Parts(own_bytes, min(rest, own_bytes), (*seen, *guests))


def believable(said: Iterable[GuestSample], sizes: Mapping[str, int | None], now_s: float) -> dict[str, float]:
    """Return what guests of these sizes use, by those of their reports that can be believed."""
    sized = [_sized(report.guest, size, report) for report in said if (size := sizes.get(report.guest))]
    return {guest.guest: guest.used_bytes for guest in sized if not doubt(guest, now_s)}


def unknown(sizes: Mapping[str, int | None], seen: Iterable[str]) -> dict[str, str]:
    """Return the guests whose size nobody told, neither owner nor hypervisor, and what to do about it."""
    return {name: SIZE_UNKNOWN for name, size in sizes.items() if size is None and name not in set(seen)}


def _sized(name: str, size_bytes: int, report: GuestSample | None) -> GuestSample:
    """Return a guest's report with its owner's word for its size."""
    if report is None:
        return GuestSample(name, LONG_AGO_S, size_bytes, size_bytes)
    return replace(report, capacity_bytes=size_bytes)
