"""When a volume may be cleaned up: LVM suspends it until all its I/O is done, and with it who swaps to it.

Since Linux 5.17 md queues writes without a limit, and kernels of all ages do so for a volume that is suspended. With a
slow local disk that is a minute of work (seen: 87 MB waiting for a disk of 120 IOPS, a stall of 109 s). Once a lender
is dead the volume works without it, at the local disk's pace, so the queue gets shorter by itself: cleaning up waits
for that, within reason. While the leases answer, the storm goes on and no wait helps. Used by `machine/turn.py`.
"""

from dataclasses import dataclass

from ramshare.borrower.plan import steps as s

FEW_WRITES = 64
"""Not worth a wait on any disk: half a second of a 7200 rpm disk."""
SUSPENDED_S = 2.0
"""So long cleaning up may suspend the volume for the writes under way."""
PATIENCE_S = 60.0
"""Then it is done anyway: a storm that never ends must not put it off for ever."""


@dataclass(frozen=True)
class Writes:
    """A volume's writes at one moment, by the kernel's counters."""

    at_s: float
    in_flight: int
    done: int


def drain_s(before: Writes, now: Writes) -> float:
    """Return how long the writes under way will take at the pace since `before`; 0 for a few, infinite for no pace."""
    if now.in_flight <= FEW_WRITES:
        return 0.0
    done = now.done - before.done
    return now.in_flight * (now.at_s - before.at_s) / done if done > 0 else float("inf")


class WriteBacklog:
    """Remembers what was counted, and since when each volume waits."""

    def __init__(self) -> None:
        self._counted: dict[str, Writes] = {}
        self._since_s: dict[str, float] = {}

    def instead_of(self, step: s.Step, volume: str, now: Writes) -> s.Step:
        """Return the step itself, or a wait while it would suspend `volume` for too long. Call once a second."""
        before = self._counted.get(volume, now)
        self._counted[volume] = now
        if not step.waits_for_writes:
            self._since_s.pop(volume, None)
            return step
        left_s = drain_s(before, now)
        since_s = self._since_s.setdefault(volume, now.at_s)
        if left_s <= SUSPENDED_S or now.at_s - since_s > PATIENCE_S:
            del self._since_s[volume]
            return step
        return s.Wait(f"{now.in_flight} writes are under way; then: {step}", 0.0)
