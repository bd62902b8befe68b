"""Whether any iSCSI session changed: the one look at the machine that the agent's loop takes itself.

It reads sysfs, which waits for no disk and no lock: a lender's death is seen within a second, and no process is started
as long as nothing happens.
"""

from collections.abc import Callable, Sequence

from ramshare.linux.iscsi_sessions import Session, sessions


class SessionWatch:
    """Remembers the sessions of its last look."""

    def __init__(self, look: Callable[[], Sequence[Session]] = sessions) -> None:
        self._look = look
        self._seen: tuple[Session, ...] = ()

    def changed(self) -> bool:
        """Whether they are others, or in other states, than when this was last asked."""
        before, self._seen = self._seen, tuple(self._look())
        return self._seen != before
