"""Volumes that are where they should be, and whether what LVM last said of them still holds by the kernel's word.

To ask LVM is a process that wants memory and reads from disks: up to 15 s in a swap storm, in which a lender that needs
its memory would have to wait, though LVM has no part in cutting a mirror's leases off. So while sessions and device
mapper say what they said when LVM was last asked, its answer is used again. Used by `turn.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.view import Heard, VolumeView
from ramshare.linux.iscsi_sessions import Session

TRUSTED_S = 300.0
"""LVM is asked again by then: others may change tags or room in the group, of which the kernel knows nothing."""
_DEAD = "D"


@dataclass(frozen=True)
class KernelWords:
    """What the kernel says of one volume: the iSCSI sessions, and the volume's table and status (`dmsetup`)."""

    sessions: Sequence[Session]
    table: str | None
    status: str | None

    @property
    def leg_failed(self) -> bool:
        """Whether md has thrown a leg out: its letter is D, as in `0 N raid raid1 2 AD …` (kernel: dm-raid.rst)."""
        words = (self.status or "").split()
        return words[2:3] == ["raid"] and _DEAD in "".join(words[5:6])


@dataclass(frozen=True)
class _Known:
    view: VolumeView
    words: KernelWords
    until_s: float


class LvmCache:
    """Remembers volumes that there was nothing to do about, as LVM showed them."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def note(self, view: VolumeView, step: s.Step, words: Callable[[], KernelWords], now_s: float) -> None:
        """Remember what LVM said if there is nothing to do, or forget the volume; `words` are asked for only then."""
        self.forget(view.volume)
        if isinstance(step, s.Done):
            said = words()
            if not said.leg_failed:
                self._known[view.volume] = _Known(view, said, now_s + TRUSTED_S)

    def forget(self, volume: str) -> None:
        """Have LVM asked at the next look, for instance because its tags were changed."""
        self._known.pop(volume, None)

    def plan(
        self, volume: str, heard: Heard, words: Callable[[], KernelWords], now_s: float
    ) -> tuple[VolumeView, s.Step] | None:
        """Return view and step if the volume is known, the kernel agrees, and LVM has no part in the step."""
        known = self._known.get(volume)
        if known is None or now_s >= known.until_s:
            return None
        view = replace(known.view, heard=heard)
        step = next_step(view)
        return (view, step) if not step.uses_lvm and words() == known.words else None
