"""The borrower's iSCSI side: grants, node records, sessions and encrypted devices of leases; who is worth a login.

Grants (with their secrets) are remembered by this run only: open-iscsi keeps what it needs to reconnect. Runs on the
borrower's worker thread.
"""

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from ramshare.errors import RamshareError
from ramshare.linux.cryptsetup import Cryptsetup
from ramshare.linux.host_checks.multipath import MEND as MULTIPATH_MEND
from ramshare.linux.iscsi_sessions import Session, delete_disk, multipath_map_over, sessions, tune_disk
from ramshare.linux.iscsiadm import MIRROR_PARAMETERS, MOVE_PARAMETERS, Iscsiadm, LoginError
from ramshare.linux.run import Runner
from ramshare.messages.names import lease_of
from ramshare.messages.replies import Grant
from ramshare.messages.state import Mode
from ramshare.sealed import SealingKeys, Secrets

DISK_WITHIN_S = 10.0
"""A login's disk appears within milliseconds; under emulation within two seconds."""
LOGIN_TRIES = 3
"""A lease that holds no page of ours is given up after so many logins in vain, and another one is asked for."""


class LeaseSessions:
    """Opens and ends sessions; remembers the grants, and who let us in."""

    def __init__(
        self,
        runner: Runner,
        patience_s: float,
        sleep: Callable[[float], None] = time.sleep,
        left: Callable[[str], None] = lambda _iqn: None,
        unseal: Callable[[str], Secrets] | None = None,
        nodes: Path | None = None,
    ) -> None:
        """Wait `patience_s` for a lost lender that has the only copy of pages; `left` hears which target is no more.

        `unseal` opens the secrets of a grant.
        """
        self._iscsi = Iscsiadm(runner, nodes)
        self._crypt = Cryptsetup(runner)
        self._move_parameters = replace(MOVE_PARAMETERS, replacement_timeout_s=min(3600, max(5, round(patience_s))))
        self._sleep = sleep
        self._left = left
        self._unseal = unseal or SealingKeys().open
        self._grants: dict[str, Grant] = {}
        self._secrets: dict[str, Secrets] = {}
        self._refused: dict[str, int] = {}
        self._given_up: set[str] = set()
        """Leases whose pages are being written off; LVM takes no mark of it before that is done."""

    def take(self, grants: Iterable[Grant]) -> None:
        """Remember how to log in to these leases. Raises `UnreadableGrantError` if any is not sealed to our key."""
        taken = list(grants)
        opened = {grant.lease: self._unseal(grant.sealed_secrets.get_secret_value()) for grant in taken}
        self._grants |= {grant.lease: grant for grant in taken}
        self._secrets |= opened

    def possible(self, joined: Collection[str]) -> set[str]:
        """Return the leases that can be logged in to. Those `joined` to a group are tried however often they refuse.

        Left out are leases that nothing of a volume lies on and that let us in no more: taken back, or their lender is
        gone.
        """
        known = set(self._grants) | {lease for _, iqn in self._iscsi.nodes() if (lease := lease_of(iqn))}
        shut_out = {lease for lease, tries in self._refused.items() if tries >= LOGIN_TRIES}.difference(joined)
        return known - shut_out - self._given_up

    def login(self, lease: str, mode: Mode | None, *, encrypt: bool) -> None:
        """Open the session of a lease, wait for its disk and `encrypt` it, unless that is done already.

        Raises `LoginError` or another `RamshareError`.
        """
        grant = self._grants.get(lease)
        if grant is not None:
            parameters = self._move_parameters if mode is Mode.MOVE else MIRROR_PARAMETERS
            self._iscsi.create_node(
                grant.portal,
                grant.target,
                parameters,
                user=grant.chap_user,
                secret=self._secrets[lease].borrower,
                target_user=f"{grant.chap_user}.target",
                target_secret=self._secrets[lease].lender,
            )
        portal, iqn = self._node(lease)
        try:
            self._iscsi.login(portal, iqn)
        except LoginError:
            self._refused[lease] = self._refused.get(lease, 0) + 1
            raise
        self._refused.pop(lease, None)
        session = self._with_disk(iqn)
        disk = str(session.device)
        tune_disk(disk)
        check_unmapped(disk)
        if encrypt and session.mapper is None:
            self._crypt.open(lease, disk)

    def check_unmapped(self, lease: str) -> None:
        """Raise `RamshareError` if multipath has taken the disk of a lease since the login."""
        for session in sessions():
            if lease_of(session.iqn) == lease and session.device is not None:
                check_unmapped(str(session.device))

    def end(self, lease: str) -> None:
        """End the session of a lease; the disk of one that does not answer is removed first."""
        self._end(lease, in_use=False)

    def cut_off(self, lease: str) -> None:
        """End the session of a lease that answers, though its disk is in use: that I/O fails at once."""
        self._end(lease, in_use=True)

    def _end(self, lease: str, *, in_use: bool) -> None:
        opened = [session for session in sessions() if lease_of(session.iqn) == lease]
        for session in opened:
            if session.device is not None and (in_use or not session.healthy):
                delete_disk(session.device)
        self._crypt.close(lease, when_unused=in_use)
        for session in opened:
            self._iscsi.logout(session.address, session.iqn)

    def logout(self, lease: str) -> None:
        """End the session of a lease and forget how to open another."""
        self.end(lease)
        self._forget_node(lease)

    def cut_off_dead(self, leases: Collection[str]) -> None:
        """End the sessions of dead leases, so that I/O to them fails now instead of waiting for them to come back."""
        for lease in leases:
            self._crypt.close(lease, when_unused=True)
        for session in sessions():
            if lease_of(session.iqn) in leases:
                self._iscsi.logout(session.address, session.iqn)

    def give_up(self, leases: Collection[str]) -> None:
        """Cut these leases off, and log in to them no more."""
        self._given_up.update(leases)
        self.cut_off_dead(leases)

    def forget(self, lease: str) -> None:
        """Forget everything about a lease."""
        self._grants.pop(lease, None)
        self._secrets.pop(lease, None)
        self._refused.pop(lease, None)
        self._given_up.discard(lease)
        self._crypt.close(lease, when_unused=True)
        self._forget_node(lease)

    def _forget_node(self, lease: str) -> None:
        for portal, iqn in self._iscsi.nodes():
            if lease_of(iqn) == lease:
                self._iscsi.delete_node(portal, iqn)
                self._left(iqn)

    def _node(self, lease: str) -> tuple[str, str]:
        for portal, iqn in self._iscsi.nodes():
            if lease_of(iqn) == lease:
                return portal, iqn
        raise RamshareError(f"no grant and no node record of lease {lease}", "it will be given back")

    def _with_disk(self, iqn: str) -> Session:
        for _ in range(int(DISK_WITHIN_S / 0.1)):
            found = next((session for session in sessions() if session.iqn == iqn and session.device), None)
            if found is not None and Path(str(found.device)).exists():
                return found
            self._sleep(0.1)
        raise RamshareError(f"the session to {iqn} brought no disk within {DISK_WITHIN_S:g} s", "look into dmesg")


def check_unmapped(device: str) -> None:
    """Raise `RamshareError` if multipath has the disk: LVM could not label it, or would find it under another name."""
    if taken_as := multipath_map_over(device):
        raise RamshareError(
            f"multipath has taken {device} as {taken_as}", f"{MULTIPATH_MEND} && multipath -f {taken_as}"
        )
