"""The process that lives through the faults: it thrashes checked pages, and how long it stalls is timed."""

import time

from ramshare_lab.cluster.remote import RemoteShell
from ramshare_lab.cluster.vm_spec import MIB
from ramshare_lab.experiments.faults.storm import Storm
from ramshare_lab.load.thrash import Thrash, command

DATA_BYTES = 144 * MIB
"""Of it 80 to 100 MiB stay in the VM's memory, so less than half of the swap is in use."""


class Victim:
    """A process in the borrower's host, started at its first use; a fresh one takes the place of one that was ended."""

    def __init__(self, shell: RemoteShell) -> None:
        self._shell = shell
        self._thrash: Thrash | None = None
        self._storm: Storm | None = None
        self.begin_case()

    def begin_case(self) -> None:
        """Forget what was measured in the case before."""
        self._fault_s = 0.0
        self._storm_was = False
        self._idle_stall_s = self._known_stall_s = 0.0
        self.known_bad = 0
        """Bad pages that a process had met before it was ended."""

    @property
    def thrash(self) -> Thrash:
        """The process with its checked pages, started and filled on first use."""
        if self._thrash is None:
            self._thrash = Thrash(self._shell.open(command(DATA_BYTES)))
            self._thrash.init()
        return self._thrash

    @property
    def storm(self) -> Storm:
        """Its storm."""
        if self._storm is None:
            self._storm = Storm(self.thrash)
        return self._storm

    def end(self) -> None:
        """End the process; the next use starts a fresh one."""
        storm, thrash = self._storm, self._thrash
        self._storm = self._thrash = None
        if storm is not None:
            self._known_stall_s = max(self._known_stall_s, storm.longest_stall_s(self._fault_s, time.monotonic()))
            self.known_bad = max(self.known_bad, storm.bad_pages)
            storm.abandon()
        if thrash is not None:
            thrash.close()

    def stop_storm(self) -> None:
        """End the storm if there is one."""
        if self._storm is not None:
            self._storm.stop()

    def check_pages(self) -> int:
        """Read every page and return how many are bad; a process with bad pages is not used again."""
        if self._thrash is None:
            return 0
        checked = self._thrash.check()
        if not self._storm_was:
            self._idle_stall_s = checked.stall_s
        if checked.bad_pages_total:
            self.end()
        return checked.bad_pages_total

    def note_fault(self, at_s: float) -> None:
        """Note when the fault begins, and whether it meets a storm."""
        self._storm_was = self._storm is not None and self._storm.running
        self._fault_s = at_s

    def stall_s(self, until_s: float) -> float:
        """Return the longest time without progress since the fault; of an idle process, in the check after it."""
        stormy = self._storm.longest_stall_s(self._fault_s, until_s) if self._storm is not None else 0.0
        return max(stormy, self._idle_stall_s, self._known_stall_s)
