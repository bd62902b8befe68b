"""The process under test: an array of checked pages in the borrower's VM, and a thread that reads what it says.

A storm tells its longest gap without a finished access twice a second, also while an access hangs. Those lines are kept
with their time of arrival, so the stall that a fault caused can be told from what was before.
"""

import threading
import time
from dataclasses import dataclass

from ramshare_lab.load.thrash import Thrash, ThrashError
from ramshare_lab.load.thrash_lines import Result

WRITE_PERCENT = 20
"""Of a storm's accesses; every write is a page more that the slow local disk has to take."""


@dataclass(frozen=True)
class Gap:
    """One progress line: when it came, and the longest time without a finished access since the one before."""

    at_s: float
    stall_s: float
    operations: int = 0
    """Finished since the storm began."""


class Storm:
    """Random reads and writes of the whole array, all verified, from `start` to `stop`."""

    def __init__(self, thrash: Thrash, write_percent: int = WRITE_PERCENT) -> None:
        self._thrash = thrash
        self._write_percent = write_percent
        self._gaps: list[Gap] = []
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self.bad_pages = 0
        """As of the last line."""
        self.error: ThrashError | None = None
        """Why the process is gone, if it is."""

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._thread is not None

    def start(self) -> None:
        """Begin; does nothing to one that runs."""
        if self._thread is None:
            self._thrash.start_storm(self._write_percent)
            self._ending.clear()
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def stop(self) -> Result | None:
        """End it and return its result; None if it did not run. Raises `ThrashError` if the process has died."""
        if self._thread is None:
            return None
        self._ending.set()
        self._thread.join()
        self._thread = None
        if self.error is not None:
            raise self.error
        return self._thrash.stop_storm()

    def abandon(self) -> None:
        """Wait for nothing more: its machine is gone, and may not even have closed the connection."""
        self._ending.set()
        self._thread = None

    def longest_stall_s(self, since_s: float, until_s: float) -> float:
        """Return the longest time without progress that was told between two moments (monotonic clock)."""
        return max((gap.stall_s for gap in self._gaps if since_s <= gap.at_s <= until_s), default=0.0)

    def operations_s(self, since_s: float, until_s: float) -> float:
        """Return how many accesses were finished each second between two moments (monotonic clock); 0 if unknown."""
        told = [gap for gap in self._gaps if since_s <= gap.at_s <= until_s]
        if len(told) < 2 or told[-1].at_s <= told[0].at_s:
            return 0.0
        return (told[-1].operations - told[0].operations) / (told[-1].at_s - told[0].at_s)

    def _read(self) -> None:
        try:
            while not self._ending.is_set():
                told = self._thrash.storm_progress()
                self.bad_pages = told.bad_pages
                self._gaps.append(Gap(time.monotonic(), told.interval_stall_s, told.operations))
        except ThrashError as gone:
            self.error = gone
