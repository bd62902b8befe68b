"""From a policy's decision to an offer: what physics, the owner and our own loans allow. Pure.

The policy (`policy`) says how much of the host's and its guests' memory will not be needed. It cannot know what
is physically free, what the owner permits or that the host is being drained; this does, and takes the smallest of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1 << 20
STEP_BYTES = 16 * MIB
"""Free bytes are multiples of it, so that noise of a few pages is not news."""
NAMED_GUESTS = 3
"""How many guests that are left alone for one reason are named."""


@dataclass(frozen=True)
class Limits:
    """What bounds an offer besides the policy."""

    decided_bytes: int
    """The policy's word, loans included."""
    decided_reason: str
    available_bytes: int
    """What a new RAM file can take without making the host swap; below 0, what it owes its guests besides."""
    reserve_bytes: int
    lent_bytes: int
    lent_committed_bytes: int
    """Of the lent bytes, those that back a move."""
    committed_bytes: int
    limit_bytes: int | None = None
    draining: bool = False
    borrowing: bool = False
    left_alone: Mapping[str, str] = field(default_factory=dict)
    """Guests that lend nothing whatever they use, with the reason."""
    misplaced: str = ""
    """Why exports are not served where they should be: what is lent stays lent, no more is offered."""


@dataclass(frozen=True)
class OfferPlan:
    """What to offer, in bytes, and one sentence."""

    capacity_bytes: int
    free_bytes: int
    committed_free_bytes: int
    reason: str

    @property
    def exportable(self) -> bool:
        """Whether a borrower can get anything."""
        return self.free_bytes > 0


def plan_offer(limits: Limits) -> OfferPlan:
    """Return the offer. The owner's committed memory counts even when the policy says less; nothing outbids physics.

    A capacity below what is lent says that memory is wanted back; rounding alone never does.
    """
    if limits.draining:
        return OfferPlan(0, 0, 0, "being drained: nothing is offered until undrain")
    if limits.borrowing:
        return OfferPlan(0, 0, 0, "this host's own swap is remote, so it does not lend")
    physical = max(0, limits.available_bytes - limits.reserve_bytes + limits.lent_bytes)
    wanted, reason = max(limits.decided_bytes, limits.committed_bytes), limits.decided_reason
    if wanted > limits.decided_bytes:
        reason = f"the owner set {_mib(limits.committed_bytes)} aside; {reason}"
    if limits.limit_bytes is not None and limits.limit_bytes < wanted:
        wanted, reason = limits.limit_bytes, f"the owner's limit of {_mib(limits.limit_bytes)}; {reason}"
    if physical < wanted:
        wanted = physical
        reason = f"only {_mib(physical)} can be had beside the reserve of {_mib(limits.reserve_bytes)}"
    capacity = max(wanted // STEP_BYTES * STEP_BYTES, min(wanted, limits.lent_bytes))
    if limits.misplaced:
        return OfferPlan(min(capacity, limits.lent_bytes), 0, 0, f"nothing is offered: {limits.misplaced}")
    free = max(0, capacity - limits.lent_bytes)
    committed_free = max(0, min(free, limits.committed_bytes - limits.lent_committed_bytes))
    return OfferPlan(capacity, free, committed_free, "; ".join(filter(None, [reason, _left_alone(limits.left_alone)])))


def _left_alone(guests: Mapping[str, str]) -> str:
    """Say who is left alone and why, each reason once."""
    named: dict[str, list[str]] = {}
    for name, why in sorted(guests.items()):
        named.setdefault(why, []).append(name)
    said = []
    for why, names in sorted(named.items()):
        more = f" and {len(names) - NAMED_GUESTS} more" if len(names) > NAMED_GUESTS else ""
        said.append(f"{', '.join(names[:NAMED_GUESTS])}{more} ({why})")
    return f"left alone: {', '.join(said)}" if said else ""


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / MIB:.0f} MiB"
