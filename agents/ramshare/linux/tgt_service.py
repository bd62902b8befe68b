"""tgtd as a lender's target: started where it was told to serve, ended again if it listens elsewhere.

tgtd that cannot have its address takes every address of the host instead, so where it listens is looked at before and
after it starts. One that an earlier run of the agent started, or somebody else, is left to run. See `target.py`.
"""

import time
from collections.abc import Callable

from ramshare.errors import RamshareError
from ramshare.linux.portal import Portal, PortalError, difference, why_not_free
from ramshare.linux.protect import protect_threads_of
from ramshare.linux.target import Export, TargetInfo
from ramshare.linux.tgt import Tgt

DAEMON_WITHIN_S = 10.0


class TgtService:
    """The tgtd that serves at one portal."""

    def __init__(
        self,
        tgt: Tgt,
        portal: Portal,
        sleep: Callable[[float], None] = time.sleep,
        hindrance: Callable[[Portal], str] = why_not_free,
    ) -> None:
        """Serve at `portal` only; `hindrance` says what keeps a new tgtd from it."""
        self._tgt = tgt
        self._portal = portal
        self._sleep = sleep
        self._hindrance = hindrance

    def start(self) -> None:
        """See `Target.start`. A tgtd that runs is left as it is."""
        if self._tgt.ready():
            return
        if why := self._hindrance(self._portal):
            raise PortalError(why)
        started = self._tgt.start_daemon(self._portal)
        self._wait_until_ready()
        if started is not None:
            # Killed for memory, it would stall every borrower at once; the images are not its own memory.
            protect_threads_of(started.pid)
        if why := self.misplaced():
            self._tgt.stop_daemon()
            raise PortalError(why)

    def ready(self) -> bool:
        """See `Target.ready`."""
        return self._tgt.ready()

    def misplaced(self) -> str:
        """See `Target.misplaced`."""
        return difference(self._portal, self._tgt.portals())

    def numbers(self) -> set[int]:
        """See `Target.numbers`."""
        return {target.tid for target in self._tgt.show()}

    def show(self) -> list[TargetInfo]:
        """See `Target.show`: a lender's tgtd is its own."""
        return self._tgt.show()

    def export(self, export: Export) -> None:
        """See `Target.export`."""
        self._tgt.export(export)

    def delete_target(self, iqn: str, *, force: bool = False) -> None:
        """See `Target.delete_target`."""
        self._tgt.delete_target(iqn, force=force)

    def _wait_until_ready(self) -> None:
        for _ in range(int(DAEMON_WITHIN_S / 0.1)):
            if self._tgt.ready():
                return
            self._sleep(0.1)
        raise RamshareError(f"tgtd does not answer within {DAEMON_WITHIN_S:g} s", "is its port taken? ss -ltnp")
