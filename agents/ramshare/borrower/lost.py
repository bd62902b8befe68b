"""What has to be done about leases whose lender died: clean up behind a mirror's leg, undo a move, write pages off.

Where LVM refuses to help, `rescue.py` goes below it. Runs on the borrower's worker thread.
"""

from collections.abc import Collection, Sequence

from ramshare.borrower.logins import Logins
from ramshare.borrower.rescue import Rescue
from ramshare.borrower.tags import parse
from ramshare.borrower.view import VolumeView
from ramshare.errors import RamshareError
from ramshare.linux.dm import Dmsetup, dm_name
from ramshare.linux.lvm import UNKNOWN_PV, Lvm, split_volume
from ramshare.linux.lvm_state import LvmState


class LostLeases:
    """Goes by the report that the step was planned from; afterwards these leases are marked as lost."""

    def __init__(self, lvm: Lvm, dm: Dmsetup, logins: Logins, rescue: Rescue) -> None:
        self._lvm = lvm
        self._dm = dm
        self._logins = logins
        self._rescue = rescue

    def drop_leg(self, view: VolumeView, state: LvmState, leases: Sequence[str]) -> None:
        """Clean up in the order that LVM accepts, then mark the leases as lost so that nobody logs in to them again."""
        lv = state.existing(view.volume)
        if any(pv.missing for pv in state.pvs if pv.vg == view.vg):
            _spare_others(view, state)
            if lv.is_mirror:
                self._let_rest_of_leg_go(view)
            self._lvm.drop_missing(view.vg)
            if lv.is_mirror:
                self._lvm.forget_leg(view.volume)
        elif lv.is_mirror:
            self._lvm.split_leg(view.volume, sorted(set(lv.pvs) - set(view.local_devices)))
        self._remove_stubs(view.volume)
        self._mark(view.volume, state, leases)
        for lease in view.leases:
            pv = state.pv(lease.device) if lease.lease in leases and lease.device is not None else None
            if pv is not None and pv.vg == view.vg and not pv.missing:
                self._lvm.reduce_vg(view.vg, pv.name)

    def _let_rest_of_leg_go(self, view: VolumeView) -> None:
        """Cut the leg's other leases off as well; they are logged in to again and used for the next leg.

        LVM puts error targets where the leg's disks are missing. If the leg's metadata still can be read, dm-raid then
        takes it for a new device and refuses the table ("New device injected into existing raid set", Linux 6.1).
        """
        for lease in view.leases:
            if lease.used_bytes and lease.device is not None and not lease.lost:
                self._logins.cut_out(lease.lease, lease.device)

    def undo_move(self, volume: str, state: LvmState, leases: Sequence[str]) -> None:
        """Give up a move to these leases: the volume is where it came from."""
        self._logins.cut_off(leases)
        self._rescue.undo_move(volume, state, leases)
        self._mark(volume, state, leases)

    def write_off(self, volume: str, state: LvmState, leases: Sequence[str]) -> None:
        """Give up the pages on these leases; raises `RamshareError` while that is impossible, see `Rescue`."""
        self._logins.give_up(leases)
        self._rescue.write_off(volume, state)
        self._mark(volume, state, leases)

    def _remove_stubs(self, volume: str) -> None:
        """Remove the error devices that LVM puts in place of missing disks when it activates a mirror, and forgets."""
        prefix = dm_name(*split_volume(volume)) + "_r"
        for device in self._dm.devices():
            if device.name.startswith(prefix) and "-missing_" in device.name and not device.open_count:
                self._dm.remove(device.name)

    def _mark(self, volume: str, state: LvmState, leases: Collection[str]) -> None:
        """From now on these leases are only there to be cleaned up; nobody logs in to them again."""
        tags = [tag for tag in parse(state.existing(volume).tags).leases if tag.lease in leases and not tag.lost]
        self._lvm.change_lv_tags(volume, add=[str(tag.as_lost()) for tag in tags], remove=[str(tag) for tag in tags])


def _spare_others(view: VolumeView, state: LvmState) -> None:
    """Raise if forgetting missing devices would throw away another volume: LVM removes what lies on them only."""
    for other in state.lvs:
        foreign = other.vg == view.vg and other.full_name != view.volume
        if foreign and not other.is_mirror and UNKNOWN_PV in other.pvs:
            raise RamshareError(f"{other.full_name} lies on a missing device too and must be rescued first")
