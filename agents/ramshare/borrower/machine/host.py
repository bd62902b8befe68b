"""What people, lenders and the manager have the borrower do on its host, outside a volume's turns.

Everything here runs on the agent's worker thread: it starts processes, reads files and waits for LVM. What the loop
may ask itself is said in `api.py`. Nothing is remembered but the grants (with their secrets), which are worthless to a
later run anyway: open-iscsi keeps what it needs to reconnect, a grant nobody used is taken back.
"""

from collections.abc import Callable, Sequence

from ramshare.borrower.machine.api import LeaseTerms
from ramshare.borrower.machine.iscsi import LeaseSessions
from ramshare.borrower.machine.look import Look
from ramshare.borrower.machine.lvm_tags import VolumeTags
from ramshare.borrower.machine.require_swap import require_swap
from ramshare.borrower.plan.neighbours import waits_for
from ramshare.borrower.plan.observe import home_of
from ramshare.borrower.plan.pair import SECOND_LEG, not_convertible
from ramshare.borrower.plan.suitability import unsuitable
from ramshare.borrower.plan.tags import PLAIN_TERMS, LeaseTag, Terms, parse
from ramshare.borrower.plan.view import Goal, VolumeView
from ramshare.desk import RefusedError
from ramshare.linux.iscsiadm import read_initiator_name
from ramshare.linux.swap import SwapUse, swap_use
from ramshare.messages.replies import ErrorCode, Grant
from ramshare.messages.state import Mode

PV_HEADER_BYTES = 1 << 20
"""LVM aligns a PV's first extent to 1 MiB."""


class BorrowerHost:
    """LVM, the iSCSI initiator and our tags on one machine; `api.Host` says what each method is for."""

    def __init__(
        self,
        look: Look,
        tags: VolumeTags,
        iscsi: LeaseSessions,
        found_on: Callable[[str], str | None],
        turn_off: Callable[[str, float], bool],
        swap_use: Callable[[str], SwapUse] = swap_use,
        initiator: Callable[[], str] = read_initiator_name,
        encrypt: bool = True,
    ) -> None:
        """Take what looks at a device, what ends its swap, and what returns this host's iSCSI name.

        `found_on` says what lies on a device, `swap_use` how it is swapped to; `turn_off` ends that if the pages fit.
        `encrypt`: whether leases are encrypted where a request does not say.
        """
        self._look = look
        self._tags = tags
        self._iscsi = iscsi
        self._found_on = found_on
        self._turn_off = turn_off
        self._swap_use = swap_use
        self._initiator = initiator
        self._encrypt = encrypt

    def check_borrow(self, volume: str, mode: Mode | None) -> VolumeView:
        """See `Host`."""
        view = self._look.look(volume)
        why_not = unsuitable(self._look.state, volume, mode)
        if why_not is not None:
            raise RefusedError(*why_not)
        use = self._swap_use(f"/dev/{volume}")
        require_swap(volume, use, self._found_on)
        if view.goal is Goal.ATTACHED and mode not in (None, view.mode) and (why := not_convertible(view, mode)):
            raise RefusedError(ErrorCode.CONFLICT, why)
        if view.goal is Goal.HOME and view.leases:
            raise RefusedError(ErrorCode.BUSY, f"{volume} is still on its way home; try again when it is there")
        return view

    def terms(self, volume: str, mode: Mode) -> LeaseTerms:
        """See `Host`."""
        group = self._look.state.vg(volume.partition("/")[0])
        extent_bytes = group.extent_bytes if group else 4 << 20
        header_bytes = -(-PV_HEADER_BYTES // extent_bytes) * extent_bytes
        leg_bytes = extent_bytes if mode is not Mode.MOVE else 0
        return LeaseTerms(header_bytes + leg_bytes, extent_bytes, self._initiator())

    def accept(
        self,
        volume: str,
        mode: Mode | None,
        leases: Sequence[LeaseTag],
        grants: Sequence[Grant],
        encrypt: bool | None = None,
        part_bytes: int = 0,
        terms: Terms = PLAIN_TERMS,
    ) -> None:
        """See `Host`."""
        self._iscsi.take(grants)
        lv = self._look.state.existing(volume)
        encrypt = self._encrypt if encrypt is None else encrypt
        home = home_of(self._look.state, lv)
        tags = parse(lv.tags)
        if mode is Mode.PAIR and not leases and tags.mode is Mode.MIRROR:
            leases = [lease.of_leg(SECOND_LEG) for lease in tags.leases]
        self._tags.add_leases(lv, mode, leases, home, encrypt=encrypt, part_bytes=part_bytes, terms=terms)

    def adopt(self, volume: str) -> None:
        """See `Host`."""
        if self._look.look(volume).automatic:
            self._spare_others(volume)
            self._tags.adopt(self._look.state.existing(volume))

    def send_home(self, volume: str, *, only_automatic: bool = False) -> bool:
        """See `Host`."""
        view = self._look.look(volume)
        if not view.tagged:
            return False
        if only_automatic and not view.automatic:
            raise RefusedError(ErrorCode.CONFLICT, f"a person borrowed for {volume}: only people return it")
        self._spare_others(volume)
        self._tags.aim_home(self._look.state.existing(volume), view.mode or Mode.MIRROR)
        return True

    def swap_off(self, volume: str, within_s: float) -> bool:
        """See `Host`."""
        return self._turn_off(f"/dev/{volume}", within_s)

    def forget_lease(self, volume: str, lease: str) -> None:
        """See `Host`."""
        self._spare_others(volume)
        self._iscsi.forget(lease)
        self._tags.remove_lease(self._look.state.existing(volume), lease)

    def _spare_others(self, volume: str) -> None:
        """Raise `RefusedError` where a change of tags would have LVM write a late disk off as missing."""
        at_stake = waits_for(self._look.state, volume)
        if at_stake:
            raise RefusedError(ErrorCode.CONFLICT, f"{at_stake}; then try again")
