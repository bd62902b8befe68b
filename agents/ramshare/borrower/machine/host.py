"""The borrower's hands: look at this host's volumes, plan and apply one step. Runs on the agent's worker thread.

Every step may be applied again after a crash; none is remembered here but the grants (with their secrets), which are
worthless to a later run anyway: open-iscsi keeps what it needs to reconnect, a grant nobody used is taken back.
How a step is applied is in `executor.py`, `iscsi.py` and `repair.py`.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from ramshare.borrower.machine.executor import Executor
from ramshare.borrower.machine.iscsi import Logins
from ramshare.borrower.machine.lvm_cache import KernelWords, LvmCache
from ramshare.borrower.machine.repair import LostLeases, Rescue
from ramshare.borrower.machine.stay_resident import stay_resident
from ramshare.borrower.plan import steps as s
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.planner import next_step
from ramshare.borrower.plan.tags import LeaseTag, goal_tags, lease_of_pv, ours, parse
from ramshare.borrower.plan.view import NOTHING_HEARD, Goal, Heard, VolumeView
from ramshare.borrower.plan.write_backlog import WriteBacklog, Writes
from ramshare.desk import RefusedError
from ramshare.errors import RamshareError
from ramshare.linux import swap
from ramshare.linux.ballast import Ballast
from ramshare.linux.dm import Dmsetup, dm_name, suspended_names, writes
from ramshare.linux.iscsi_sessions import Session, sessions
from ramshare.linux.iscsiadm import read_initiator_name
from ramshare.linux.lvm import Lvm, split_volume
from ramshare.linux.lvm_state import LvmState
from ramshare.linux.pin import PinnedFiles
from ramshare.linux.run import Runner, require_root, require_tools
from ramshare.messages.replies import ErrorCode, Grant
from ramshare.messages.state import Mode

BALLAST_BYTES = 24 << 20
"""Held by a host that swaps through a loop device, and let go while LVM works. Without it 3 of 3 deaths of a lender
wedged such a host of 320 MB."""
PV_HEADER_BYTES = 1 << 20
"""LVM aligns a PV's first extent to 1 MiB."""
SUSPENDED_MOST_S = 15.0
"""LVM suspends for milliseconds; a device that stays so was left behind by a tool that died, and swap stalls on it."""
TOOLS = ("lvs", "pvmove", "vgextend", "lvconvert", "iscsiadm")
HELD_TOOLS = (*TOOLS, "dmsetup", "iscsid")
"""Held in memory together with their libraries."""


@dataclass(frozen=True)
class Looked:
    """One cycle: what was seen, the step that followed, and the error if it failed."""

    view: VolumeView
    step: s.Step
    error: str = ""


class BorrowerHost:
    """LVM, the iSCSI initiator and our tags on one machine."""

    def __init__(
        self, runner: Runner, directory: Path, sleep: Callable[[float], None] = time.sleep, patience_s: float = 90.0
    ) -> None:
        """Keep rescue data in `directory`; wait `patience_s` for a lost lender that has the only copy of pages."""
        self._runner = runner
        self._pinned = PinnedFiles()
        self._ballast = Ballast(BALLAST_BYTES)
        self._lvm = Lvm(runner, ballast=self._ballast)
        self._dm = Dmsetup(runner)
        self._logins = Logins(runner, patience_s, sleep)
        rescue = Rescue(runner, self._lvm, directory)
        lost = LostLeases(self._lvm, self._dm, self._logins, rescue)
        self._executor = Executor(self._lvm, self._logins, rescue, lost)
        self._state = LvmState()
        """As of the last look."""
        self._seen_sessions: list[Session] = []
        self._write_backlog = WriteBacklog()
        self._lvm_cache = LvmCache()
        self._suspended_since: dict[str, float] = {}

    # ---- looking

    def start(self) -> list[str]:
        """Check the machine and return the volumes that carry our tags. Raises `MissingPartError`."""
        require_root("a borrower")
        require_tools(TOOLS)
        read_initiator_name()
        stay_resident(self._runner, self._pinned, HELD_TOOLS)
        if swap.any_queue():
            self._ballast.fill()
        self._state = self._lvm.report()
        ours_now = [lv for lv in self._state.lvs if parse(lv.tags).present]
        if any(lv.moves for lv in ours_now):
            self._lvm.resume_moves()
        return [lv.full_name for lv in ours_now]

    def sessions_changed(self) -> bool:
        """Whether any iSCSI session changed since the last look; reads sysfs only."""
        return sessions() != self._seen_sessions

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        """Return the picture of one volume. Raises `RefusedError` if there is none of that name."""
        self._seen_sessions = sessions()
        self._state = self._lvm.report()
        joined = {lease for pv in self._state.pvs if (lease := lease_of_pv(pv.tags)) is not None}
        can_login = self._logins.possible(joined)
        view = observe(volume, self._state, self._seen_sessions, can_login, heard)
        if view is None:
            vg = volume.partition("/")[0]
            what = f"no logical volume {volume}" if self._state.vg(vg) else f"no volume group {vg}"
            raise RefusedError(ErrorCode.UNKNOWN_VOLUME, f"{what} on this host; `lvs` lists what there is")
        return view

    def cycle(self, volume: str, heard: Heard) -> Looked:
        """Look, plan one step, apply it, unless that would hold the volume still for too long now."""
        # A lender waits for memory: the tools must not wait for theirs behind all that swaps.
        with self._ballast.dropped() if heard.vacate else contextlib.nullcontext():
            known = self._lvm_cache.plan(volume, heard, lambda: self._words(volume, sessions()), time.monotonic())
            view, step = known or self._plan(volume, heard)
            try:
                if isinstance(step, s.MachineStep):
                    self._executor.apply(view, self._state, step)
                elif not isinstance(step, s.BusStep | s.NoStep):
                    assert_never(step)
            except (RamshareError, OSError) as error:
                return Looked(view, step, str(error))
        return Looked(view, step)

    def _plan(self, volume: str, heard: Heard) -> tuple[VolumeView, s.Step]:
        """Ask LVM and plan from what it says."""
        view, name = self.look(volume, heard), dm_name(*split_volume(volume))
        now_s = time.monotonic()
        step = self._write_backlog.instead_of(next_step(view), volume, Writes(now_s, *writes(name)))
        self._lvm_cache.note(view, step, lambda: self._words(volume, self._seen_sessions), now_s)
        return view, step

    def _words(self, volume: str, seen: Sequence[Session]) -> KernelWords:
        name = dm_name(*split_volume(volume))
        return KernelWords(seen, self._dm.table(name), self._dm.status(name))

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
        if mode is Mode.MOVE and swap.has_queue(f"/dev/{volume}"):
            raise RefusedError(
                ErrorCode.CONFLICT,
                f"this host swaps to {volume} through a loop device, behind which a move may wedge it: "
                f"borrow by mirror, or swap to /dev/{volume} directly",
            )
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
        self._logins.take(grants)
        self._lvm_cache.forget(volume)
        lv = self._state.existing(volume)
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
        self._lvm_cache.forget(volume)
        add, remove = goal_tags(Goal.HOME, view.mode or Mode.MIRROR), goal_tags(Goal.ATTACHED, view.mode or Mode.MIRROR)
        self._lvm.change_lv_tags(volume, add=add[:1], remove=remove[:1])
        return True

    def drop_lease(self, volume: str, lease: str) -> None:
        """Forget a lease that its lender has back (or that is lost for good)."""
        self._logins.forget(lease)
        self._lvm_cache.forget(volume)
        tags = [str(t) for t in parse(self._state.existing(volume).tags).leases if t.lease == lease]
        self._lvm.change_lv_tags(volume, remove=tags)
