"""A look at one volume: LVM's report, the iSCSI sessions and what was measured, made into the planner's picture.

Runs on the borrower's worker thread.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ramshare.borrower.machine.bare_disks import BareDisks
from ramshare.borrower.machine.comparisons import Comparisons
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.plan.observe import observe
from ramshare.borrower.plan.tags import lease_of_pv, unencrypted
from ramshare.borrower.plan.view import NOTHING_HEARD, Heard, VolumeView
from ramshare.desk import RefusedError
from ramshare.linux.iscsi_sessions import Session, sessions
from ramshare.linux.lvm import Lvm
from ramshare.linux.lvm_state import LvmState
from ramshare.messages.replies import ErrorCode


class Look(Protocol):
    """What is needed of a look; `LvmLook` is one."""

    @property
    def state(self) -> LvmState:
        """LVM's report as of the last look."""
        ...

    @property
    def seen(self) -> Sequence[Session]:
        """The iSCSI sessions as of the last look."""
        ...

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        """Return the picture of one volume. Raises `RefusedError` if there is none of that name."""
        ...

    def sessions(self) -> Sequence[Session]:
        """Return the iSCSI sessions of this moment."""
        ...


class LvmLook:
    """Remembers LVM's last report: what is applied goes by the report that it was planned from."""

    def __init__(self, lvm: Lvm, iscsi: LeaseSessions, bare: BareDisks, comparisons: Comparisons) -> None:
        self._lvm = lvm
        self._iscsi = iscsi
        self._bare = bare
        self._comparisons = comparisons
        self.state = LvmState()
        self.seen: Sequence[Session] = ()

    def report(self) -> LvmState:
        """Ask LVM for everything; takes seconds while swap storms."""
        self.state = self._lvm.report()
        # What is not encrypted is known by tags in the report, and hidden until then.
        if self._bare.show(unencrypted(self.state)):
            self.state = self._lvm.report()
        return self.state

    def sessions(self) -> Sequence[Session]:
        """See `Look`."""
        return sessions()

    def look(self, volume: str, heard: Heard = NOTHING_HEARD) -> VolumeView:
        """See `Look`."""
        self.seen = self.sessions()
        state = self.report()
        joined = {lease for pv in state.pvs if (lease := lease_of_pv(pv.tags)) is not None}
        view = observe(volume, state, self.seen, self._iscsi.possible(joined), heard)
        if view is None:
            vg = volume.partition("/")[0]
            what = f"no logical volume {volume}" if state.vg(vg) else f"no volume group {vg}"
            raise RefusedError(
                ErrorCode.UNKNOWN_VOLUME, f"{what} on this host{state.because()}; `lvs` lists what there is"
            )
        leases = tuple(replace(lease, compared=self._comparisons.of(lease.lease)) for lease in view.leases)
        return replace(view, leases=leases)
