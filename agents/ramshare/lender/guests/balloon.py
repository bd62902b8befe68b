"""How much memory each guest shall have: from what it needs and what is to be lent, to balloon targets. Pure.

Invariants, each a test:
1. No guest is asked to go below its floor: what its owner and hypervisor guarantee it, and what it uses now plus slack.
2. While any guest is due memory back, nothing is taken from any other.
3. A guest whose need is not known (no believable report, or two guests of one name) gets all its memory back.
4. Guests are never given more than the host has: what is lent is in use, and a host that runs out ends its guests.
5. No guest is asked for anything but what was taken from it: `max_bytes` is what it was meant to have before.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

MIB = 1 << 20

LEAST_FLOOR_BYTES = 256 * MIB
"""A small Linux server's kernel, its services and their file pages."""
SLACK_SHARE = 0.2
SLACK_BYTES = 64 * MIB
"""Slack above what a guest uses now: the larger of both, so that it can grow until the balloon follows."""
RISE_FACTOR = 2.0
"""A guest whose use has just risen gets so many times the rise as slack, if that is more: a demand that has begun goes
on, and by the time that the balloon has followed, it has doubled. Measured: a process that fills memory as fast as it
can, in a guest that had 150 MiB free, swapped 23,000 pages before, and none or a few since."""
STEP_BYTES = 16 * MIB
"""Less is not worth a change."""
TAKE_SHARE = 0.05
TAKE_BYTES = 64 * MIB
"""Most that a balloon takes, or eases, at a time, the larger of both: a guest should give its page cache up without a
stall. What a guest is due comes at once."""


@dataclass(frozen=True)
class BalloonGuest:
    """One guest: what it has and what it needs; `max_bytes` is what it is meant to have."""

    uuid: str
    name: str
    max_bytes: int
    actual_bytes: int
    floor_bytes: int
    """Guaranteed, whatever it uses."""
    used_bytes: int | None
    """None: nobody knows."""
    pressed: bool = False
    """It waits for memory now."""
    rise_bytes: int = 0
    """How much its use has risen in the last seconds."""
    left_alone: str = ""
    """Why its balloon must not be used: it gets back what was taken before that was so, and is asked nothing else."""

    @property
    def needs_bytes(self) -> int:
        """What it must have at least; never more than there is."""
        if self.used_bytes is None or self.pressed or self.left_alone:
            return self.max_bytes
        slack = max(SLACK_BYTES, int(self.used_bytes * SLACK_SHARE), int(self.rise_bytes * RISE_FACTOR))
        return min(self.max_bytes, max(self.floor_bytes, LEAST_FLOOR_BYTES, self.used_bytes + slack))

    @property
    def is_due(self) -> bool:
        """Whether it must get memory back; within its slack a step less is nothing yet."""
        missing = self.needs_bytes - self.actual_bytes
        return missing >= STEP_BYTES or (missing > 0 and self.needs_bytes == self.max_bytes)


@dataclass(frozen=True)
class BalloonTarget:
    """What to ask a guest for, and why."""

    uuid: str
    name: str
    target_bytes: int
    gives_back: bool
    reason: str
    is_due: bool = False
    """A guest needs it now; all else may wait for its turn."""


def wanted_bytes(lendable_bytes: int, own_bytes: int, reserve_bytes: int, lent_bytes: int) -> int:
    """Return how much the balloons should hold so that what may be lent (`lendable_bytes`, loans included) is there.

    `own_bytes` is what the host could still hand out if all balloons were empty; it may be negative.
    """
    return max(0, lendable_bytes - (own_bytes - reserve_bytes + lent_bytes))


def plan_balloons(guests: Sequence[BalloonGuest], wanted: int) -> tuple[BalloonTarget, ...]:
    """Return the targets that differ from what is, giving back first; `wanted` is what all balloons should hold."""
    names = Counter(guest.name for guest in guests)
    known = [guest if names[guest.name] == 1 else _unknown(guest) for guest in guests]
    due = tuple(_due(guest, names[guest.name]) for guest in known if guest.is_due)
    if due:
        return due
    held = sum(guest.max_bytes - guest.actual_bytes for guest in known)
    if held > wanted + STEP_BYTES:
        return _ease(known, held - wanted)
    return _take(known, wanted - held) if wanted >= held + STEP_BYTES else ()


def afford(
    plan: Sequence[BalloonTarget], actual_bytes: Mapping[str, int], spare_bytes: int
) -> tuple[tuple[BalloonTarget, ...], int]:
    """Cut what is given back down to what the host has, all by the same share; also return what is still owed.

    `actual_bytes` is what each guest has, by UUID; `spare_bytes` what the host could hand out, its reserve included.
    """
    more = {target.uuid: target.target_bytes - actual_bytes[target.uuid] for target in plan if target.gives_back}
    total, spare = sum(more.values()), max(0, spare_bytes)
    if total <= spare:
        return tuple(plan), 0
    cut = []
    for target in plan:
        if not target.gives_back:
            cut.append(target)
        elif (given := more[target.uuid] * spare // total) > 0:
            cut.append(replace(target, target_bytes=actual_bytes[target.uuid] + given))
    due = sum(more[target.uuid] for target in plan if target.is_due)
    return tuple(cut), due * (total - spare) // total


def _unknown(guest: BalloonGuest) -> BalloonGuest:
    return BalloonGuest(
        guest.uuid,
        guest.name,
        guest.max_bytes,
        guest.actual_bytes,
        guest.floor_bytes,
        None,
        guest.pressed,
        left_alone=guest.left_alone,
    )


def _due(guest: BalloonGuest, of_this_name: int) -> BalloonTarget:
    if of_this_name > 1:
        why = f"{of_this_name} guests are called {guest.name}, so nobody knows which of them needs it"
    elif guest.left_alone:
        why = f"its balloon is not to be used: {guest.left_alone}"
    elif guest.used_bytes is None:
        why = "no believable report says what it needs"
    elif guest.pressed:
        why = "it waits for memory"
    else:
        why = f"it uses {guest.used_bytes // MIB} MiB and has {guest.actual_bytes // MIB} MiB"
    # As much again as is missing: who has begun to grow goes on, and the next look is seconds away.
    missing = guest.needs_bytes - guest.actual_bytes
    return BalloonTarget(guest.uuid, guest.name, min(guest.max_bytes, guest.needs_bytes + missing), True, why, True)


def _ease(guests: Sequence[BalloonGuest], surplus: int) -> tuple[BalloonTarget, ...]:
    """Give back what nobody needs to borrow, to all that miss some in proportion and little by little.

    Nobody waits for it; and a host that lends less for a moment, because it is short itself, must not be made shorter.
    """
    held = {guest.uuid: guest.max_bytes - guest.actual_bytes for guest in guests}
    total = sum(max(0, bytes_) for bytes_ in held.values())
    targets = []
    for guest in guests:
        share = min(held[guest.uuid], _most(guest), surplus * max(0, held[guest.uuid]) // max(1, total))
        if share > 0:
            why = "less is to be lent than balloons hold"
            targets.append(BalloonTarget(guest.uuid, guest.name, guest.actual_bytes + share, True, why))
    return tuple(targets)


def _most(guest: BalloonGuest) -> int:
    return max(TAKE_BYTES, int(guest.max_bytes * TAKE_SHARE))


def _take(guests: Sequence[BalloonGuest], missing: int) -> tuple[BalloonTarget, ...]:
    """Take what is to be lent from those that can spare it, in proportion and little by little."""
    spare = {guest.uuid: max(0, guest.actual_bytes - guest.needs_bytes) for guest in guests}
    total = sum(spare.values())
    targets = []
    for guest in guests:
        share = min(spare[guest.uuid], _most(guest), -(-missing * spare[guest.uuid] // max(1, total)))
        if share >= min(STEP_BYTES, missing) > 0:
            why = f"it can spare {spare[guest.uuid] // MIB} MiB, {missing // MIB} MiB more are to be lent"
            targets.append(BalloonTarget(guest.uuid, guest.name, guest.actual_bytes - share, False, why))
    return tuple(targets)
