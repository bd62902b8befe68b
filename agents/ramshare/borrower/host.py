"""The borrower's hands: look at this host's volumes and apply one step. Runs on the agent's worker thread.

Every step may be applied again after a crash; none is remembered here but the grants (with their secrets), which are
worthless to a later run anyway: open-iscsi keeps what it needs to reconnect, a grant nobody used is taken back.
"""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ramshare.borrower import steps as s
from ramshare.borrower.observe import observe
from ramshare.borrower.planner import next_step
from ramshare.borrower.rescue import BEFORE_MOVE, HOME, Rescue
from ramshare.borrower.tags import HOME_SUFFIX, LeaseTag, goal_tags, lease_of_pv, ours, parse, pv_tag
from ramshare.borrower.view import Goal, VolumeView
from ramshare.daemon import RefusedError
from ramshare.errors import RamshareError
from ramshare.linux import swap
from ramshare.linux.dm import Dmsetup, dm_name, suspended_names
from ramshare.linux.iscsi_sessions import Session, delete_disk, sessions, tune_disk
from ramshare.linux.iscsiadm import MIRROR_PARAMETERS, MOVE_PARAMETERS, Iscsiadm, LoginError, read_initiator_name
from ramshare.linux.lvm import UNKNOWN_PV, Lvm, split_volume
from ramshare.linux.lvm_state import LogicalVolume, LvmState
from ramshare.linux.memory import read_memory
from ramshare.linux.pin import PinnedFiles
from ramshare.linux.protect import come_first, keep_free, keep_out_of_swap, lock_memory, protect_from_oom
from ramshare.linux.run import Runner, require_root, require_tools
from ramshare.messages.names import lease_of
from ramshare.messages.replies import ErrorCode, Grant
from ramshare.messages.state import Mode

log = logging.getLogger(__name__)

PV_HEADER_BYTES = 1 << 20
"""LVM aligns a PV's first extent to 1 MiB."""
REGION_BYTES = 64 << 20
"""raid1's write-intent regions: large, because setting a bit is a synchronous write to the slow local disk. A smaller
volume gets the largest power of two that fits: the kernel refuses a region larger than the volume."""
WRITE_BEHIND = 64
"""32 outstanding writes to the local leg. Each holds a copy of its pages while memory is short, and all must reach the
slow disk before LVM can change the volume: 512 held a return up for 94 s and wedged a host of 320 MB."""
KEPT_FREE_BYTES = 64 << 20
KEPT_FREE_SHARE = 20
"""The kernel is to keep 64 MiB free, of a small host the 20th part: while LVM holds swap still nothing is freed, and
LVM itself needs memory to let go. 2 MiB (the default of a host of 320 MB) wedged it."""
SUSPENDED_MOST_S = 15.0
"""LVM suspends for milliseconds; a device that stays so was left behind by a tool that died, and swap stalls on it."""
DISK_WITHIN_S = 10.0
"""A login's disk appears within milliseconds; under emulation within two seconds."""
LOCAL_QUEUE = {"wbt_lat_usec": "0"}
"""md's one thread serves both legs; throttled at the local disk it could not answer for the remote one.

Not for a move: there the throttle keeps the disk's queue short, so that neighbouring pages are written as one.
"""
LOCAL_QUEUE_DEFAULT = {"wbt_lat_usec": "-1"}
LOGIN_TRIES = 3
"""A lease that holds no page of ours is given up after so many logins in vain, and another one is asked for."""

TOOLS = ("lvs", "pvmove", "vgextend", "lvconvert", "iscsiadm")


@dataclass(frozen=True)
class Looked:
    """One cycle: what was seen, the step that followed, and the error if it failed."""

    view: VolumeView
    step: s.Step
    error: str = ""


HELD_TOOLS = (*TOOLS, "dmsetup", "iscsid")
"""Held in memory together with their libraries."""


def region_bytes(volume_bytes: int) -> int:
    """Return the size of a raid1's write-intent regions for a volume of this size: a power of two."""
    return min(REGION_BYTES, 1 << (volume_bytes.bit_length() - 1))


class BorrowerHost:
    """LVM, the iSCSI initiator and our tags on one machine."""

    def __init__(
        self, runner: Runner, directory: Path, sleep: Callable[[float], None] = time.sleep, patience_s: float = 90.0
    ) -> None:
        """Keep rescue data in `directory`; wait `patience_s` for a lost lender that has the only copy of pages."""
        self._runner = runner
        self._move_parameters = replace(MOVE_PARAMETERS, replacement_timeout_s=min(3600, max(5, round(patience_s))))
        self._pinned = PinnedFiles()
        self._lvm = Lvm(runner)
        self._iscsi = Iscsiadm(runner)
        self._rescue = Rescue(runner, self._lvm, directory)
        self._sleep = sleep
        self._grants: dict[str, Grant] = {}
        self._refused: dict[str, int] = {}
        self._given_up: set[str] = set()
        """Leases whose pages are being written off; LVM takes no mark of it before that is done."""
        self._state = LvmState()
        self._dm = Dmsetup(runner)
        self._suspended_since: dict[str, float] = {}
        self._seen_sessions: list[Session] = []

    # ---- looking

    def start(self) -> list[str]:
        """Check the machine and return the volumes that carry our tags. Raises `MissingPartError`."""
        require_root("a borrower")
        require_tools(TOOLS)
        read_initiator_name()
        self._hold_still()
        self._state = self._lvm.report()
        ours_now = [lv for lv in self._state.lvs if parse(lv.tags).present]
        if any(lv.moves for lv in ours_now):
            self._lvm.resume_moves()
        return [lv.full_name for lv in ours_now]

    def _hold_still(self) -> None:
        """Stay able to work while swap stalls: nothing of this process, nor of its tools, may have to be read in."""
        if not (lock_memory(on_fault=True) and protect_from_oom()):
            log.warning("memory is not locked: while swap stalls this agent may stall too")
        if not keep_out_of_swap():
            log.warning("LVM and iscsiadm may be swapped out themselves: run this agent with MemorySwapMax=0")
        # PR_SET_IO_FLUSHER is not for this: an allocation that may not swap spins, and starves those who could help it.
        come_first()
        kept = keep_free(min(KEPT_FREE_BYTES, read_memory().available_bytes // KEPT_FREE_SHARE))
        log.info("the kernel keeps %d MiB free", kept >> 20)
        self._pinned.pin_tools(self._runner, HELD_TOOLS)

    def sessions_changed(self) -> bool:
        """Whether any iSCSI session changed since the last look; reads sysfs only."""
        return sessions() != self._seen_sessions

    def look(self, volume: str, vacate: Collection[str] = (), nothing_to_borrow: bool = False) -> VolumeView:
        """Return the picture of one volume. Raises `RefusedError` if there is none of that name."""
        self._seen_sessions = sessions()
        self._state = self._lvm.report()
        can_login = set(self._grants) | {lease for _, iqn in self._iscsi.nodes() if (lease := lease_of(iqn))}
        can_login -= self._shut_out()
        view = observe(volume, self._state, self._seen_sessions, can_login, vacate, nothing_to_borrow)
        if view is None:
            vg = volume.partition("/")[0]
            what = f"no logical volume {volume}" if self._state.vg(vg) else f"no volume group {vg}"
            raise RefusedError(ErrorCode.UNKNOWN_VOLUME, f"{what} on this host; `lvs` lists what there is")
        return view

    def _shut_out(self) -> set[str]:
        """Leases that nothing of a volume lies on and that let us in no more: taken back, or their lender is gone."""
        joined = {lease for pv in self._state.pvs if (lease := lease_of_pv(pv.tags)) is not None}
        return ({lease for lease, tries in self._refused.items() if tries >= LOGIN_TRIES} - joined) | self._given_up

    def cycle(self, volume: str, vacate: Collection[str] = (), nothing_to_borrow: bool = False) -> Looked:
        """Look, plan one step, apply it."""
        view = self.look(volume, vacate, nothing_to_borrow)
        step = next_step(view)
        try:
            self._apply(view, step)
        except (RamshareError, OSError) as error:
            return Looked(view, step, str(error))
        return Looked(view, step)

    # ---- what requests need

    def resume_suspended(self, volumes: Collection[str], now_s: float) -> list[str]:
        """Resume devices of these volumes that have been suspended for longer than `SUSPENDED_MOST_S`; return them."""
        prefixes = tuple(dm_name(*split_volume(volume)) for volume in volumes)
        suspended = {name for name in suspended_names() if name.startswith(prefixes)} if prefixes else set()
        self._suspended_since = {name: self._suspended_since.get(name, now_s) for name in suspended}
        stuck = sorted(name for name, since in self._suspended_since.items() if now_s - since > SUSPENDED_MOST_S)
        for name in stuck:
            self._dm.resume(name)
        return stuck

    def check_borrow(self, volume: str, mode: Mode) -> VolumeView:
        """Return the volume's picture if it may be borrowed for. Raises `RefusedError`."""
        view = self.look(volume)
        if not swap.is_swap(f"/dev/{volume}"):
            raise RefusedError(ErrorCode.NOT_SWAP, f"{volume} is not swap (no swap signature); mkswap makes it so")
        if view.goal is Goal.ATTACHED and view.mode is not mode:
            raise RefusedError(ErrorCode.CONFLICT, f"{volume} is attached by {view.mode}; return it first")
        if view.goal is Goal.HOME and view.leases:
            raise RefusedError(ErrorCode.BUSY, f"{volume} is still on its way home; try again when it is there")
        return view

    def extent_bytes(self, volume: str) -> int:
        """Return the extent size of the volume's group, as of the last look."""
        group = self._state.vg(volume.partition("/")[0])
        return group.extent_bytes if group else 4 << 20

    def overhead_bytes(self, volume: str, mode: Mode) -> int:
        """Return what a lease needs besides payload: the PV's header, for a mirror also one extent of leg metadata."""
        extent = self.extent_bytes(volume)
        header = -(-PV_HEADER_BYTES // extent) * extent
        return header + (extent if mode is Mode.MIRROR else 0)

    def initiator(self) -> str:
        """Return this host's iSCSI name."""
        return read_initiator_name()

    def accept(self, volume: str, mode: Mode | None, leases: Sequence[LeaseTag], grants: Sequence[Grant]) -> None:
        """Write down that these leases are for this volume, before anything is done with them.

        With a `mode` the volume is to be attached from now on; without one the goal stays what it has become meanwhile.
        """
        self._grants |= {grant.lease: grant for grant in grants}
        lv = self._lv(volume)
        old = [tag for tag in ours(lv.tags) if tag.startswith(("ramshare.goal=", "ramshare.mode="))] if mode else []
        wanted = [*(goal_tags(Goal.ATTACHED, mode) if mode else []), *map(str, leases)]
        self._lvm.change_lv_tags(
            volume, add=[t for t in wanted if t not in lv.tags], remove=[t for t in old if t not in wanted]
        )

    def send_home(self, volume: str) -> bool:
        """Have the next cycles bring the volume home; False if it is there and carries no tag."""
        view = self.look(volume)
        if not view.tagged:
            return False
        add, remove = goal_tags(Goal.HOME, view.mode or Mode.MIRROR), goal_tags(Goal.ATTACHED, view.mode or Mode.MIRROR)
        self._lvm.change_lv_tags(volume, add=add[:1], remove=remove[:1])
        return True

    def drop_lease(self, volume: str, lease: str) -> None:
        """Forget a lease that its lender has back (or that is lost for good)."""
        self._grants.pop(lease, None)
        self._refused.pop(lease, None)
        self._given_up.discard(lease)
        self._forget_node(lease)
        tags = [str(t) for t in parse(self._lv(volume).tags).leases if t.lease == lease]
        self._lvm.change_lv_tags(volume, remove=tags)

    # ---- applying

    def _apply(self, view: VolumeView, step: s.Step) -> None:
        lvm, volume = self._lvm, view.volume
        match step:
            case s.Login(lease):
                self._login(view, lease)
            case s.Join(lease, device):
                if not any(x.in_vg for x in view.leases):
                    self._rescue.keep(volume, self._state, HOME)
                lvm.extend_vg(view.vg, device, [pv_tag(lease)], ours=True)
            case s.StartMove(source, destinations):
                self._rescue.keep(volume, self._state, BEFORE_MOVE)
                lvm.start_move(volume, source, destinations)
            case s.AbortMove():
                lvm.abort_move(self._lv(volume).move_pv)
            case s.StartMirror(devices):
                self._tune_local(view, LOCAL_QUEUE)
                lvm.mirror(volume, devices, region_bytes(view.size_bytes))
            case s.PreferRemote(devices):
                for device in devices:
                    lvm.set_write_mostly(volume, device, write_behind=WRITE_BEHIND)
            case s.SplitLeg(devices, leaving):
                lvm.split_leg(volume, devices)
                self._let_go(view.vg, leaving)
            case s.LetGo(leaving):
                for goes in leaving:
                    delete_disk(goes.device)
                    self._end_session(goes.lease)
            case s.DropLostLeg(leases):
                self._drop_lost_leg(view, leases)
            case s.RescueMove(leases):
                self._cut_off(leases)
                self._rescue.undo_move(volume, self._state, leases)
                self._mark_lost(volume, leases)
            case s.WriteOff(leases):
                self._given_up.update(leases)
                self._cut_off(leases)
                self._rescue.write_off(volume, self._state)
                self._mark_lost(volume, leases)
            case s.ReserveHome(devices, size_bytes):
                lvm.reserve(volume + HOME_SUFFIX, size_bytes, devices)
            case s.FreeHome():
                lvm.unreserve(volume + HOME_SUFFIX)
            case s.Leave(_, device):
                lvm.reduce_vg(view.vg, device)
            case s.Logout(lease):
                self._logout(lease)
            case s.Forget():
                self._tune_local(view, LOCAL_QUEUE_DEFAULT)
                lvm.change_lv_tags(volume, remove=ours(self._lv(volume).tags))

    def _tune_local(self, view: VolumeView, settings: Mapping[str, str]) -> None:
        for disk in view.local_devices:
            tune_disk(disk, settings)

    def _login(self, view: VolumeView, lease: str) -> None:
        grant = self._grants.get(lease)
        if grant is not None:
            parameters = self._move_parameters if view.mode is Mode.MOVE else MIRROR_PARAMETERS
            secret = grant.chap_secret.get_secret_value()
            self._iscsi.create_node(grant.portal, grant.target, parameters, user=grant.chap_user, secret=secret)
        portal, iqn = self._node(lease)
        try:
            self._iscsi.login(portal, iqn)
        except LoginError:
            self._refused[lease] = self._refused.get(lease, 0) + 1
            raise
        self._refused.pop(lease, None)
        device = self._disk_of(iqn)
        tune_disk(device)

    def _disk_of(self, iqn: str) -> str:
        for _ in range(int(DISK_WITHIN_S / 0.1)):
            found = next((session.device for session in sessions() if session.iqn == iqn and session.device), None)
            if found and Path(found).exists():
                return found
            self._sleep(0.1)
        raise RamshareError(f"the session to {iqn} brought no disk within {DISK_WITHIN_S:g} s", "look into dmesg")

    def _let_go(self, vg: str, leaving: Sequence[s.Leaving]) -> None:
        """Take empty leases out of the group and log out; their labels vanish with their memory."""
        if leaving:
            self._lvm.reduce_vg(vg, *(lease.device for lease in leaving))
        for lease in leaving:
            self._end_session(lease.lease)

    def _logout(self, lease: str) -> None:
        self._end_session(lease)
        self._forget_node(lease)

    def _end_session(self, lease: str) -> None:
        for session in sessions():
            if lease_of(session.iqn) == lease:
                if not session.healthy and session.device is not None:
                    delete_disk(session.device)
                self._iscsi.logout(session.address, session.iqn)

    def _forget_node(self, lease: str) -> None:
        for portal, iqn in self._iscsi.nodes():
            if lease_of(iqn) == lease:
                self._iscsi.delete_node(portal, iqn)

    def _node(self, lease: str) -> tuple[str, str]:
        for portal, iqn in self._iscsi.nodes():
            if lease_of(iqn) == lease:
                return portal, iqn
        raise RamshareError(f"no grant and no node record of lease {lease}", "it will be given back")

    def _drop_lost_leg(self, view: VolumeView, leases: Sequence[str]) -> None:
        """Clean up in the order that LVM accepts, then mark the leases as lost so that nobody logs in to them again."""
        lv = self._lv(view.volume)
        if any(pv.missing for pv in self._state.pvs if pv.vg == view.vg):
            self._spare_others(view)
            self._lvm.drop_missing(view.vg)
            if lv.is_mirror:
                self._lvm.forget_leg(view.volume)
        elif lv.is_mirror:
            self._lvm.split_leg(view.volume, sorted(set(lv.pvs) - set(view.local_devices)))
        self._remove_stubs(view.volume)
        self._mark_lost(view.volume, leases)
        for lease in view.leases:
            pv = self._state.pv(lease.device) if lease.lease in leases and lease.device is not None else None
            if pv is not None and pv.vg == view.vg and not pv.missing:
                self._lvm.reduce_vg(view.vg, pv.name)

    def _spare_others(self, view: VolumeView) -> None:
        """Raise if forgetting missing devices would throw away another volume: LVM removes what lies on them only."""
        for other in self._state.lvs:
            foreign = other.vg == view.vg and other.full_name != view.volume
            if foreign and not other.is_mirror and UNKNOWN_PV in other.pvs:
                raise RamshareError(f"{other.full_name} lies on a missing device too and must be rescued first")

    def _remove_stubs(self, volume: str) -> None:
        """Remove the error devices that LVM puts in place of missing disks when it activates a mirror, and forgets."""
        prefix = dm_name(*split_volume(volume)) + "_r"
        for device in self._dm.devices():
            if device.name.startswith(prefix) and "-missing_" in device.name and not device.open_count:
                self._dm.remove(device.name)

    def _mark_lost(self, volume: str, leases: Sequence[str]) -> None:
        """From now on these leases are only there to be cleaned up; nobody logs in to them again."""
        tags = [tag for tag in parse(self._lv(volume).tags).leases if tag.lease in leases and not tag.lost]
        self._lvm.change_lv_tags(volume, add=[str(tag.as_lost()) for tag in tags], remove=[str(tag) for tag in tags])

    def _cut_off(self, leases: Sequence[str]) -> None:
        """End the sessions of dead leases, so that I/O to them fails now instead of waiting for them to come back."""
        for session in sessions():
            if lease_of(session.iqn) in leases:
                self._iscsi.logout(session.address, session.iqn)

    def _lv(self, volume: str) -> LogicalVolume:
        found = self._state.lv(volume)
        if found is None:
            raise RamshareError(f"logical volume {volume} is gone", "`lvs` lists what there is")
        return found
