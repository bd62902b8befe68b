"""The one place that changes our tags on volumes: what is known of a volume at rest does not hold any longer then.

Runs on the borrower's worker thread.
"""

from collections.abc import Collection, Sequence

from ramshare.borrower.machine.lvm_cache import LvmCache
from ramshare.borrower.plan.tags import (
    PLAIN_TERMS,
    WISHES,
    LeaseTag,
    Terms,
    encrypt_tags,
    goal_tags,
    home_tag,
    ours,
    parse,
    part_tags,
)
from ramshare.borrower.plan.view import Goal
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import LogicalVolume
from ramshare.messages.state import Mode


class VolumeTags:
    """Each change is made to what LVM last reported of the volume. All raise `RamshareError` if LVM refuses."""

    def __init__(self, lvm: Lvm, cache: LvmCache) -> None:
        self._lvm = lvm
        self._cache = cache

    def add_leases(
        self,
        lv: LogicalVolume,
        mode: Mode | None,
        leases: Sequence[LeaseTag],
        home: Collection[str] = (),
        *,
        encrypt: bool = True,
        part_bytes: int = 0,
        terms: Terms = PLAIN_TERMS,
    ) -> None:
        """Say that these leases are for the volume; with a `mode` also that it is to be attached, encrypted or not.

        What was said of one of these leases before is said no more. `home` are UUIDs of the disks that it comes home
        to, `part_bytes` how much of it is to leave them (0: all).
        """
        said_anew = {lease.lease for lease in leases}
        old = [str(tag) for tag in parse(lv.tags).leases if tag.lease in said_anew]
        old += [tag for tag in ours(lv.tags) if tag.startswith(WISHES)] if mode else []
        wishes = (
            [*goal_tags(Goal.ATTACHED, mode), *encrypt_tags(encrypt), *part_tags(part_bytes), *terms.tags]
            if mode
            else []
        )
        wanted = [*wishes, *map(str, leases), *map(home_tag, home)]
        self._change(lv, add=[t for t in wanted if t not in lv.tags], remove=[t for t in old if t not in wanted])

    def adopt(self, lv: LogicalVolume) -> None:
        """Say that a person wants what the policy borrowed: it is theirs from now on."""
        self._change(lv, remove=[tag for tag in parse(lv.tags).terms.tags if tag in lv.tags])

    def aim_home(self, lv: LogicalVolume, mode: Mode) -> None:
        """Say that the volume is to come home."""
        add, remove = goal_tags(Goal.HOME, mode), goal_tags(Goal.ATTACHED, mode)
        self._change(lv, add=add[:1], remove=remove[:1])

    def mark_lost(self, lv: LogicalVolume, leases: Collection[str]) -> None:
        """Say that these leases are only there to be cleaned up; nobody logs in to them again."""
        tags = [tag for tag in parse(lv.tags).leases if tag.lease in leases and not tag.lost]
        self._change(lv, add=[str(tag.as_lost()) for tag in tags], remove=[str(tag) for tag in tags])

    def remove_lease(self, lv: LogicalVolume, lease: str) -> None:
        """Say that the lease is the volume's no more."""
        self._change(lv, remove=[str(tag) for tag in parse(lv.tags).leases if tag.lease == lease])

    def clear(self, lv: LogicalVolume) -> None:
        """Remove every tag of ours."""
        self._change(lv, remove=ours(lv.tags))

    def _change(self, lv: LogicalVolume, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self._cache.forget(lv.full_name)
        self._lvm.change_lv_tags(lv.full_name, add=add, remove=remove)
