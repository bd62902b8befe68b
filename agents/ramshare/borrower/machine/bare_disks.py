"""Which leased disks LVM must not look at: their lenders write there what they like.

LVM sees the encrypted devices above them. Disks of leases that are not encrypted are let in once the report has said,
by tags in the group's own metadata, that these are meant to be so. Runs on the borrower's worker thread.
"""

from collections.abc import Callable, Collection, Sequence

from ramshare.linux.iscsi_sessions import Session, sessions
from ramshare.linux.lvm_filter import STABLE_IDS, refusing
from ramshare.messages.names import lease_of


class BareDisks:
    """Remembers which leases are known to be unencrypted."""

    def __init__(
        self,
        look: Callable[[], Sequence[Session]] = sessions,
        refusing: Callable[[Collection[str]], tuple[str, ...]] = refusing,
    ) -> None:
        """`refusing` returns patterns that hide disks by all their names."""
        self._look = look
        self._refusing = refusing
        self._shown: frozenset[str] = frozenset()

    def show(self, leases: frozenset[str]) -> bool:
        """Let LVM see the disks of these leases and of no others; return whether there are new ones among them."""
        new = leases - self._shown
        self._shown = leases
        return bool(new)

    def hidden(self) -> tuple[str, ...]:
        """Return patterns for LVM's filter; none where there is no session of ours."""
        ours = {lease: session for session in self._look() if (lease := lease_of(session.iqn)) is not None}
        disks = [s.device for lease, s in ours.items() if s.device is not None and lease not in self._shown]
        stable = STABLE_IDS if ours and not self._shown else ()
        return (*stable, *self._refusing(disks))
