"""Applies one step of a plan to this machine's volumes. Each may be applied again after a crash.

Sessions are opened and ended by `iscsi.py`, what lenders that died leave behind is cleaned up by `repair.py`. Runs on
the borrower's worker thread.
"""

from collections.abc import Mapping, Sequence
from typing import assert_never

from ramshare.borrower.machine.comparisons import Comparisons
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.machine.repair import BEFORE_MOVE, HOME, LostLeases, Rescue
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.step import Leaving
from ramshare.borrower.plan.tags import HOME_SUFFIX, PV_ENCRYPTED, pv_tag
from ramshare.borrower.plan.view import VolumeView
from ramshare.linux.iscsi_sessions import tune_disk
from ramshare.linux.kcopyd import copy_in_large_requests
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import LvmState
from ramshare.messages.state import Mode

REGION_BYTES = 64 << 20
"""raid1's write-intent regions: large, because setting a bit is a synchronous write to the slow local disk. A smaller
volume gets the largest power of two that fits: the kernel refuses a region larger than the volume."""
WRITE_BEHIND = 64
"""32 outstanding writes to the local leg. Each holds a copy of its pages while memory is short, and all must reach the
slow disk before LVM can change the volume: 512 held a return up for 94 s and wedged a host of 320 MB."""
LOCAL_QUEUE = {"wbt_lat_usec": "0"}
"""md's one thread serves both legs; throttled at the local disk it could not answer for the remote one.

For a move see `disk_queue.py`.
"""
PAIR_RECOVERY_KIB_S = 64 << 10
"""A pair's copies do not wait for the storm to end: a lender wants its memory back, and pages may have one copy only.
md's own least (1 MiB/s, `speed_limit_min`) left a way home at 96 % for minutes, since it yields to all other I/O."""
LOCAL_QUEUE_DEFAULT = {"wbt_lat_usec": "-1"}


def region_bytes(volume_bytes: int) -> int:
    """Return the size of a raid1's write-intent regions for a volume of this size: a power of two."""
    return min(REGION_BYTES, 1 << (volume_bytes.bit_length() - 1))


class Executor:
    """Turns each step into calls of LVM, iSCSI and the repairs."""

    def __init__(
        self,
        lvm: Lvm,
        tags: VolumeTags,
        iscsi: LeaseSessions,
        rescue: Rescue,
        lost: LostLeases,
        comparisons: Comparisons,
    ) -> None:
        self._lvm = lvm
        self._tags = tags
        self._iscsi = iscsi
        self._rescue = rescue
        self._lost = lost
        self._comparisons = comparisons

    def apply(self, view: VolumeView, state: LvmState, step: s.MachineStep) -> None:
        """Apply `step`, planned from `view`, itself made from `state`. Raises `RamshareError` or `OSError`."""
        lvm, volume = self._lvm, view.volume
        match step:
            case s.Login(lease):
                self._iscsi.login(lease, view.mode, encrypt=view.encrypts(lease))
            case s.Compare(lease, device):
                self._comparisons.make(volume, lease, device)
            case s.Join(lease, device):
                self._iscsi.check_unmapped(lease)
                if not any(x.in_vg for x in view.leases):
                    self._rescue.keep(volume, state, HOME)
                tags = [pv_tag(lease), *([PV_ENCRYPTED] if view.encrypts(lease) else [])]
                lvm.extend_vg(view.vg, device, tags, ours=True)
            case s.StartMove(source, destinations, size_bytes):
                self._rescue.keep(volume, state, BEFORE_MOVE)
                copy_in_large_requests((source, *destinations))
                lvm.start_move(volume, source, destinations, size_bytes)
            case s.AbortMove():
                lvm.abort_move(state.existing(volume).move_pv)
            case s.StartMirror(devices, copies):
                _tune_local(view, LOCAL_QUEUE)
                if copies > 2:
                    lvm.add_leg(volume, devices, copies)
                else:
                    lvm.mirror(volume, devices, region_bytes(view.size_bytes))
                    if view.mode is Mode.PAIR:
                        lvm.set_recovery_rate(volume, PAIR_RECOVERY_KIB_S)
            case s.PreferRemote(devices):
                for device in devices:
                    lvm.set_write_mostly(volume, device, write_behind=WRITE_BEHIND)
            case s.SplitLeg(devices, leaving, copies):
                lvm.split_leg(volume, devices, copies)
                self._take_out(view.vg, leaving)
            case s.CutOffLeases(leaving):
                for goes in leaving:
                    self._iscsi.cut_off(goes.lease)
            case s.DropFailedLeg(leases):
                self._lost.drop_leg(view, state, leases)
            case s.RescueMove(leases):
                self._lost.undo_move(volume, state, leases)
            case s.WriteOff(leases):
                self._lost.write_off(volume, state, leases)
            case s.ReserveHome(devices, size_bytes):
                lvm.reserve(volume + HOME_SUFFIX, size_bytes, devices)
            case s.FreeHome():
                lvm.unreserve(volume + HOME_SUFFIX)
            case s.Leave(_, device):
                lvm.reduce_vg(view.vg, device)
            case s.Logout(lease):
                self._iscsi.logout(lease)
            case s.Forget():
                _tune_local(view, LOCAL_QUEUE_DEFAULT)
                self._tags.clear(state.existing(volume))
            case _:
                assert_never(step)

    def _take_out(self, vg: str, leaving: Sequence[Leaving]) -> None:
        """Take empty leases out of the group and log out; their labels vanish with their memory."""
        if leaving:
            self._lvm.reduce_vg(vg, *(lease.device for lease in leaving))
        for lease in leaving:
            self._iscsi.end(lease.lease)


def _tune_local(view: VolumeView, settings: Mapping[str, str]) -> None:
    for disk in view.local_devices:
        tune_disk(disk, settings)
